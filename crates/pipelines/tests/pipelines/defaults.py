"""Defaults and optional inputs."""
from kfp import dsl

from components import greet, maybe_rows


@dsl.pipeline(name='defaults')
def pipeline(name: str = 'you'):
    greet(name=name)
    greet(name=name, greeting='hi', mark='!')
    maybe_rows()


ARGUMENTS = {'name': 'me'}
EXPECTED = {'state': 'SUCCEEDED', 'outputs': {'root.greet': {'Output': 'hello me'}, 'root.greet-2': {'Output': 'hi me!'}, 'root.maybe-rows': {'Output': -1}}}
