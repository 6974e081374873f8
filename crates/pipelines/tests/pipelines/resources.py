"""Limits, requests, accelerators, environment and display names."""
from kfp import dsl

from components import say


@dsl.pipeline(name='resources')
def pipeline(memory: str = '1Gi'):
    task = say(text='big').set_cpu_limit('2').set_cpu_request('500m').set_memory_limit(memory)
    task.set_env_variable('MODE', 'test').set_env_variable('MODE', 'last')
    task.set_display_name('The big one')
    say(text='gpu').set_accelerator_type('nvidia.com/gpu').set_accelerator_limit(2)


ARGUMENTS = {}
EXPECTED = {'state': 'SUCCEEDED', 'outputs': {'root.say': {'Output': 'big'}}}
