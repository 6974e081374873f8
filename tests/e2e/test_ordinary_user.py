"""The whole way as an ordinary user, from the shipped binary alone: nothing of root's, no toolchain, a home of one's own."""

import functools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess

import conftest
import pytest
from conftest import ROOT, Platform
from elsewhere import Elsewhere
from ordinary_user import Owner
from terminal import processes_naming

pytestmark = pytest.mark.one_machine
SLOW = {
    "pipelineInfo": {"name": "slow"},
    "schemaVersion": "2.1.0",
    "root": {"dag": {"tasks": {
        "first": {"taskInfo": {"name": "first"}, "componentRef": {"name": "comp-first"}},
        "second": {"taskInfo": {"name": "second"}, "componentRef": {"name": "comp-second"}, "dependentTasks": ["first"]},
    }}},
    "components": {"comp-first": {"executorLabel": "exec-first"}, "comp-second": {"executorLabel": "exec-second"}},
    "deploymentSpec": {"executors": {
        "exec-first": {"container": {"image": "alpine", "command": ["sh", "-c", "echo once"]}},
        "exec-second": {"container": {"image": "alpine", "command": ["sh", "-c", "echo begins; sleep 5; echo ends"]}},
    }},
}


@pytest.fixture(scope="module")
def owner():
    if not pathlib.Path("/usr/bin/python3").exists() and not shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin"):
        pytest.fail("an ordinary user needs a Python of this machine; install it: apt-get install python3 python3-venv")
    owner = Owner()
    yield owner
    owner.remove()


@pytest.fixture(scope="module")
def own(owner):
    """Their platform, where it would be without any option but the ports."""
    folder = owner.home / ".local/share/ferroflow"
    platform = Platform(folder, "--gpu-fallback=cpu", "--memory-fallback=clamp", owner=owner)
    said = platform.up()
    assert f"export KUBECONFIG={folder}/kubeconfig" in said, said
    yield platform
    platform.down()


# Images and pods take longer than what the suite waits for otherwise.
until = functools.partial(conftest.until, seconds=90)


def test_the_platform_is_theirs_and_closed_to_others(owner, own):
    status = json.loads(own.kfctl("status", "-o", "json").stdout)
    assert status["running"] and all(component["ready"] for component in status["components"])
    pid = own.record()["pid"]
    assert os.stat(f"/proc/{pid}").st_uid == owner.uid
    assert own.folder.stat().st_mode & 0o777 == 0o700
    for path in own.folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert path.stat().st_uid == owner.uid, path


@pytest.mark.timeout(1200)  # its training takes all the processor it gets, and on a busy machine that is little
def test_the_guides_pipeline_runs_end_to_end(owner, own):
    guide = owner.copy(ROOT / "examples/guide", "guide")
    texts = owner.copy(ROOT / "crates/objects/src", "texts")
    for step in ["preprocess", "train", "validate"]:
        said = own.kfctl("image", "add", f"{step}:latest", guide / step, "--requirements", guide / step / "requirements.txt").stdout
        assert f"{step}:latest" in said
    listed = own.kfctl("image", "list").stdout
    assert all(step in listed for step in ["preprocess", "train", "validate"])
    done = own.kfctl("run", guide / "pipeline.py", "--mount", f"{texts}:/data/raw", "--follow", timeout=1100)
    assert "succeeded after" in done.stdout, done.stdout
    log = own.kfctl("logs", "last", "validate").stdout
    report = json.loads(next(line for line in log.splitlines() if line.startswith("{")))
    assert report["perplexity"] < report["unigram_perplexity"], log
    # The log is there when the pods are not.
    own.kubectl("delete", "pods", "-n", "kubeflow", "-l", "pipeline/runid")
    assert own.kfctl("logs", "last", "validate").stdout == log


def run_pod(platform, name, script, **spec):
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "python:3.11", "command": ["python3", "-c", script]}], **spec},
    }
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    until(lambda: platform.kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}") in ("Succeeded", "Failed"))
    log = platform.kubectl("logs", name)
    platform.kubectl("delete", "pod", name, "--wait=false")
    return log


def test_a_pod_sees_no_home_no_keys_and_nothing_of_other_pods(owner, own):
    (owner.home / "secret.txt").write_text("mine")
    owner.own(owner.home / "secret.txt")
    neighbour = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "neighbour"},
        "spec": {"containers": [{"name": "main", "image": "alpine", "command": ["sh", "-c", "echo private > /tmp/private; sleep 600"]}]},
    }
    own.kubectl("apply", "-f", "-", stdin=json.dumps(neighbour))
    own.kubectl("wait", "pod/neighbour", "--for=condition=Ready", "--timeout=60s")
    script = f"""
import os, pathlib
for path in [{str(owner.home)!r}, {str(own.folder)!r}, {str(own.folder / "keys")!r}, {str(own.folder / "pods")!r}, '/root/.ssh', '/root/.cache']:
    assert not os.path.exists(path), path
assert not os.path.isdir('/home') or os.listdir('/home') == [], os.listdir('/home')
assert not os.path.exists('/tmp/private') and os.listdir('/tmp') == [], os.listdir('/tmp')
ids = [int(entry) for entry in os.listdir('/proc') if entry.isdigit()]
assert len(ids) <= 4, ids
for entry in ids:
    try:
        assert b'neighbour' not in open(f'/proc/{{entry}}/environ', 'rb').read()
    except PermissionError:
        pass
assert os.environ['HOME'] != {str(owner.home)!r} and os.access(os.environ['HOME'], os.W_OK), os.environ['HOME']
assert os.access(os.getcwd(), os.W_OK), os.getcwd()
for folder in ('/usr', '/etc', '/bin'):
    try:
        open(folder + '/ferroflow-was-here', 'w')
    except OSError:
        pass
print('closed')
"""
    assert run_pod(own, "curious", script) == "closed\n"
    own.kubectl("delete", "pod", "neighbour", "--grace-period=0", "--force")
    for folder in ("/usr", "/etc", "/bin"):
        assert not os.path.exists(f"{folder}/ferroflow-was-here"), "the pod wrote to the host"


