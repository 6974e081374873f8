"""Every feature of the pipeline language on real pods: the compiled pipelines of `crates/pipelines/tests/pipelines`, each with
what its source expects. All are submitted at once, so that they share the machine instead of queueing for it."""

import importlib
import json
import sys
import urllib.request

import pytest
import yaml
from conftest import PATIENCE, ROOT

pytestmark = pytest.mark.usefixtures("kubeflow")

PIPELINES = ROOT / "crates/pipelines/tests/pipelines"
COMPILED = PIPELINES / "compiled"
NAMES = sorted(path.stem for path in COMPILED.glob("*.yaml"))

sys.path.insert(0, str(PIPELINES))
import run_all  # noqa: E402
import sdk_calls  # noqa: E402


def expectation(name):
    return json.loads((COMPILED / f"{name}.expected.json").read_text())


def submit(client, name):
    return client.create_run_from_pipeline_package(str(COMPILED / f"{name}.yaml"), arguments=expectation(name)["arguments"], run_name=name).run_id


def read(platform, path):
    with urllib.request.urlopen(f"{platform.url}/apis/v2beta1/{path}") as answer:
        return json.load(answer)


def finished(client, run_id):
    return client.wait_for_run_completion(run_id, timeout=280 * PATIENCE, sleep_duration=0.5)


@pytest.fixture(scope="module")
def runs(kubeflow, gpus, client):
    """The run of each pipeline, submitted together. What `platform_document` mounts is made first."""
    kubeflow.kubectl("label", "node", "--all", "disk=fast")
    kubeflow.kubectl("-n", "kubeflow", "create", "secret", "generic", "creds", "--from-literal=password=secret")
    kubeflow.kubectl("-n", "kubeflow", "create", "configmap", "settings", "--from-literal=a=b")
    return {name: submit(client, name) for name in NAMES}


def test_there_are_pipelines_enough():
    assert len(NAMES) >= 27


@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_does_what_its_source_expects(platform, client, runs, name):
    run = finished(client, runs[name])
    tasks = run_all.tasks_of(platform.url, runs[name])
    assert list(run_all.problems_of(expectation(name), run, tasks)) == []


@pytest.mark.parametrize("name", NAMES)
def test_the_compiled_file_is_what_the_sdk_makes_of_the_source(name, tmp_path):
    from kfp import compiler

    module = importlib.import_module(name)
    compiler.Compiler().compile(module.pipeline, str(tmp_path / "made.yaml"))
    made = list(yaml.safe_load_all((tmp_path / "made.yaml").read_text()))
    assert made == list(yaml.safe_load_all((COMPILED / f"{name}.yaml").read_text())), "run crates/pipelines/tests/pipelines/run_all.py"
    assert expectation(name) == {"arguments": module.ARGUMENTS, **module.EXPECTED}


def test_every_call_of_the_sdk_answers(platform):
    sdk_calls.check(platform.url)


def test_a_second_run_names_where_its_results_came_from(platform, client, runs):
    finished(client, runs["cached"])
    again = submit(client, "cached")
    assert finished(client, again).state == "SUCCEEDED"
    first, second = (run_all.tasks_of(platform.url, run_id) for run_id in (runs["cached"], again))
    for path in ("root.make-dataset", "root.count-rows"):
        assert second[path]["state"] == "CACHED" and not second[path].get("pods")
        origin = second[path]["status_metadata"]["custom_properties"]["cached_from"]
        oldest = first[path]["status_metadata"].get("custom_properties", {}).get("cached_from") if first[path]["state"] == "CACHED" else None
        assert origin == (oldest or {"run_id": runs["cached"], "task_id": first[path]["task_id"]})
    assert second["root.say"]["state"] == "SUCCEEDED" and second["root.say"]["pods"], "it is not cached"


def test_a_task_is_created_when_its_turn_comes(platform, client, runs):
    finished(client, runs["sequence"])
    tasks = run_all.tasks_of(platform.url, runs["sequence"])
    assert tasks["root.add"]["end_time"] <= tasks["root.add-2"]["create_time"] <= tasks["root.add-2"]["start_time"]
    assert tasks["root.add-2"]["end_time"] <= tasks["root.say"]["create_time"]


