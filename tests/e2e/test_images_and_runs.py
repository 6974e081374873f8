"""Images from folders and runs from the command line, as the guide's reader types them."""

import json
import os
import subprocess

import pytest
from conftest import KFCTL, until

pytestmark = pytest.mark.usefixtures("kubeflow")

OPERATIONS = '''
from kfp import dsl
from kubernetes.client import V1EnvVar


@dsl.pipeline(name="operations")
def operations(who: str = "you"):
    made = dsl.ContainerOp(
        name="make",
        image="alpine",
        command=["sh", "-c"],
        arguments=['printf "%s" "hello $0" > /tmp/greeting; printf "%s" 3 > /tmp/number; echo "$MODE" > "$1"', who, "/data/mode"],
        file_outputs={"greeting": "/tmp/greeting", "number": "/tmp/number"},
        resources={"memory": "64Mi", "cpu": 1},
    ).add_env_variable(V1EnvVar(name="MODE", value="shared"))
    made.set_memory_limit("96Mi").set_cpu_limit("1")
    said = dsl.ContainerOp(name="say", image="alpine", command=["echo"], arguments=[made.outputs["greeting"], made.outputs["number"]])
    read = dsl.ContainerOp(name="read", image="alpine", command=["cat"], arguments=["/data/mode"])
    read.after(made)
    read.container.set_memory_limit("64Mi")
'''

FAILING = '''
from kfp import dsl


@dsl.container_component
def works():
    return dsl.ContainerSpec(image="alpine", command=["echo", "fine"])


@dsl.container_component
def breaks():
    return dsl.ContainerSpec(image="alpine", command=["sh", "-c", "echo 'the disk is on fire'; exit 5"])


@dsl.pipeline(name="half-broken")
def half_broken(unused: str):
    breaks().after(works())
'''


@pytest.fixture()
def image(platform, tmp_path):
    """A folder with a program in it, and its requirements."""
    folder = tmp_path / "greeter"
    folder.mkdir()
    (folder / "greet.py").write_text("import sys, six; print('greetings,', *sys.argv[1:], six.PY3)\n")
    (folder / "requirements.txt").write_text("six==1.17.0\n")
    yield folder
    platform.kfctl("image", "rm", "greeter:latest", check=False)


def run_pod(platform, name, **container):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"restartPolicy": "Never", "containers": [{"name": "main", **container}]}}
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    try:
        until(lambda: platform.kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}") in ("Succeeded", "Failed"), 120)
        return platform.kubectl("logs", name)
    finally:
        platform.kubectl("delete", "pod", name, "--wait=false")


def test_a_folder_becomes_an_image_with_its_requirements_and_entrypoint(platform, image):
    platform.kfctl("image", "add", "greeter", image, "--entrypoint", "python3 greet.py")
    platform.offer("greeter:latest")
    assert run_pod(platform, "greets", image="greeter:latest", args=["you"]) == "greetings, you True\n"
    listed = platform.kfctl("image", "list").stdout
    assert "greeter" in listed
    shown = platform.kfctl("image", "inspect", "greeter:latest").stdout
    for words in ("six==1.17.0", "greet.py", str(image)):
        assert words in shown, shown
    assert "greeter" in platform.kfctl("image", "rm", "greeter:latest").stdout
    assert "greeter" not in platform.kfctl("image", "list").stdout


@pytest.mark.one_machine
def test_an_environment_is_built_once_for_all_that_need_the_same(platform, image):
    platform.kfctl("image", "add", "greeter:latest", image)
    run_pod(platform, "first-use", image="greeter:latest", command=["python3", "-c", "import six"])
    before = sorted(path.name for path in (platform.folder / "environments").iterdir())
    (image / "greet.py").write_text("print('changed')\n")
    platform.kfctl("image", "add", "greeter:latest", image)
    assert run_pod(platform, "second-use", image="greeter:latest", command=["python3", "greet.py"]) == "changed\n"
    assert sorted(path.name for path in (platform.folder / "environments").iterdir()) == before


@pytest.mark.parametrize(
    "words, said",
    [
        (["add", "x:latest", "/no/such/folder"], "/no/such/folder"),
        (["add", "not a name!", "."], "not a name!"),
        (["rm", "absent:latest"], "absent"),
        (["inspect", "absent:latest"], "absent"),
    ],
)
def test_what_cannot_be_an_image_is_said_in_a_sentence(platform, words, said):
    done = platform.kfctl("image", *words, check=False)
    assert done.returncode != 0 and said in done.stderr, done
    assert "panicked" not in done.stderr and len(done.stderr.strip().splitlines()) <= 4, done.stderr


