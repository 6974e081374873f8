"""Every call of the unmodified SDK that the API answers, against a running host:  python sdk_calls.py http://127.0.0.1:8888"""

import pathlib
import sys
import tempfile
import time
import uuid
import warnings

warnings.filterwarnings('ignore')

import kfp_server_api  # noqa: E402
from kfp import Client, compiler, dsl  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import sequence  # noqa: E402


@dsl.container_component
def nap():
    return dsl.ContainerSpec(image='busybox:1', command=['sleep', '60'])


@dsl.pipeline(name='napping')
def napping():
    nap().set_caching_options(False)


def refused(status, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kfp_server_api.ApiException as problem:
        assert problem.status == status, (problem.status, problem.body)
        return problem
    raise AssertionError(f'{call.__name__} was not refused')


def check(host):
    client = Client(host=host)
    suffix = uuid.uuid4().hex[:8]
    package = str(pathlib.Path(tempfile.mkdtemp()) / 'sequence.yaml')
    compiler.Compiler().compile(sequence.pipeline, package)
    name = f'sequence-{suffix}'

    pipeline = client.upload_pipeline(package, name, description='about')
    by_id = client.upload_pipeline_version(package, f'second-{suffix}', pipeline_id=pipeline.pipeline_id)
    by_name = client.upload_pipeline_version(package, f'third-{suffix}', pipeline_name=name)
    assert by_id.pipeline_id == by_name.pipeline_id == pipeline.pipeline_id
    assert client.get_pipeline_id(name) == pipeline.pipeline_id
    assert client.list_pipeline_versions(pipeline.pipeline_id).total_size == 3
    assert client.get_pipeline_version(pipeline.pipeline_id, by_id.pipeline_version_id).display_name == f'second-{suffix}'
    assert [found.display_name for found in client.list_pipelines(page_size=1, sort_by='created_at desc').pipelines] == [name]
    assert client.get_pipeline(pipeline.pipeline_id).description == 'about'
    refused(409, client.upload_pipeline, package, name)
    refused(404, client.get_pipeline, str(uuid.uuid4()))

    experiment = client.create_experiment(f'exp-{suffix}', description='about')
    assert client.create_experiment(f'exp-{suffix}').experiment_id == experiment.experiment_id
    assert client.get_experiment(experiment_name=f'exp-{suffix}').experiment_id == experiment.experiment_id

    assert experiment.experiment_id in [found.experiment_id for found in client.list_experiments(page_size=100).experiments]

    run = client.run_pipeline(experiment.experiment_id, 'by version', pipeline_id=pipeline.pipeline_id, version_id=by_id.pipeline_version_id, params={'a': 5})
    assert client.wait_for_run_completion(run.run_id, 300, sleep_duration=1).state == 'SUCCEEDED'
    details = client.get_run(run.run_id).run_details.task_details
    assert {'add', 'add-2', 'say'} <= {detail.display_name for detail in details}
    packaged = client.create_run_from_pipeline_package(package, arguments={}, experiment_name=f'exp-{suffix}')
    assert packaged.wait_for_run_completion(300).state == 'SUCCEEDED'
    assert client.list_runs(experiment_id=experiment.experiment_id, sort_by='created_at desc').runs[0].run_id == packaged.run_id

    stopped = client.create_run_from_pipeline_func(napping, arguments={})
    while client.get_run(stopped.run_id).state == 'PENDING':
        time.sleep(0.2)
    client.terminate_run(stopped.run_id)
    assert client.get_run(stopped.run_id).state == 'CANCELING'
    ended = client.wait_for_run_completion(stopped.run_id, 120, sleep_duration=1)
    assert (ended.state, ended.error.message) == ('FAILED', 'cancelled by user')

    client.archive_run(run.run_id)
    assert client.get_run(run.run_id).storage_state == 'ARCHIVED'
    client.unarchive_run(run.run_id)
    client.archive_experiment(experiment.experiment_id)
    client.unarchive_experiment(experiment.experiment_id)
    client.delete_run(run.run_id)
    refused(404, client.get_run, run.run_id)
    client.delete_pipeline_version(pipeline.pipeline_id, by_name.pipeline_version_id)
    client.delete_experiment(experiment.experiment_id)
    refused(501, client.create_recurring_run, experiment.experiment_id, 'later', cron_expression='0 0 * * * *', pipeline_package_path=package)
    print('every call answered as it should')


if __name__ == '__main__':
    check(sys.argv[1])
