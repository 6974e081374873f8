"""A failure stops what follows it and lets what runs beside it end."""
from kfp import dsl

from components import broken, say


@dsl.pipeline(name='failing')
def pipeline():
    failed = broken(text='on purpose')
    say(text='beside')
    say(text='never').after(failed)


ARGUMENTS = {}
EXPECTED = {'state': 'FAILED', 'states': {'root.broken': 'FAILED', 'root.say-2': 'SKIPPED'}}
