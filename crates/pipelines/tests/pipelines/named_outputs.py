"""Several outputs of one step, each used by its name."""
from kfp import dsl

from components import add, pair


@dsl.pipeline(name='named-outputs')
def pipeline(x: int = 5) -> int:
    made = pair(x=x)
    return add(a=made.outputs['smaller'], b=made.outputs['larger']).output


ARGUMENTS = {}
EXPECTED = {'state': 'SUCCEEDED', 'outputs': {'root.pair': {'smaller': 4, 'larger': 6}, 'root.add': {'Output': 10}, 'root': {'Output': 10}}}
