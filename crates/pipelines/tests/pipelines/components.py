"""Small components that every test pipeline is made of. The simulated runner in `simulated/mod.rs` knows each by its name."""

from typing import Dict, List, NamedTuple, Optional

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

IMAGE = 'python:3.11'


@dsl.component(base_image=IMAGE)
def add(a: int, b: int) -> int:
    return a + b


@dsl.component(base_image=IMAGE)
def square(x: int) -> int:
    return x * x


@dsl.component(base_image=IMAGE)
def numbers(n: int) -> List[int]:
    return list(range(n))


@dsl.component(base_image=IMAGE)
def records(n: int) -> List[Dict[str, int]]:
    return [{'a': i, 'b': i * 10} for i in range(n)]


@dsl.component(base_image=IMAGE)
def total(xs: List[int]) -> int:
    return sum(xs)


@dsl.component(base_image=IMAGE)
def say(text: str) -> str:
    print(text)
    return text


@dsl.component(base_image=IMAGE)
def half(x: float) -> float:
    return x / 2


@dsl.component(base_image=IMAGE)
def negate(flag: bool) -> bool:
    return not flag


@dsl.component(base_image=IMAGE)
def broken(text: str) -> str:
    raise ValueError(text)


@dsl.component(base_image=IMAGE)
def flaky(failures: int) -> int:
    import os
    index = int(os.environ.get('KFP_RETRY_INDEX', '0'))
    if index < failures:
        raise RuntimeError(f'attempt {index}')
    return index


@dsl.component(base_image=IMAGE)
def pair(x: int) -> NamedTuple('Pair', [('smaller', int), ('larger', int)]):
    from collections import namedtuple
    return namedtuple('Pair', ['smaller', 'larger'])(x - 1, x + 1)


@dsl.component(base_image=IMAGE)
def greet(name: str, greeting: str = 'hello', mark: Optional[str] = None) -> str:
    return f'{greeting} {name}{mark or ""}'


@dsl.component(base_image=IMAGE)
def keys(record: dict) -> str:
    return ','.join(sorted(record))


@dsl.component(base_image=IMAGE)
def final_state(status: dsl.PipelineTaskFinalStatus) -> str:
    return status.state


@dsl.component(base_image=IMAGE)
def make_dataset(rows: int, data: Output[Dataset]):
    with open(data.path, 'w') as file:
        file.write('\n'.join(str(i) for i in range(rows)))
    data.metadata['rows'] = rows


@dsl.component(base_image=IMAGE)
def count_rows(data: Input[Dataset]) -> int:
    with open(data.path) as file:
        return len(file.read().splitlines())


@dsl.component(base_image=IMAGE)
def count_all(data: Input[List[Dataset]]) -> int:
    return sum(len(open(one.path).read().splitlines()) for one in data)


@dsl.component(base_image=IMAGE)
def train(data: Input[Dataset], model: Output[Model], metrics: Output[Metrics]) -> float:
    with open(data.path) as file:
        rows = len(file.read().splitlines())
    with open(model.path, 'w') as file:
        file.write('weights')
    model.framework = 'none'
    metrics.log_metric('rows', rows)
    metrics.log_metric('accuracy', 0.5)
    return 0.5


@dsl.component(base_image=IMAGE)
def maybe_rows(data: Optional[Input[Dataset]] = None) -> int:
    return -1 if data is None else len(open(data.path).read().splitlines())


@dsl.component(base_image=IMAGE)
def where(data: Input[Dataset]) -> str:
    return data.uri


@dsl.container_component
def shell_copy(text: str, out: dsl.OutputPath(str)):
    return dsl.ContainerSpec(image='busybox:1', command=['sh', '-c', 'mkdir -p "$(dirname "$1")"; printf "%s" "$0" > "$1"'], args=[text, out])


@dsl.container_component
def shell_echo(prefix: str, out: dsl.OutputPath(str), suffix: Optional[str] = None):
    return dsl.ContainerSpec(
        image='busybox:1',
        command=['sh', '-c', 'out="$1"; shift; mkdir -p "$(dirname "$out")"; printf "%s|" "$@" > "$out"', 'echo', out],
        args=[
            dsl.ConcatPlaceholder(['--prefix=', prefix, '!']),
            dsl.IfPresentPlaceholder('suffix', then=['--suffix', suffix], else_=['--none']),
        ],
    )


@dsl.container_component
def shell_rows(data: Input[Dataset], out: dsl.OutputPath(int)):
    return dsl.ContainerSpec(image='busybox:1', command=['sh', '-c', 'mkdir -p "$(dirname "$1")"; grep -c "" "$0" | tr -d "\\n" > "$1"'], args=[data.path, out])
