"""The binary as somebody without rights runs it. When the tests run as root, a copy of it is started under an id that no
account has, with a home of its own; when they do not, every other test is that proof already."""

import json
import os
import pathlib
import shutil
import tempfile

import pytest
from conftest import KFCTL, ROOT, Platform, until

SOMEBODY = 54_321


class Unprivileged(Platform):
    """A platform of an ordinary user; the folder, the binary and everything in them are that user's to read."""

    def __init__(self, home: pathlib.Path, *options: str):
        super().__init__(home / "data", *options)
        self.home, self.binary = home, home / "kfctl"
        shutil.copy(KFCTL, self.binary)
        for path in (home, self.binary):
            os.chown(path, SOMEBODY, SOMEBODY)
        self.binary.chmod(0o755)

    def kfctl(self, *arguments, **options):
        kept = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy") or name.startswith(("PIP_", "UV_", "SSL_"))}
        env = {**kept, "PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.home), "FERROFLOW_DATA_DIR": str(self.folder), "NO_COLOR": "1"}
        return self.run_kfctl(self.binary, arguments, env, user=SOMEBODY, group=SOMEBODY, extra_groups=[], cwd="/", **options)


@pytest.fixture(scope="module")
def unprivileged():
    if os.geteuid() != 0:
        pytest.skip("the tests run as an ordinary user: all others are the proof")
    home = pathlib.Path(tempfile.mkdtemp(prefix="ferroflow-somebody-"))
    platform = Unprivileged(home, "--gpu-fallback=cpu", "--memory-fallback=clamp")
    platform.up()
    yield platform
    platform.down()
    shutil.rmtree(home, ignore_errors=True)


def test_it_runs_as_that_user_and_keeps_its_keys_to_itself(unprivileged):
    pid = unprivileged.record()["pid"]
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    assert f"Uid:\t{SOMEBODY}\t{SOMEBODY}\t{SOMEBODY}\t{SOMEBODY}" in status
    for path in (unprivileged.folder / "keys").iterdir():
        found = path.stat()
        assert (found.st_uid, found.st_mode & 0o077) == (SOMEBODY, 0), path


def test_pods_have_their_own_addresses_names_and_limits(unprivileged):
    manifest = """
apiVersion: v1
kind: Pod
metadata: {name: site, labels: {app: site}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: python:3.11
    command: [sh, -c, "mkdir /tmp/w && echo hello > /tmp/w/page && cd /tmp/w && exec python3 -m http.server 80"]
    readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: site}
spec: {selector: {app: site}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: asks}
spec:
  restartPolicy: OnFailure
  containers:
  - name: main
    image: python:3.11
    command: [python3, -c, "import os, urllib.request as r; print(os.getuid(), r.urlopen('http://site/page').read().decode().strip())"]
    resources: {limits: {memory: 256Mi}}
"""
    unprivileged.kubectl("apply", "-f", "-", stdin=manifest)
    unprivileged.kubectl("wait", "pod/asks", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s")
    assert unprivileged.kubectl("logs", "asks").splitlines()[-1] == "0 hello"
    assert unprivileged.kubectl("exec", "site", "--", "cat", "/tmp/w/page") == "hello\n"
    unprivileged.kubectl("delete", "pod/site", "pod/asks", "service/site")


def test_a_pod_sees_neither_the_users_home_nor_keys(unprivileged):
    script = f"import os; print(any(os.path.exists(p) for p in ({str(unprivileged.home)!r}, {str(unprivileged.folder / 'keys')!r}, '/root/.ssh')))"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "curious"}, "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "python:3.11", "command": ["python3", "-c", script]}]}}
    unprivileged.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    unprivileged.kubectl("wait", "pod/curious", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=90s")
    assert unprivileged.kubectl("logs", "curious") == "False\n"


def test_a_pipeline_of_python_steps_runs(unprivileged):
    # The tests' own user is root here, whom the console does not take for the owner; kfctl runs as the owner.
    package = unprivileged.home / "sequence.yaml"
    shutil.copy(ROOT / "crates/pipelines/tests/pipelines/compiled/sequence.yaml", package)
    os.chown(package, SOMEBODY, SOMEBODY)
    done = unprivileged.kfctl("run", package, "--follow")
    assert "succeeded after" in done.stdout, done.stdout
    assert "done" in unprivileged.kfctl("logs", "last", "say").stdout


def test_too_much_memory_is_an_honest_oom_kill(unprivileged):
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "greedy"},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "python:3.11", "command": ["python3", "-c", "x = bytearray(400 << 20); import time; time.sleep(60)"], "resources": {"limits": {"memory": "64Mi"}}}]},
    }
    unprivileged.kubectl("apply", "-f", "-", stdin=json.dumps(pod))

    def ended():
        state = json.loads(unprivileged.kubectl("get", "pod", "greedy", "-o", "json"))["status"].get("containerStatuses", [{}])[0].get("state", {})
        return state.get("terminated")

    assert until(ended)["reason"] == "OOMKilled"
