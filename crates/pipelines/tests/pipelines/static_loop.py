"""A loop over a constant list, at most two at a time."""
from kfp import dsl

from components import square, total


@dsl.pipeline(name='static-loop')
def pipeline():
    with dsl.ParallelFor([1, 2, 3, 4], parallelism=2) as item:
        squared = square(x=item)
    total(xs=dsl.Collected(squared.output))


ARGUMENTS = {}
EXPECTED = {'state': 'SUCCEEDED', 'outputs': {'root.total': {'Output': 30}, 'root.for-loop-2': {'pipelinechannel--square-Output': [1, 4, 9, 16]}}}