def addresses_of_this_host() -> list[str]:
    """Every IPv4 address that an interface of this host has."""
    with open("/proc/net/fib_trie") as trie:
        lines = [line.strip() for line in trie]
    found = {before.split()[-1] for before, line in zip(lines, lines[1:]) if line.startswith("/32 host LOCAL")}
    return sorted(found)


def test_a_pod_reaches_nothing_of_this_host(own):
    with socket.socket() as everywhere:
        everywhere.bind(("0.0.0.0", 0))
        everywhere.listen()
        port = everywhere.getsockname()[1]
        hosts = addresses_of_this_host()
        assert "127.0.0.1" in hosts
        targets = [(host, at) for host in [*hosts, "169.254.169.254", "169.254.0.1", "0.0.0.0"] for at in (port, own.console_port, own.api_port)]
        script = f"""
import socket
for host, port in {targets!r}:
    try:
        connection = socket.create_connection((host, port), timeout=5)
        connection.settimeout(5)
        connection.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
        answer = connection.recv(1)
    except OSError:
        continue
    assert answer == b'', f'{{host}}:{{port}} answered'
print('bounded')
"""
        assert run_pod(own, "bounded", script) == "bounded\n"
        everywhere.setblocking(False)
        with pytest.raises(BlockingIOError):
            everywhere.accept()


def test_a_pod_reaches_other_machines_through_the_relay(own):
    if Elsewhere.can_be_made():
        with Elsewhere() as (host, port):
            until(lambda: answers(host, port))
            script = f"import urllib.request as r; print(r.urlopen('http://{host}:{port}', timeout=20).read().decode())"
            assert run_pod(own, "outward", script) == "from elsewhere\n"
    if index_is_reachable():
        script = "import subprocess as s, sys; s.run([sys.executable, '-m', 'pip', 'install', '-q', '--target', '/tmp/x', 'six'], check=True); import os; print(sorted(os.listdir('/tmp/x'))[-1])"
        assert run_pod(own, "installs", script).strip().endswith("six.py")


def answers(host, port) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
        return True
    except OSError:
        return False


def index_is_reachable() -> bool:
    """Whether this machine itself gets at the package index, by whatever way."""
    asked = subprocess.run(["curl", "-sfm", "10", "-o", "/dev/null", os.environ.get("PIP_INDEX_URL", "https://pypi.org/simple/") + "six/"])
    return asked.returncode == 0


def test_a_killed_platform_resumes_the_run_and_repeats_no_step(owner, own):
    file = owner.home / "slow.json"
    file.write_text(json.dumps(SLOW))
    owner.own(file)
    run = json.loads(own.kfctl("run", file, "--no-cache", "-o", "json").stdout)["run_id"]

    def states():
        return {step["name"]: step["state"] for step in json.loads(own.kfctl("runs", run, "-o", "json").stdout).get("steps", [])}

    until(lambda: states().get("second") == "RUNNING")
    os.kill(own.record()["pid"], signal.SIGKILL)
    until(lambda: "not running" in own.kfctl("status", check=False).stdout)
    own.up()
    assert "succeeded after" in own.kfctl("runs", run, "--follow").stdout
    assert own.kfctl("logs", run).stdout == "first once\nsecond begins\nsecond ends\n"
    pods = json.loads(own.kubectl("get", "pods", "-n", "kubeflow", "-l", f"pipeline/runid={run}", "-o", "json"))["items"]
    assert len(pods) == 2 and all(status["restartCount"] == 0 for pod in pods for status in pod["status"]["containerStatuses"])


def test_what_is_not_theirs_to_write_or_change_is_said(owner, own):
    for folder in ["/usr/ferroflow", "/proc/ferroflow"]:
        done = owner.run(owner.kfctl, "up", "--data-dir", folder)
        assert done.returncode == 1 and folder in done.stderr and "--data-dir" in done.stderr, done.stderr
    done = owner.run(owner.kfctl, "up", "--data-dir", owner.home / "other", "--port", 80)
    assert done.returncode == 1 and ("above 1023" in done.stderr or "is taken" in done.stderr), done.stderr
    done = owner.run(owner.kfctl, "setup")
    assert "nothing to do" in done.stdout or (done.returncode == 1 and "sudo" in done.stderr), done


def test_down_leaves_no_process_and_delete_data_no_file(owner, own):
    sleeper = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sleeper"}, "spec": {"containers": [{"name": "main", "image": "alpine", "command": ["sleep", "600"]}]}}
    own.kubectl("apply", "-f", "-", stdin=json.dumps(sleeper))
    own.kubectl("wait", "pod/sleeper", "--for=condition=Ready", "--timeout=60s")
    own.kubectl("create", "configmap", "kept", "--from-literal=a=1")
    assert "stopped" in own.kfctl("down").stdout
    assert processes_naming(own.folder) == []
    if owner.is_made:
        until(lambda: owner.processes() == [])
    own.up()
    assert own.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "1"
    own.kfctl("down", "--delete-data", "--yes")
    assert not own.folder.exists()
