"""Run twice: the second time nothing runs (`run_all.py` and the cargo test do)."""
from kfp import dsl

from components import count_rows, make_dataset, say


@dsl.pipeline(name='cached')
def pipeline(rows: int = 3):
    count_rows(data=make_dataset(rows=rows).outputs['data'])
    say(text='fresh').set_caching_options(False)


ARGUMENTS = {}
EXPECTED = {'state': 'SUCCEEDED', 'outputs': {'root.count-rows': {'Output': 3}}}
