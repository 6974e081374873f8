"""Our node and our controllers on a real API server that has none of its own: they join it as their counterparts do,
and every stream goes through it. What pods and controllers are beyond that, the other suites ask there too."""

import json
import os
import re
import ssl
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from conftest import KFCTL, ROOT, until

pytestmark = pytest.mark.own_node
GUIDE = ROOT / "examples/guide"
NAMESPACE = "own-node"


@pytest.fixture(scope="module")
def space(platform):
    platform.kubectl("create", "namespace", NAMESPACE)
    until(lambda: "default" in platform.kubectl("-n", NAMESPACE, "get", "serviceaccounts", "-o", "name"))

    def kubectl(*arguments, **options):
        return platform.kubectl("-n", NAMESPACE, *arguments, **options)

    yield kubectl
    platform.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(scope="module")
def web(space):
    """A Deployment with a Service, reached by nobody yet; its pod's name."""
    space("create", "deployment", "web", "--image=python:3.11", "--", "python3", "-m", "http.server", "8000")
    space("expose", "deployment", "web", "--port=80", "--target-port=8000")
    space("rollout", "status", "deployment/web", "--timeout=180s", timeout=200)
    return space("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")


def pod(name, script, image="python:3.11", **spec):
    container = {"name": "main", "image": image, "command": ["sh", "-c", script]}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"restartPolicy": "Never", **spec, "containers": [container]}})


def ended(space, name):
    phase = until(lambda: (found := space("get", "pod", name, "-o", "jsonpath={.status.phase}")) in ("Succeeded", "Failed") and found, 180)
    return phase, space("logs", name)


def test_the_node_has_joined_with_its_own_name_rights_and_address(platform, space):
    node = json.loads(platform.kubectl("get", "node", platform.NODE, "-o", "json"))
    assert node["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("ferroflow://")
    assert {"type": "InternalIP", "address": platform.address} in node["status"]["addresses"]
    assert node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] == platform.port
    lease = json.loads(platform.kubectl("get", "lease", "-n", "kube-node-lease", platform.NODE, "-o", "json"))
    assert lease["spec"]["holderIdentity"] == platform.NODE


def test_a_deployment_comes_up_and_its_service_has_a_name_an_address_and_the_pod_behind_it(space, web):
    found = json.loads(space("get", "deployment", "web", "-o", "json"))
    assert found["status"]["availableReplicas"] == 1
    conditions = {one["type"]: one["status"] for one in found["status"]["conditions"]}
    assert conditions == {"Available": "True", "Progressing": "True"}
    slices = json.loads(space("get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", "json"))["items"]
    assert [one["targetRef"]["name"] for one in slices[0]["endpoints"]] == [web]
    script = "import urllib.request; print(urllib.request.urlopen('http://web', timeout=20).status)"
    assert space("exec", web, "--", "python3", "-c", script).strip() == "200"


def test_a_pod_that_is_ready_gives_no_reason_why_it_is_not(space, web):
    found = json.loads(space("get", "pod", web, "-o", "json"))
    for condition in found["status"]["conditions"]:
        assert condition["status"] == "True" and "reason" not in condition and "message" not in condition, condition


def test_a_pod_reaches_the_api_server_behind_its_service_as_itself(space, web):
    """Its endpoint lies outside of the pod network."""
    script = """
import json, ssl, urllib.error, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
trust = ssl.create_default_context(cafile=folder + "ca.crt")
def ask(path):
    request = urllib.request.Request("https://kubernetes.default.svc" + path, headers={"Authorization": "Bearer " + open(folder + "token").read()})
    return urllib.request.urlopen(request, context=trust, timeout=20)
print(json.load(ask("/version"))["gitVersion"])
try:
    ask("/api/v1/nodes")
except urllib.error.HTTPError as error:
    print(json.load(error)["message"])
"""
    version, refused = space("exec", "-i", web, "--", "python3", "-", stdin=script).splitlines()
    assert re.fullmatch(r"v1\.\d+\.\d+", version)
    assert f"system:serviceaccount:{NAMESPACE}:default" in refused


