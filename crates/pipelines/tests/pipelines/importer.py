"""An existing object becomes an artifact, with metadata from a parameter."""
from kfp import dsl

from components import where


@dsl.pipeline(name='importer')
def pipeline(uri: str = 's3://bucket/data.csv', rows: int = 3):
    imported = dsl.importer(artifact_uri=uri, artifact_class=dsl.Dataset, reimport=False, metadata={'rows': rows, 'kind': 'csv'})
    where(data=imported.output)


ARGUMENTS = {}
EXPECTED = {
    'state': 'SUCCEEDED',
    'outputs': {'root.where': {'Output': 's3://bucket/data.csv'}},
    'artifacts': {'root.importer': {'artifact': {'rows': 3, 'kind': 'csv'}}},
}
