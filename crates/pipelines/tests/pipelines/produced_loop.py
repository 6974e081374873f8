"""A loop over an output, with the fields of its items."""
from kfp import dsl

from components import add, records, total


@dsl.pipeline(name='produced-loop')
def pipeline(n: int = 3):
    with dsl.ParallelFor(records(n=n).output) as item:
        added = add(a=item.a, b=item.b)
    total(xs=dsl.Collected(added.output))


ARGUMENTS = {}
EXPECTED = {'state': 'SUCCEEDED', 'outputs': {'root.total': {'Output': 33}}}
