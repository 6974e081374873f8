"""A step that runs although the one before it failed, with its default instead of the missing output."""
from kfp import dsl

from components import broken, greet


@dsl.pipeline(name='ignore-failure')
def pipeline():
    failed = broken(text='on purpose')
    greet(name='you', greeting=failed.output, mark='!').ignore_upstream_failure()


ARGUMENTS = {}
EXPECTED = {'state': 'FAILED', 'outputs': {'root.greet': {'Output': 'hello you!'}}}
