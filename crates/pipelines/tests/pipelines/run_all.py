"""Compiles every pipeline here with the installed kfp, and runs them through the unmodified `kfp.Client` where a host is given.

    python run_all.py                      # writes compiled/*.yaml and compiled/*.expected.json
    python run_all.py http://127.0.0.1:8888 [name…]
"""

import importlib
import json
import pathlib
import sys
import urllib.request
import warnings

warnings.filterwarnings('ignore')

from kfp import Client, compiler  # noqa: E402

HERE = pathlib.Path(__file__).parent
COMPILED = HERE / 'compiled'
sys.path.insert(0, str(HERE))
NAMES = sorted(path.stem for path in HERE.glob('*.py') if path.stem not in ('components', 'run_all', 'sdk_calls'))


def compile_all():
    for name in NAMES:
        module = importlib.import_module(name)
        compiler.Compiler().compile(module.pipeline, str(COMPILED / f'{name}.yaml'))
        expected = {'arguments': module.ARGUMENTS, **module.EXPECTED}
        (COMPILED / f'{name}.expected.json').write_text(json.dumps(expected, indent=1, sort_keys=True) + '\n')


def tasks_of(host, run_id):
    with urllib.request.urlopen(f'{host}/apis/v2beta1/runs/{run_id}/tasks') as answer:
        return {task['scope_path']: task for task in json.load(answer)['tasks']}


def problems_of(expected, run, tasks):
    if run.state != expected['state']:
        yield f'state {run.state}, expected {expected["state"]}: {run.error}'
    for path, outputs in expected.get('outputs', {}).items():
        made = {entry['parameter_key']: entry['value'] for entry in tasks[path].get('outputs', {}).get('parameters', [])}
        for key, value in outputs.items():
            if made.get(key) != value or type(made.get(key)) is not type(value):
                yield f'{path}.{key} is {made.get(key)!r}, expected {value!r}'
    for path, state in expected.get('states', {}).items():
        if tasks[path]['state'] != state:
            yield f'{path} is {tasks[path]["state"]}, expected {state}'
    for path, artifacts in expected.get('artifacts', {}).items():
        made = {entry['artifact_key']: entry['artifacts'][0].get('metadata', {}) for entry in tasks[path]['outputs']['artifacts']}
        for key, metadata in artifacts.items():
            for name, value in metadata.items():
                if made[key].get(name) != value:
                    yield f'{path}.{key} has {name}={made[key].get(name)!r}, expected {value!r}'
    for path, count in expected.get('attempts', {}).items():
        attempts = tasks[path]['status_metadata']['custom_properties']['attempts']
        if len(attempts) != count:
            yield f'{path} had {len(attempts)} attempts, expected {count}'


def run_all(host, names):
    client = Client(host=host)
    runs = []
    for name in names:
        module = importlib.import_module(name)
        result = client.create_run_from_pipeline_func(module.pipeline, arguments=module.ARGUMENTS, run_name=name)
        runs.append((name, module.EXPECTED, result.run_id))
    failed = 0
    for name, expected, run_id in runs:
        run = client.wait_for_run_completion(run_id, timeout=300, sleep_duration=1)
        problems = list(problems_of(expected, run, tasks_of(host, run_id)))
        failed += bool(problems)
        print('ok  ' if not problems else 'FAIL', name, *problems, sep='\n       ' if problems else ' ')
    return failed


if __name__ == '__main__':
    if len(sys.argv) > 1:
        sys.exit(run_all(sys.argv[1], sys.argv[2:] or NAMES))
    compile_all()
