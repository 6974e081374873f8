"""Container components: output paths, Concat and IfPresent."""
from kfp import dsl

from components import make_dataset, shell_copy, shell_echo, shell_rows


@dsl.pipeline(name='container')
def pipeline():
    shell_copy(text='it is "so"')
    shell_echo(prefix='p')
    shell_echo(prefix='p', suffix='s')
    shell_rows(data=make_dataset(rows=4).outputs['data'])


ARGUMENTS = {}
EXPECTED = {
    'state': 'SUCCEEDED',
    'outputs': {
        'root.shell-copy': {'out': 'it is "so"'},
        'root.shell-echo': {'out': '--prefix=p!|--none|'},
        'root.shell-echo-2': {'out': '--prefix=p!|--suffix|s|'},
        'root.shell-rows': {'out': 4},
    },
}
