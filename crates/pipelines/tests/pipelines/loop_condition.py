"""A condition inside a loop."""
from kfp import dsl

from components import say, square


@dsl.pipeline(name='loop-condition')
def pipeline():
    with dsl.ParallelFor([1, 2, 3]) as item:
        squared = square(x=item)
        with dsl.If(squared.output > 3):
            say(text=f'{item} is large')


ARGUMENTS = {}
EXPECTED = {
    'state': 'SUCCEEDED',
    'states': {
        'root.for-loop-2.iteration-0.condition-3': 'SKIPPED',
        'root.for-loop-2.iteration-1.condition-3': 'SUCCEEDED',
        'root.for-loop-2.iteration-2.condition-3': 'SUCCEEDED',
    },
    'outputs': {'root.for-loop-2.iteration-2.condition-3.say': {'Output': '3 is large'}},
}
