"""The small Kubernetes as kubectl and the Python client see it."""

import json
import os
import time

import pytest

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: python:3.11
        command: [python3, -m, http.server, "8080"]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
"""


@pytest.fixture(scope="module", params=range(7))
def kubectl(request, platform, kubectls):
    """Each kubectl in a namespace of its own."""
    if request.param >= len(kubectls):
        pytest.skip("this machine has fewer versions of kubectl")
    binary = kubectls[request.param]
    namespace = f"script-{request.param}"
    platform.kubectl("create", "namespace", namespace)

    def run(*arguments, **options):
        return platform.kubectl("-n", namespace, *arguments, binary=binary, **options)

    yield run
    platform.kubectl("delete", "namespace", namespace, "--wait=true")


def test_a_kubectl_script(kubectl):
    assert "deployment.apps/web created" in kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert "deployment.apps/web unchanged" in kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert "successfully rolled out" in kubectl("rollout", "status", "deploy/web", "--timeout=90s")
    assert kubectl("get", "pods", "-l", "app=web", "--no-headers").count("Running") == 2
    assert "replicas: 3" in kubectl("diff", "-f", "-", stdin=DEPLOYMENT.replace("replicas: 2", "replicas: 3"), check=False)
    assert "scaled" in kubectl("scale", "deploy/web", "--replicas=3")
    kubectl("wait", "deploy/web", "--for=condition=Available", "--timeout=60s")
    assert "labeled" in kubectl("label", "deploy/web", "team=a")
    assert "Replicas:" in kubectl("describe", "deploy/web")
    assert "restarted" in kubectl("rollout", "restart", "deploy/web")
    kubectl("rollout", "status", "deploy/web", "--timeout=90s")
    pod = kubectl("get", "pods", "-l", "app=web", "--sort-by=.metadata.creationTimestamp", "-o", "name").split()[-1]
    assert kubectl("exec", pod, "--", "sh", "-c", "echo $HOSTNAME").strip() == pod.removeprefix("pod/")
    kubectl("exec", pod, "--", "python3", "-c", "import urllib.request as r; r.urlopen('http://web')")
    kubectl("logs", pod)
    assert "readinessProbe" in kubectl("explain", "pod.spec.containers")
    assert kubectl("auth", "can-i", "create", "pods").strip() == "yes"
    assert kubectl("auth", "can-i", "create", "pods", "--as=nobody", check=False).strip().startswith("no")
    kubectl("apply", "--server-side", "-f", "-", stdin="apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\ndata: {a: b}\n")
    kubectl("patch", "configmap", "s", "-p", '{"data":{"c":"d"}}')
    assert json.loads(kubectl("get", "configmap", "s", "-o", "json"))["data"] == {"a": "b", "c": "d"}
    assert "deleted" in kubectl("delete", "deploy/web", "service/web")
    kubectl("wait", "pods", "-l", "app=web", "--for=delete", "--timeout=60s")


def test_an_unknown_field_is_refused_with_its_path(kubectl):
    said = kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("replicas: 2", "replicas: 2\n  replicaz: 3"), check=False)
    assert 'unknown field "spec.replicaz"' in said


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


def test_too_much_memory_is_an_honest_oom_kill(platform):
    resources = {"limits": {"memory": "64Mi"}}
    containers = [{"name": "main", "image": "python:3.11", "command": ["python3", "-c", "x = bytearray(400 << 20); import time; time.sleep(30)"], "resources": resources}]
    phase, _ = run_pod_with(platform, "greedy", containers)
    assert phase == ("Failed", "OOMKilled")


def run_pod_with(platform, name, containers):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"restartPolicy": "Never", "containers": containers}}
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    platform.kubectl("wait", "pod", name, "--for=jsonpath={.status.phase}=Failed", "--timeout=60s")
    status = json.loads(platform.kubectl("get", "pod", name, "-o", "json"))["status"]
    platform.kubectl("delete", "pod", name, "--wait=false")
    return (status["phase"], status["containerStatuses"][0]["state"]["terminated"]["reason"]), status


def test_a_gpu_that_is_not_there_is_said_with_the_remedy(tmp_path_factory):
    from conftest import Platform

    platform = Platform(tmp_path_factory.mktemp("gpu") / "data", "--bare")
    platform.up()
    try:
        pod = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gpu"},
            "spec": {"containers": [{"name": "main", "image": "alpine", "command": ["true"], "resources": {"limits": {"nvidia.com/gpu": 1}}}]},
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
