"""A condition that holds and one that does not."""
from kfp import dsl

from components import add, say


@dsl.pipeline(name='condition')
def pipeline(n: int = 3):
    made = add(a=n, b=0)
    with dsl.If(made.output > 2, name='large'):
        say(text='large')
    with dsl.If(made.output == 100, name='hundred'):
        after = say(text='hundred')
        say(text='after').after(after)


ARGUMENTS = {}
EXPECTED = {
    'state': 'SUCCEEDED',
    'outputs': {'root.condition-1.say': {'Output': 'large'}},
    'states': {'root.condition-2': 'SKIPPED'},
}