def test_a_job_runs_to_its_end_and_its_log_is_read_through_the_api_server(space):
    space("create", "job", "count", "--image=alpine:3.20", "--", "sh", "-c", "echo one; echo two")
    space("wait", "job/count", "--for=condition=Complete", "--timeout=180s", timeout=200)
    assert space("logs", "job/count") == "one\ntwo\n"


def test_a_folder_added_as_an_image_runs_as_a_pod(platform, space, tmp_path):
    folder = tmp_path / "greeter"
    folder.mkdir()
    (folder / "greet.py").write_text("print('greetings from a folder')\n")
    platform.kfctl("image", "add", "greeter:latest", folder)
    space("apply", "-f", "-", stdin=pod("greeter", "python greet.py", image="greeter:latest"))
    assert ended(space, "greeter") == ("Succeeded", "greetings from a folder\n")


def test_exec_and_cp_go_through_the_api_server_and_tell_how_it_ended(space, web, tmp_path):
    assert space("exec", "-i", web, "--", "cat", stdin="in and out") == "in and out"
    assert "exit code 7" in space("exec", web, "--", "sh", "-c", "exit 7", check=False)
    (tmp_path / "file").write_text("carried\n")
    space("cp", tmp_path / "file", f"{web}:/tmp/file")
    space("cp", f"{web}:/tmp/file", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "carried\n"


def test_a_deleted_pod_gets_its_grace_and_says_goodbye(space):
    script = "trap 'sleep 1; echo goodbye; exit 0' TERM; echo ready; while :; do sleep 0.1; done"
    space("apply", "-f", "-", stdin=pod("polite", script, terminationGracePeriodSeconds=60))
    until(lambda: "ready" in space("logs", "polite", check=False), 180)
    follow = subprocess.Popen(
        ["kubectl", "-n", NAMESPACE, "logs", "-f", "polite"], env={**os.environ, "KUBECONFIG": os.environ["FERROFLOW_CONTROL_PLANE"] + "/kubeconfig"}, stdout=subprocess.PIPE, text=True
    )
    assert follow.stdout.readline() == "ready\n"
    space("delete", "pod", "polite", timeout=150)
    assert follow.communicate(timeout=60)[0] == "goodbye\n"
    assert "NotFound" in space("get", "pod", "polite", check=False)


def test_the_nodes_port_answers_nobody_whom_the_api_server_does_not_allow(platform, space):
    trust = ssl.create_default_context(cafile=str(platform.place / "keys/ca.crt"))

    def ask(token=None):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"https://{platform.address}:{platform.port}/pods", headers=headers)
        try:
            return urllib.request.urlopen(request, context=trust, timeout=30).status
        except urllib.error.HTTPError as error:
            return error.code

    assert ask() == 401
    assert ask("not-a-token") == 401
    token = space("create", "token", "default").strip()
    assert ask(token) == 403
    name = f"reader-of-{NAMESPACE}"
    platform.kubectl("create", "clusterrole", name, "--verb=get", "--resource=nodes/proxy")
    platform.kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", f"--serviceaccount={NAMESPACE}:default")
    until(lambda: ask(token) == 200, 60)
    platform.kubectl("delete", "clusterrole,clusterrolebinding", name)


def test_the_mark_of_our_own_components_means_nothing_where_anybody_can_set_it(space):
    """On one machine it makes a pod run inside of the server; there an admission step guards it."""
    container = {"name": "main", "image": "alpine:3.20", "command": ["sh", "-c", "echo sandboxed as $(id -u)"]}
    marked = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "marked", "annotations": {"ferroflow.io/built-in": "true"}}, "spec": {"restartPolicy": "Never", "containers": [container]}}
    space("apply", "-f", "-", stdin=json.dumps(marked))
    assert ended(space, "marked") == ("Succeeded", "sandboxed as 0\n")


