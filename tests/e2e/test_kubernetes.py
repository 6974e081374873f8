"""The small Kubernetes as the Python client and pods see it. What kubectl sees is in `test_kubectl.py`."""

import json
import os
import time

import pytest


def test_the_python_client_creates_watches_and_deletes(platform):
    from kubernetes import client, config, watch

    config.load_kube_config(str(platform.kubeconfig))
    core = client.CoreV1Api()
    core.create_namespaced_config_map("default", client.V1ConfigMap(metadata=client.V1ObjectMeta(name="watched"), data={"n": "0"}))
    seen = []
    for event in watch.Watch().stream(core.list_namespaced_config_map, "default", field_selector="metadata.name=watched", timeout_seconds=30):
        seen.append((event["type"], event["object"].data["n"]))
        if len(seen) == 1:
            core.patch_namespaced_config_map("watched", "default", {"data": {"n": "1"}})
        elif len(seen) == 2:
            core.delete_namespaced_config_map("watched", "default")
        else:
            break
    assert seen == [("ADDED", "0"), ("MODIFIED", "1"), ("DELETED", "1")]


def run_pod(platform, name, script, image="python:3.11", **spec):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image, "command": ["python3", "-c", script]}], **spec},
    }
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    deadline = time.monotonic() + 60
    while True:
        phase = platform.kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}")
        if phase in ("Succeeded", "Failed"):
            log = platform.kubectl("logs", name)
            platform.kubectl("delete", "pod", name, "--wait=false")
            return phase, log
        assert time.monotonic() < deadline, platform.kubectl("describe", "pod", name)
        time.sleep(0.1)


def test_a_pod_sees_neither_home_folders_nor_our_keys_nor_other_processes(platform):
    script = f"""
import os
assert not os.path.exists({str(platform.folder / 'keys')!r})
assert not os.path.exists('/root/.ssh') and not os.path.exists('/root/.cache')
assert os.listdir('/home') == [] if os.path.exists('/home') else True
pids = [int(p) for p in os.listdir('/proc') if p.isdigit()]
assert len(pids) <= 4, pids
assert 'FERROFLOW_DATA_DIR' not in os.environ
open('/tmp/mine', 'w').write('x')
for path in ('/usr/ferroflow-test', '/bin/ferroflow-test', '/etc/ferroflow-test'):
    try:
        open(path, 'w')
    except OSError:
        pass
print('closed')
"""
    assert run_pod(platform, "curious", script) == ("Succeeded", "closed\n")
    for folder in ("/usr", "/bin", "/etc"):
        assert not os.path.exists(f"{folder}/ferroflow-test"), "the pod wrote to the host"


def test_a_pod_reaches_the_api_with_its_token_but_nothing_of_the_hosts(platform):
    script = f"""
import os, ssl, socket, urllib.request, urllib.error
base = '/var/run/secrets/kubernetes.io/serviceaccount/'
token = open(base + 'token').read()
context = ssl.create_default_context(cafile=base + 'ca.crt')
request = urllib.request.Request('https://kubernetes.default.svc/api/v1/namespaces/default/secrets', headers={{'Authorization': 'Bearer ' + token}})
try:
    urllib.request.urlopen(request, context=context); raise SystemExit('secrets were listed')
except urllib.error.HTTPError as error:
    assert error.code == 403, error.code
for host, port in (('127.0.0.1', {platform.console_port}), ('169.254.169.254', 80), ('10.1.0.1', {platform.api_port})):
    try:
        s = socket.create_connection((host, port), timeout=5)
        s.settimeout(5)
        s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
        assert s.recv(1) == b'', host + ' answered'
    except OSError:
        pass
print('bounded')
"""
    assert run_pod(platform, "bounded", script) == ("Succeeded", "bounded\n")


@pytest.mark.one_machine
def test_a_gpu_that_is_not_there_is_said_with_the_remedy(tmp_path_factory):
    from conftest import Platform

    platform = Platform(tmp_path_factory.mktemp("gpu") / "data", "--bare")
    platform.up()
    try:
        pod = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gpu"},
            "spec": {"containers": [{"name": "main", "image": "alpine:3.20", "command": ["true"], "resources": {"limits": {"nvidia.com/gpu": 1}}}]},
        }
        deadline = time.monotonic() + 30
        while "serviceaccount" not in platform.kubectl("get", "serviceaccount", "default", "-o", "name", check=False):
            assert time.monotonic() < deadline
        platform.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
        platform.kubectl("wait", "pod/gpu", "--for=condition=PodScheduled=False", "--timeout=30s")
        said = platform.kubectl("describe", "pod", "gpu")
        assert "Insufficient nvidia.com/gpu" in said and "--gpu-fallback=cpu" in said, said
    finally:
        platform.down()
