"""Artifacts collected from a loop, in the order of its items."""
from kfp import dsl

from components import count_all, make_dataset


@dsl.pipeline(name='loop-artifacts')
def pipeline():
    with dsl.ParallelFor([1, 2, 3]) as rows:
        made = make_dataset(rows=rows)
    count_all(data=dsl.Collected(made.outputs['data']))


ARGUMENTS = {}
EXPECTED = {'state': 'SUCCEEDED', 'outputs': {'root.count-all': {'Output': 6}}}
