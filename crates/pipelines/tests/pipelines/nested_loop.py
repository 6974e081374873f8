"""Loops in loops: what is collected over both is one flat list."""
from kfp import dsl

from components import add, numbers, total


@dsl.pipeline(name='nested-loop')
def pipeline():
    with dsl.ParallelFor([10, 20]) as outer:
        with dsl.ParallelFor(numbers(n=3).output) as inner:
            added = add(a=outer, b=inner)
    total(xs=dsl.Collected(added.output))


ARGUMENTS = {}
EXPECTED = {'state': 'SUCCEEDED', 'outputs': {'root.total': {'Output': 96}}}
