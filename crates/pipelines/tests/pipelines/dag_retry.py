"""A retry on a nested pipeline applies to its steps."""
from kfp import dsl

from components import flaky


@dsl.pipeline(name='inner')
def inner() -> int:
    tried = flaky(failures=1)
    tried.set_caching_options(False)
    return tried.output


@dsl.pipeline(name='dag-retry')
def pipeline():
    inner().set_retry(num_retries=2, backoff_duration='0s')


ARGUMENTS = {}
EXPECTED = {'state': 'SUCCEEDED', 'outputs': {'root.inner': {'Output': 1}}}
