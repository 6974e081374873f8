"""`kfctl up`, `status`, `down` and what they say."""

import json
import os
import signal
import socket
import stat
import time

import pytest
from conftest import Platform

pytestmark = pytest.mark.one_machine


def test_every_component_is_a_ready_pod_with_a_log(platform):
    pods = json.loads(platform.kubectl("get", "pods", "-n", "kubeflow", "-l", "app", "-o", "json"))["items"]
    ready = {pod["metadata"]["labels"]["app"]: pod["status"]["containerStatuses"][0]["ready"] for pod in pods}
    assert ready == {"dashboard": True, "ml-pipeline": True}
    assert "ml-pipeline" in platform.kubectl("get", "pods", "-A")
    platform.kubectl("logs", "-n", "kubeflow", "deploy/ml-pipeline")


def test_status_tells_a_program_what_runs(platform):
    status = json.loads(platform.kfctl("status", "-o", "json").stdout)
    assert status["running"] and {component["name"] for component in status["components"]} == {"dashboard", "istio-ingressgateway", "ml-pipeline"}
    assert all(component["ready"] for component in status["components"])
    assert 1_000_000 < status["memoryBytes"] < 1_000_000_000


def test_keys_and_kubeconfig_are_the_owners_alone(platform):
    for path in [platform.kubeconfig, *(platform.folder / "keys").iterdir()]:
        if path.is_file() and path.suffix != ".crt":
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_second_up_says_that_it_runs_already(platform):
    assert "already running" in platform.up()


def test_nobody_comes_in_without_a_token(platform):
    import ssl
    import urllib.error
    import urllib.request

    context = ssl._create_unverified_context()
    try:
        urllib.request.urlopen(f"https://127.0.0.1:{platform.api_port}/api/v1/secrets", context=context)
        raise AssertionError("an anonymous request was answered")
    except urllib.error.HTTPError as error:
        assert error.code == 401 and json.load(error)["reason"] == "Unauthorized"


def test_a_deleted_component_comes_back(platform):
    before = platform.kubectl("get", "pods", "-n", "kubeflow", "-l", "app=dashboard", "-o", "name").strip()
    platform.kubectl("delete", "-n", "kubeflow", before)
    platform.kubectl("rollout", "status", "-n", "kubeflow", "deploy/dashboard", "--timeout=60s")
    after = platform.kubectl("get", "pods", "-n", "kubeflow", "-l", "app=dashboard", "-o", "name").strip()
    assert after and after != before


def test_a_taken_port_is_one_sentence_with_the_remedy(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        platform = Platform(tmp_path / "data")
        platform.console_port = taken.getsockname()[1]
        done = platform.kfctl("up", "--detach", "--port", platform.console_port, "--api-port", platform.api_port, check=False)
    assert done.returncode != 0
    assert f"port {platform.console_port}" in done.stderr and "--port" in done.stderr, done.stderr


def test_a_corrupt_database_is_said_and_not_overwritten(tmp_path):
    platform = Platform(tmp_path / "data")
    platform.folder.mkdir()
    database = platform.folder / "apiserver.db"
    database.write_bytes(b"this is no database" * 100)
    done = platform.kfctl("up", "--detach", "--port", platform.console_port, "--api-port", platform.api_port, check=False)
    assert done.returncode != 0 and "apiserver.db" in done.stderr, done.stderr
    assert database.read_bytes().startswith(b"this is no database")


def test_down_leaves_no_process_and_up_finds_everything_again(tmp_path):
    platform = Platform(tmp_path / "data", "--bare")
    platform.up()
    platform.kubectl("create", "configmap", "kept", "--from-literal=a=1")
    pid = platform.record()["pid"]
    platform.down()
    assert is_gone(pid)
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                command = open(f"/proc/{entry}/cmdline", "rb").read()
            except OSError:
                continue
            assert str(platform.folder).encode() not in command, command
    platform.up()
    assert platform.kubectl("get", "configmap", "kept", "-o", "jsonpath={.data.a}") == "1"
    os.kill(platform.record()["pid"], signal.SIGTERM)
    deadline = time.monotonic() + 30
    while "not running" not in platform.kfctl("status", check=False).stdout:
        assert time.monotonic() < deadline, "SIGTERM does not stop it"


def test_what_is_not_there_is_named(platform):
    import urllib.error
    import urllib.request

    for path, words in [("/katib/", "Katib"), ("/apis/v2beta1/recurringruns", "ecurring run"), ("/apis/v1beta1/runs", "v1beta1")]:
        try:
            urllib.request.urlopen(platform.url + path)
            raise AssertionError(f"{path} was answered")
        except urllib.error.HTTPError as error:
            body = error.read().decode()
            assert error.code == 501 and words in body, (path, error.code, body)


def is_gone(pid):
    """Whether the process ended; one that nobody has waited for yet is a name without a body."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False
