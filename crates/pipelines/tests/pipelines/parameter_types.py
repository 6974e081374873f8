"""Every parameter type goes in and out unharmed; integers stay integers."""
from kfp import dsl

from components import half, keys, negate, say, total


@dsl.pipeline(name='types')
def pipeline(x: float = 3.0, flag: bool = False, xs: list = [1, 2, 3], record: dict = {'b': 1, 'a': [1]}, text: str = 'a "b" $HOME \\n'):
    half(x=x)
    negate(flag=flag)
    total(xs=xs)
    keys(record=record)
    say(text=text)


ARGUMENTS = {}
EXPECTED = {
    'state': 'SUCCEEDED',
    'outputs': {
        'root.half': {'Output': 1.5},
        'root.negate': {'Output': True},
        'root.total': {'Output': 6},
        'root.keys': {'Output': 'a,b'},
        'root.say': {'Output': 'a "b" $HOME \\n'},
    },
}