def test_requirements_that_cannot_be_had_are_named(platform, image):
    (image / "requirements.txt").write_text("no-such-package-of-ferroflow==1.2.3\n")
    done = platform.kfctl("image", "add", "greeter:latest", image, check=False)
    said = done.stdout + done.stderr
    if done.returncode == 0:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "needy"}, "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "greeter:latest", "command": ["true"]}]}}
        platform.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
        said = until(lambda: (text := platform.kubectl("describe", "pod", "needy")) and "no-such-package-of-ferroflow" in text and text, 90)
        platform.kubectl("delete", "pod", "needy", "--wait=false")
    assert "no-such-package-of-ferroflow" in said


def test_the_first_sdks_operations_run_with_outputs_order_limits_and_shared_folders(platform, tmp_path):
    (tmp_path / "operations.py").write_text(OPERATIONS)
    done = platform.kfctl("run", tmp_path / "operations.py", "--name", "by the old words", "--param", "who=me", "--follow")
    assert "succeeded after" in done.stdout
    assert platform.kfctl("logs", "last", "say").stdout.strip().endswith("hello me 3")
    assert platform.kfctl("logs", "last", "read").stdout.strip().endswith("shared")
    assert "by the old words" in platform.kfctl("runs").stdout


def test_a_failing_run_says_which_step_why_and_what_it_printed(platform, tmp_path):
    (tmp_path / "failing.py").write_text(FAILING)
    done = platform.kfctl("run", tmp_path / "failing.py", "--param", "unused=x", "--follow", check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    for words in ("breaks", "exited with code 5", "the disk is on fire"):
        assert words in said, said
    newest = json.loads(platform.kfctl("runs", "-o", "json").stdout)[0]
    assert newest["state"] == "FAILED" and newest["display_name"].startswith("half-broken")


def test_logs_follow_a_step_that_runs(platform, tmp_path):
    slow = FAILING.replace("echo 'the disk is on fire'; exit 5", "for i in 1 2 3; do echo line $i; sleep 0.5; done")
    (tmp_path / "slow.py").write_text(slow)
    run = json.loads(platform.kfctl("run", tmp_path / "slow.py", "--param", "unused=x", "--no-cache", "-o", "json").stdout)["run_id"]
    done = platform.kfctl("logs", run, "breaks", "-f")
    assert [line for line in done.stdout.splitlines() if "line" in line][-1].endswith("line 3"), done.stdout


def known_runs(platform):
    return {run["run_id"] for run in json.loads(platform.kfctl("runs", "-o", "json").stdout)}


@pytest.mark.parametrize(
    "name, text, options, words",
    [
        ("missing.py", None, [], "missing.py"),
        ("broken.py", "def broken(:\n", [], "broken.py"),
        ("empty.py", "x = 1\n", [], "no pipeline"),
        ("unreadable.yaml", "a: [\n", [], "unreadable.yaml"),
        ("other.yaml", "kind: Pod\n", [], "kind"),
        ("needs.py", FAILING, [], "unused"),
        ("unknown.py", FAILING, ["--param", "unused=x", "--param", "extra=y"], "extra"),
        ("badly.py", FAILING, ["--param", "unused"], "NAME=VALUE"),
        (
            "cycle.yaml",
            """
pipelineInfo: {name: cycle}
schemaVersion: 2.1.0
sdkVersion: kfp-2.17.0
deploymentSpec: {executors: {exec-a: {container: {image: alpine, command: ['true']}}}}
components: {comp-a: {executorLabel: exec-a}}
root:
  dag:
    tasks:
      one: {componentRef: {name: comp-a}, dependentTasks: [two], taskInfo: {name: one}}
      two: {componentRef: {name: comp-a}, dependentTasks: [one], taskInfo: {name: two}}
""",
            [],
            "one",
        ),
    ],
)
def test_bad_pipelines_are_refused_in_words_and_start_nothing(platform, tmp_path, name, text, options, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    before = known_runs(platform)
    done = platform.kfctl("run", tmp_path / name, *options, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and words in said, said
    assert "panicked" not in said and "backtrace" not in said
    assert known_runs(platform) == before, "a run was made"


def test_a_pipe_that_closes_early_is_no_crash(platform):
    env = {**os.environ, "FERROFLOW_DATA_DIR": str(platform.folder)}
    with subprocess.Popen([str(KFCTL), "runs", *platform.target("runs")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True) as listing:
        listing.stdout.close()
        said = listing.stderr.read()
        listing.wait(timeout=60)
    assert "panicked" not in said, said
