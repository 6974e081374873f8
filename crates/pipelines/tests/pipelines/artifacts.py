"""Files and metadata travel with artifacts."""
from kfp import dsl

from components import count_rows, make_dataset, train


@dsl.pipeline(name='artifacts')
def pipeline(rows: int = 5):
    made = make_dataset(rows=rows)
    count_rows(data=made.outputs['data'])
    train(data=made.outputs['data'])


ARGUMENTS = {}
EXPECTED = {
    'state': 'SUCCEEDED',
    'outputs': {'root.count-rows': {'Output': 5}, 'root.train': {'Output': 0.5}},
    'artifacts': {'root.make-dataset': {'data': {'rows': 5}}, 'root.train': {'metrics': {'rows': 5, 'accuracy': 0.5}, 'model': {'framework': 'none'}}},
}
