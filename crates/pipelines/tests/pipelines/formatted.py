"""Text that embeds parameters, outputs and names of the run."""
from kfp import dsl

from components import add, say


@dsl.pipeline(name='formatted')
def pipeline(who: str = 'you'):
    made = add(a=1, b=2)
    say(text=f'{who} got {made.output}')
    say(text=f'task {dsl.PIPELINE_TASK_NAME_PLACEHOLDER}')


ARGUMENTS = {}
EXPECTED = {'state': 'SUCCEEDED', 'outputs': {'root.say': {'Output': 'you got 3'}, 'root.say-2': {'Output': 'task say-2'}}}
