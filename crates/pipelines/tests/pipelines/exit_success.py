"""An exit task after everything went well."""
from kfp import dsl

from components import final_state, say


@dsl.pipeline(name='exit-success')
def pipeline():
    with dsl.ExitHandler(final_state()):
        say(text='work')


ARGUMENTS = {}
EXPECTED = {'state': 'SUCCEEDED', 'outputs': {'root.final-state': {'Output': 'COMPLETE'}}}