class Forward:
    """kubectl port-forward, and the port that it chose."""

    def __init__(self, platform, *arguments):
        env = {**os.environ, "KUBECONFIG": str(platform.kubeconfig)}
        self.process = subprocess.Popen(["kubectl", "port-forward", "--address=127.0.0.1", *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        line = self.process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found, line
        self.url = f"http://127.0.0.1:{found.group(1)}"

    def __enter__(self):
        return self.url

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


@pytest.mark.timeout(2400)
def test_the_guides_two_lines_install_the_platform_and_its_pipeline_runs(platform, tmp_path):
    import kfp

    env = {**os.environ, "KUBECONFIG": str(platform.kubeconfig), "NO_COLOR": "1"}
    done = subprocess.run([str(KFCTL), "apply", "-V", "-f", "kfdef_k8s_istio.v1.7.0.yaml"], cwd=tmp_path, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=700)
    assert done.returncode == 0, done.stdout + done.stderr
    for step in ["preprocess", "train", "validate"]:
        platform.kfctl("image", "add", f"{step}:latest", GUIDE / step, "--requirements", GUIDE / step / "requirements.txt")
    compiled = tmp_path / "pipeline.yaml"
    compiler = [sys.executable, "-m", "ferroflow_kfp", "compile", str(GUIDE / "pipeline.py"), "--output", str(compiled)]
    subprocess.run(compiler, check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "sdk/python")}, capture_output=True, timeout=120)
    token = platform.kubectl("create", "token", "pipeline-runner", "-n", "kubeflow").strip()
    with Forward(platform, "-n", "istio-system", "svc/istio-ingressgateway", ":80") as url:
        client = kfp.Client(host=url, existing_token=token)
        run = client.create_run_from_pipeline_package(str(compiled), enable_caching=False)
        found = client.wait_for_run_completion(run.run_id, timeout=1500, sleep_duration=1)
    assert found.state == "SUCCEEDED", found
    pods = json.loads(platform.kubectl("get", "pods", "-n", "kubeflow", "-l", f"pipeline/runid={run.run_id}", "-o", "json"))["items"]
    assert {one["spec"]["nodeName"] for one in pods} == {platform.NODE}


@pytest.mark.timeout(900)
def test_a_node_that_dies_is_found_out_and_its_pods_live_on_until_it_is_back(platform, space, web):
    before = json.loads(space("get", "pod", web, "-o", "json"))
    platform.processes["node"].kill()
    platform.processes["node"].wait()
    until(lambda: platform.condition()["status"] == "Unknown", 240)
    assert platform.condition()["reason"] == "NodeStatusUnknown"
    taints = json.loads(platform.kubectl("get", "node", platform.NODE, "-o", "json"))["spec"]["taints"]
    assert ("node.kubernetes.io/unreachable", "NoSchedule") in [(one["key"], one["effect"]) for one in taints]
    platform.start("node")
    until(lambda: platform.condition()["status"] == "True", 120)
    until(lambda: "taints" not in json.loads(platform.kubectl("get", "node", platform.NODE, "-o", "json"))["spec"], 60)
    after = json.loads(space("get", "pod", web, "-o", "json"))
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]
    until(lambda: space("exec", web, "--", "echo", "alive", check=False).strip() == "alive", 60)


def test_a_node_does_not_take_the_place_of_another_kubelets(platform, tmp_path):
    """Two would run the same pods."""
    name = "taken"
    platform.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}))
    info = {key: "" for key in ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "kubeletVersion", "kubeProxyVersion", "operatingSystem", "architecture")}
    status = {"status": {"nodeInfo": {**info, "containerRuntimeVersion": "containerd://1.7.0"}}}
    platform.kubectl("patch", "node", name, "--subresource=status", "--type=merge", "-p", json.dumps(status))
    try:
        options = ["--kubeconfig", str(platform.kubeconfig), "--name", name, "--listen", "127.0.0.1:0", "--health", "127.0.0.1:0"]
        env = {**os.environ, "FERROFLOW_DATA_DIR": str(tmp_path / "data"), "NO_COLOR": "1"}
        done = subprocess.run([str(KFCTL), "controller", "node", *options], env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1
        assert "containerd://1.7.0 runs its pods; take another name" in done.stderr, done.stderr
        assert not (tmp_path / "data/node").exists(), "nothing was begun"
    finally:
        platform.kubectl("delete", "node", name)
