"""A step that fails twice and then works, and one that never does."""
from kfp import dsl

from components import flaky, say


@dsl.pipeline(name='retry')
def pipeline():
    tried = flaky(failures=2).set_retry(num_retries=3, backoff_duration='0s')
    tried.set_caching_options(False)
    say(text=f'{tried.output}')


ARGUMENTS = {}
EXPECTED = {'state': 'SUCCEEDED', 'outputs': {'root.say': {'Output': '2'}}, 'attempts': {'root.flaky': 3}}
