"""Pipelines as components of pipelines, outputs through every level."""
from kfp import dsl

from components import add, count_rows, make_dataset, square


@dsl.pipeline(name='inner')
def inner(x: int) -> int:
    return square(x=square(x=x).output).output


@dsl.pipeline(name='middle')
def middle(x: int = 2) -> int:
    return add(a=inner(x=x).output, b=1).output


@dsl.pipeline(name='data')
def data(rows: int) -> dsl.Dataset:
    return make_dataset(rows=rows).outputs['data']


@dsl.pipeline(name='nested')
def pipeline():
    add(a=middle().output, b=middle(x=3).output)
    count_rows(data=data(rows=7).output)


ARGUMENTS = {}
EXPECTED = {'state': 'SUCCEEDED', 'outputs': {'root.add': {'Output': 99}, 'root.count-rows': {'Output': 7}, 'root.middle': {'Output': 17}}}
