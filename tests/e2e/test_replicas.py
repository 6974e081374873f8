"""Pipelines as two replicas over PostgreSQL: processes of the shipped binary, one of which is killed at work."""

import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.request

import pytest
from conftest import KFCTL, free_port, until
from postgres import database

pytestmark = pytest.mark.one_machine
NAMESPACE = "replicas"
RUNS = 20
# Says that it began, waits until the test lets it end, and says so once more.
STEP = "cd /minio/mlpipeline/v2/artifacts/held/$1 && touch begun && while [ ! -e go ]; do sleep 0.2; done && echo once >> done"
DOCUMENT = {
    "pipelineInfo": {"name": "held"},
    "schemaVersion": "2.1.0",
    "deploymentSpec": {
        "executors": {"exec": {"container": {"image": "python:3", "command": ["sh", "-c", STEP, "step"], "args": ["{{$.pipeline_job_uuid}}"]}}}
    },
    "components": {"comp": {"executorLabel": "exec"}},
    "root": {"dag": {"tasks": {"hold": {"componentRef": {"name": "comp"}, "cachingOptions": {}}}}},
}


class Replica:
    """A process of the component, with nothing but a kubeconfig and the database."""

    def __init__(self, name, platform, url, artifacts, folder):
        self.port, health = free_port(), free_port()
        self.metrics = f"http://127.0.0.1:{health}/metrics"
        self.log = folder / f"{name}.log"
        command = [KFCTL, "controller", "pipelines", "--kubeconfig", platform.kubeconfig, "--namespace", NAMESPACE, "--artifacts", artifacts]
        command += ["--listen", f"127.0.0.1:{self.port}", "--health", f"127.0.0.1:{health}"]
        env = {**os.environ, "FERROFLOW_DATABASE_URL": url}
        self.process = subprocess.Popen([*map(str, command)], stdout=self.log.open("w"), stderr=subprocess.STDOUT, env=env, umask=0)

    def leads(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return 'ferroflow_leader{lease="ml-pipeline"} 1' in urllib.request.urlopen(self.metrics, timeout=10).read().decode()
        except OSError:
            return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def ask(replica, token, method, path, body=None):
    request = urllib.request.Request(
        f"http://127.0.0.1:{replica.port}/apis/v2beta1{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}"},
    )
    try:
        return json.load(urllib.request.urlopen(request, timeout=60))
    except ConnectionRefusedError:
        return {}


@pytest.fixture
def volume(platform):
    """The folder behind the artifact claim of a namespace of the test's own."""
    platform.kubectl("create", "namespace", NAMESPACE)
    platform.kubectl("create", "serviceaccount", "pipeline-runner", "-n", NAMESPACE)
    platform.kubectl("create", "rolebinding", "runner", "-n", NAMESPACE, "--clusterrole=cluster-admin", f"--serviceaccount={NAMESPACE}:pipeline-runner")
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    thing = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "ferroflow-artifacts"}, "spec": claim}
    platform.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=json.dumps(thing))

    def bound():
        name = platform.kubectl("get", "pvc", "-n", NAMESPACE, "ferroflow-artifacts", "-o", "jsonpath={.spec.volumeName}")
        return name and platform.kubectl("get", "pv", name, "-o", "jsonpath={.spec.hostPath.path}")

    folder = pathlib.Path(until(bound))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)
    yield folder
    platform.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_the_other_replica_takes_over_when_the_driver_is_killed_at_work(platform, volume, tmp_path):
    token = platform.kubectl("create", "token", "pipeline-runner", "-n", NAMESPACE).strip()
    with database() as url:
        replicas = [Replica(name, platform, url, volume, tmp_path) for name in ("first", "second")]
        try:
            until(lambda: any(replica.leads() for replica in replicas), 120)
            driver, other = sorted(replicas, key=lambda replica: not replica.leads())
            until(lambda: ask(other, token, "GET", "/healthz"), 120)
            body = {"display_name": "held", "pipeline_spec": DOCUMENT}
            runs = [ask((driver, other)[index % 2], token, "POST", "/runs", body)["run_id"] for index in range(RUNS)]
            folders = [volume / "v2/artifacts/held" / run for run in runs]
            until(lambda: sum((folder / "begun").exists() for folder in folders) == RUNS, 300)
            driver.kill()
            killed = time.monotonic()
            for folder in folders:
                (folder / "go").touch()
            until(other.leads, 120)
            print(f"taken over {time.monotonic() - killed:.1f} s after the kill")
            for run in runs:
                until(lambda: ask(other, token, "GET", f"/runs/{run}").get("state") == "SUCCEEDED", 300)
            assert ask(other, token, "GET", "/runs")["total_size"] == RUNS
            assert [(folder / "done").read_text() for folder in folders] == ["once\n"] * RUNS
        finally:
            for replica in replicas:
                replica.kill()
