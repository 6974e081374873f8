"""A loop over a pipeline parameter, here an empty one."""
from kfp import dsl

from components import square, total


@dsl.pipeline(name='parameter-loop')
def pipeline(xs: list = [1, 2]):
    with dsl.ParallelFor(xs) as item:
        squared = square(x=item)
    total(xs=dsl.Collected(squared.output))


ARGUMENTS = {'xs': []}
EXPECTED = {'state': 'SUCCEEDED', 'outputs': {'root.total': {'Output': 0}}}
