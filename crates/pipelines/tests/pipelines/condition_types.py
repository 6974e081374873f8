"""Conditions over text, floats and booleans."""
from kfp import dsl

from components import half, negate, say


@dsl.pipeline(name='condition-types')
def pipeline(text: str = 'heads'):
    said = say(text=text)
    with dsl.If(said.output == 'heads'):
        say(text='text')
    with dsl.If(half(x=3.0).output < 2):
        say(text='float')
    with dsl.If(negate(flag=False).output == True):  # noqa: E712
        say(text='bool')
    with dsl.If(said.output != 'x'):
        say(text='differs')


ARGUMENTS = {}
EXPECTED = {'state': 'SUCCEEDED', 'states': {f'root.condition-{i}': 'SUCCEEDED' for i in range(1, 5)}}
