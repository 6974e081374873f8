"""If, Elif and Else; one output of whichever ran."""
from kfp import dsl

from components import add, square


@dsl.pipeline(name='branches')
def pipeline(n: int = 2) -> int:
    made = add(a=n, b=0)
    with dsl.If(made.output == 1):
        one = square(x=10)
    with dsl.Elif(made.output == 2):
        two = square(x=20)
    with dsl.Else():
        more = square(x=30)
    chosen = dsl.OneOf(one.output, two.output, more.output)
    add(a=chosen, b=1)
    return chosen


ARGUMENTS = {}
EXPECTED = {
    'state': 'SUCCEEDED',
    'outputs': {'root.add-2': {'Output': 401}, 'root': {'Output': 400}},
    'states': {'root.condition-branches-1.condition-2': 'SKIPPED', 'root.condition-branches-1.condition-3': 'SUCCEEDED', 'root.condition-branches-1.condition-4': 'SKIPPED'},
}
