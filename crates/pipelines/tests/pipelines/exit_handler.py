"""An exit task runs after a failure, learns of it, and the run fails all the same."""
from kfp import dsl

from components import broken, final_state, say


@dsl.pipeline(name='exit-handler')
def pipeline():
    with dsl.ExitHandler(final_state()):
        failed = broken(text='on purpose')
        say(text='never').after(failed)


ARGUMENTS = {}
EXPECTED = {
    'state': 'FAILED',
    'outputs': {'root.final-state': {'Output': 'FAILED'}},
    'states': {'root.exit-handler-1': 'FAILED', 'root.exit-handler-1.say': 'SKIPPED'},
}