def test_a_run_and_a_retried_step_remember_their_states(platform, client, runs):
    run = finished(client, runs["retry"])
    assert [change.state for change in run.state_history] == ["PENDING", "RUNNING", "SUCCEEDED"]
    moments = [change.update_time for change in run.state_history]
    assert moments == sorted(moments)
    flaky = run_all.tasks_of(platform.url, runs["retry"])["root.flaky"]
    states = [change["state"] for change in flaky["state_history"]]
    assert states.count("RUNNING") == 3 and states[-1] == "SUCCEEDED"
    attempts = flaky["status_metadata"]["custom_properties"]["attempts"]
    assert [attempt["exit_code"] for attempt in attempts] == [1, 1, 0]
    assert len({attempt["pod"] for attempt in attempts}) == 3


def test_a_failed_step_says_why_where_users_look(platform, client, runs):
    run = finished(client, runs["failing"])
    assert "broken" in run.error.message
    broken = next(detail for detail in run.run_details.task_details if detail.display_name == "broken")
    assert broken.state == "FAILED" and "exited with code 1" in broken.error.message
    assert "on purpose" in platform.kfctl("logs", runs["failing"], "broken").stdout


def test_a_graph_knows_its_parts(platform, client, runs):
    finished(client, runs["nested"])
    tasks = run_all.tasks_of(platform.url, runs["nested"])
    children = {child["name"] for child in tasks["root.middle"]["child_tasks"]}
    assert children == {"inner", "add"}
    assert tasks["root.middle.inner"]["parent_task_id"] == tasks["root.middle"]["task_id"]
    assert [tasks[path]["type"] for path in ("root", "root.middle", "root.middle.add")] == ["ROOT", "DAG", "RUNTIME"]


def test_a_loop_runs_no_more_at_once_than_it_may(platform, client, runs):
    finished(client, runs["static_loop"])
    tasks = run_all.tasks_of(platform.url, runs["static_loop"])
    loop = tasks["root.for-loop-2"]
    assert loop["type"] == "LOOP" and loop["type_attributes"]["iteration_count"] == "4"
    changes = sorted(
        (moment, step)
        for path, task in tasks.items()
        if path.startswith("root.for-loop-2.iteration-") and path.count(".") == 2
        for moment, step in ((task["create_time"], 1), (task["end_time"], -1))
    )
    open_now = most = 0
    for _, step in changes:
        open_now += step
        most = max(most, open_now)
    assert most == 2, changes


def test_the_platform_document_is_in_the_pod(platform, client, runs):
    finished(client, runs["platform_document"])
    pods = json.loads(platform.kubectl("-n", "kubeflow", "get", "pods", "-l", f"pipeline/runid={runs['platform_document']}", "-o", "json"))["items"]
    (pod,) = pods
    spec, metadata = pod["spec"], pod["metadata"]
    main = next(container for container in spec["containers"] if container["name"] == "main")
    mounted = {mount["mountPath"] for mount in main["volumeMounts"]}
    assert {"/data", "/etc/settings", "/scratch"} <= mounted
    variables = {variable["name"]: variable.get("valueFrom", {}) for variable in main["env"]}
    assert variables["PASSWORD"]["secretKeyRef"] == {"name": "creds", "key": "password"} | ({"optional": False} if "optional" in variables["PASSWORD"]["secretKeyRef"] else {})
    assert variables["POD"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert spec["nodeSelector"] == {"disk": "fast"} and spec["activeDeadlineSeconds"] == 600
    assert metadata["labels"]["team"] == "a" and metadata["annotations"]["note"] == "b"
    assert any(toleration.get("key") == "gpu" for toleration in spec["tolerations"])
    # Kubernetes keeps a claim that was deleted while a pod names it, also one that has ended.
    platform.kubectl("-n", "kubeflow", "delete", "pods", "-l", f"pipeline/runid={runs['platform_document']}")
    platform.kubectl("-n", "kubeflow", "wait", "pvc", "-l", f"pipeline/runid={runs['platform_document']}", "--for=delete", "--timeout=60s")


def test_kept_logs_outlive_the_pods(platform, client, runs):
    finished(client, runs["sequence"])
    platform.kubectl("-n", "kubeflow", "delete", "pods", "-l", f"pipeline/runid={runs['sequence']}")
    assert "done" in platform.kfctl("logs", runs["sequence"], "say").stdout
