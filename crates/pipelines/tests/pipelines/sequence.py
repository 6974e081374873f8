"""Outputs become inputs; `.after` orders what shares no data."""
from kfp import dsl

from components import add, say


@dsl.pipeline(name='sequence')
def pipeline(a: int = 1, b: int = 2):
    first = add(a=a, b=b)
    second = add(a=first.output, b=10)
    say(text='done').after(second)


ARGUMENTS = {'a': 4}
EXPECTED = {'state': 'SUCCEEDED', 'outputs': {'root.add': {'Output': 6}, 'root.add-2': {'Output': 16}, 'root.say': {'Output': 'done'}}}
