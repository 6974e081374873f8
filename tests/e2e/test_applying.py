"""A platform on an ordinary Kubernetes by `kfctl build`, `apply`, `check`, `delete`, and the components as processes of
their own. The Kubernetes is the small one, started with `--bare`: nothing of ours is installed, nothing is built in."""

import base64
import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.request

import kfp
import pytest
import yaml
from conftest import KFCTL, Platform, free_port, until
from forward import Forward
from kfp import dsl

CONFIG_URI = "https://raw.githubusercontent.com/kubeflow/manifests/v1.7-branch/kfdef/kfdef_k8s_istio.v1.7.0.yaml"
FILE = "kfdef_k8s_istio.v1.7.0.yaml"
ADMIN = "kubeflow-admin"


class Installation:
    """A folder with a KfDef, for one cluster."""

    def __init__(self, cluster: Platform, folder: pathlib.Path):
        self.cluster, self.folder = cluster, folder
        folder.mkdir()

    def kfctl(self, *arguments, check=True, timeout=300):
        env = {**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig), "NO_COLOR": "1", "FERROFLOW_DATA_DIR": str(self.folder / "none")}
        done = subprocess.run(
            [str(KFCTL), *map(str, arguments)], capture_output=True, text=True, env=env, cwd=self.folder, timeout=timeout, stdin=subprocess.DEVNULL
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kfctl {' '.join(map(str, arguments))} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done


@pytest.fixture(scope="module")
def cluster(bare):
    return bare


@pytest.fixture(scope="module")
def installation(cluster, tmp_path_factory):
    """The guide's two lines, once for every test that follows."""
    installation = Installation(cluster, tmp_path_factory.mktemp("kfdef") / "kubeflow")
    installation.kfctl("build", "-V", "-f", CONFIG_URI)
    installation.said = installation.kfctl("apply", "-V", "-f", CONFIG_URI).stdout
    return installation


def test_build_writes_a_folder_and_asks_no_cluster(tmp_path):
    folder = tmp_path / "kubeflow"
    folder.mkdir()
    env = {**os.environ, "KUBECONFIG": "/nowhere", "NO_COLOR": "1"}
    for _ in range(2):
        done = subprocess.run([str(KFCTL), "build", "-V", "-f", CONFIG_URI], capture_output=True, text=True, env=env, cwd=folder, timeout=60)
        assert done.returncode == 0, done.stderr
    assert (folder / FILE).is_file() and (folder / "kustomize/console/kustomization.yaml").is_file()
    dumped = subprocess.run([str(KFCTL), "build", "-d", "-f", CONFIG_URI], capture_output=True, text=True, env=env, cwd=folder, timeout=60).stdout
    assert dumped.count("kind: Deployment") == 3


def test_check_tells_what_a_cluster_lacks(cluster, installation):
    findings = {one["check"]: one for one in json.loads(installation.kfctl("check", "-o", "json").stdout)}
    assert findings["Kubernetes version"]["verdict"] == "ok"
    assert findings["default StorageClass"]["verdict"] == "ok"
    assert findings["admission of our pods"]["verdict"] == "ok", findings["admission of our pods"]
    assert all(one["remedy"] for one in findings.values() if one["verdict"] != "ok")


@pytest.mark.one_machine
def test_an_unreachable_cluster_is_one_sentence(installation, tmp_path):
    other = tmp_path / "config"
    text = installation.cluster.kubeconfig.read_text()
    other.write_text(text.replace(f":{installation.cluster.api_port}", f":{free_port()}"))
    for command in (["check"], ["apply", "-f", FILE]):
        done = installation.kfctl(*command, "--kubeconfig", other, check=False)
        assert done.returncode == 1 and "does not answer" in done.stderr and "is it running" in done.stderr, done.stderr
    done = installation.kfctl("apply", "-f", FILE, "--context", "nobody", check=False)
    assert done.returncode == 1 and "no context" in done.stderr and "it has: ferroflow" in done.stderr, done.stderr


@pytest.mark.one_machine
def test_credentials_that_are_not_accepted_are_said(installation, tmp_path):
    other = tmp_path / "config"
    config = yaml.safe_load(installation.cluster.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": "wrong"}
    other.write_text(yaml.safe_dump(config))
    done = installation.kfctl("check", "--kubeconfig", other, check=False)
    assert done.returncode == 1 and "does not accept the credentials" in done.stderr, done.stderr


def test_the_components_run_under_the_guides_names(cluster, installation):
    assert "Applied the configuration Successfully!" in installation.said
    assert "context  " in installation.said
    for namespace, app in [("kubeflow", "ml-pipeline"), ("kubeflow", "dashboard"), ("istio-system", "istio-ingressgateway")]:
        pods = json.loads(cluster.kubectl("get", "pods", "-n", namespace, "-l", f"app={app}", "-o", "json"))["items"]
        assert len(pods) == 1 and pods[0]["status"]["phase"] == "Running", pods
        assert pods[0]["status"]["containerStatuses"][0]["ready"]
        # An ordinary pod in the ordinary sandbox, not a task of the server.
        assert "ferroflow.io/built-in" not in pods[0]["metadata"].get("annotations", {})


def test_applying_again_changes_nothing_and_says_so(cluster, installation):
    before = cluster.kubectl("get", "deploy,svc,sa,role,pdb,networkpolicy", "-A", "-o", "jsonpath={.items[*].metadata.resourceVersion}")
    said = installation.kfctl("apply", "-V", "-f", CONFIG_URI).stdout
    assert "nothing changed: 32 objects are as wanted" in said, said
    after = cluster.kubectl("get", "deploy,svc,sa,role,pdb,networkpolicy", "-A", "-o", "jsonpath={.items[*].metadata.resourceVersion}")
    assert before == after
    assert "clusterName: " in (installation.folder / FILE).read_text()
    assert "Available" in (installation.folder / FILE).read_text()


def test_a_step_runs_through_the_gateway(cluster, installation):
    @dsl.component
    def add(a: int, b: int) -> int:
        return a + b

    @dsl.pipeline(name="on-a-cluster")
    def pipeline():
        add(a=1, b=2)

    token = cluster.kubectl("create", "token", "pipeline-runner", "-n", "kubeflow").strip()
    with Forward(cluster) as gateway:
        client = kfp.Client(host=f"http://127.0.0.1:{gateway.port}", existing_token=token)
        run = client.create_run_from_pipeline_func(pipeline, arguments={})
        ended = client.wait_for_run_completion(run.run_id, timeout=200)
        assert ended.state == "SUCCEEDED", ended


def test_the_first_account_signs_in_and_changes_its_password(cluster, installation):
    assert "kubeflow-initial-admin" in installation.said
    secret = json.loads(cluster.kubectl("get", "secret", "-n", "kubeflow", "kubeflow-initial-admin", "-o", "json"))["data"]
    password = base64.b64decode(secret["password"]).decode()
    assert base64.b64decode(secret["username"]).decode() == ADMIN and len(password) >= 20
    with Forward(cluster) as gateway:
        answer, _ = gateway.ask("GET", "/", headers={"Accept": "text/html"})
        assert (answer.status, answer.getheader("Location")) == (303, "/login")
        assert gateway.ask("GET", "/api/session")[0].status == 401
        answer, page = gateway.ask("POST", "/login", form={"user": ADMIN, "password": "guess"})
        assert answer.status == 401 and "the name or the password is wrong" in page and answer.getheader("Set-Cookie") is None
        answer, _ = gateway.ask("POST", "/login", form={"user": ADMIN, "password": password}, headers={"Origin": "http://evil.example"})
        assert answer.status == 403
        answer, page = gateway.ask("POST", "/login", form={"user": ADMIN, "password": password})
        assert answer.status == 303, page
        cookie = answer.getheader("Set-Cookie").split(";")[0]
        answer, session = gateway.ask("GET", "/api/session", cookie=cookie)
        assert json.loads(session)["person"] == {"user": ADMIN, "by": "session"}
        answer, runs = gateway.ask("GET", "/apis/v2beta1/runs", cookie=cookie)
        assert answer.status == 200, runs
        # The account may use what is installed, and no more.
        assert gateway.ask("GET", "/api/k8s/api/v1/namespaces/kubeflow/pods", cookie=cookie)[0].status == 200
        assert gateway.ask("GET", "/api/k8s/api/v1/namespaces/kubeflow/secrets", cookie=cookie)[0].status == 403
        fresh = "a long new password"
        answer, page = gateway.ask("POST", "/password", form={"old": password, "new": "short", "again": "short"}, cookie=cookie)
        assert answer.status == 400 and "10 characters" in page
        answer, page = gateway.ask("POST", "/password", form={"old": password, "new": fresh, "again": fresh}, cookie=cookie)
        assert answer.status == 200 and "The password is changed." in page
        assert gateway.ask("POST", "/login", form={"user": ADMIN, "password": password})[0].status == 401
        assert gateway.ask("POST", "/login", form={"user": ADMIN, "password": fresh})[0].status == 303
    assert "NotFound" in cluster.kubectl("get", "secret", "-n", "kubeflow", "kubeflow-initial-admin", check=False)
    # A new pod does not begin anew.
    cluster.kubectl("rollout", "restart", "-n", "kubeflow", "deploy/dashboard")
    cluster.kubectl("rollout", "status", "-n", "kubeflow", "deploy/dashboard", "--timeout=120s")
    assert "NotFound" in cluster.kubectl("get", "secret", "-n", "kubeflow", "kubeflow-initial-admin", check=False)


def test_components_as_processes_outside_of_any_pod(cluster, installation, tmp_path):
    """Two of them, with nothing but a kubeconfig, while the cluster's own go on elsewhere."""
    token = tmp_path / "token"
    token.write_text(cluster.kubectl("create", "token", "dashboard", "-n", "kubeflow"))
    cluster.kubectl("create", "namespace", "apart")
    ports = [free_port() for _ in range(4)]
    common = ["--kubeconfig", str(cluster.kubeconfig), "--namespace", "apart"]
    state, artifacts = tmp_path / "state", tmp_path / "artifacts"
    state.mkdir(), artifacts.mkdir()
    commands = [
        ["pipelines", "--state", str(state), "--artifacts", str(artifacts), "--listen", f"127.0.0.1:{ports[0]}", "--health", f"127.0.0.1:{ports[1]}"],
        ["console", "--token-file", str(token), "--resolve", f"ml-pipeline.kubeflow:8888=127.0.0.1:{ports[0]}"]
        + ["--listen", f"127.0.0.1:{ports[2]}", "--health", f"127.0.0.1:{ports[3]}"],
    ]
    processes = [
        subprocess.Popen([str(KFCTL), "controller", *common, *command], stderr=(tmp_path / f"{command[0]}.log").open("w")) for command in commands
    ]
    try:
        for port in (ports[1], ports[3]):
            await_answer(f"http://127.0.0.1:{port}/readyz", processes)
        figures = urllib.request.urlopen(f"http://127.0.0.1:{ports[1]}/metrics").read().decode()
        assert 'ferroflow_leader{lease="ml-pipeline"} 1' in figures
        holder = cluster.kubectl("get", "lease", "-n", "apart", "ml-pipeline", "-o", "jsonpath={.spec.holderIdentity}")
        assert holder
        # A second one waits for its turn instead of opening the same database.
        second = subprocess.Popen(
            [str(KFCTL), "controller", *common, *commands[0][:5], "--listen", "127.0.0.1:0", "--health", "127.0.0.1:0"],
            stderr=(tmp_path / "second.log").open("w"),
        )
        admin = cluster.kubectl("create", "token", "pipeline-runner", "-n", "kubeflow").strip()
        request = urllib.request.Request(f"http://127.0.0.1:{ports[2]}/apis/v2beta1/healthz", headers={"Authorization": f"Bearer {admin}"})
        assert urllib.request.urlopen(request).status == 200
        assert second.poll() is None
        processes[0].send_signal(signal.SIGTERM)
        assert processes[0].wait(timeout=30) == 0
        await_condition(lambda: cluster.kubectl("get", "lease", "-n", "apart", "ml-pipeline", "-o", "jsonpath={.spec.holderIdentity}") not in ("", holder))
        second.send_signal(signal.SIGTERM)
        assert second.wait(timeout=30) == 0
    finally:
        for process in processes:
            process.kill()
            process.wait()
        cluster.kubectl("delete", "namespace", "apart", "--wait=false")


def test_fields_of_others_are_never_taken_silently(cluster, installation):
    cluster.kubectl("scale", "-n", "istio-system", "deploy/istio-ingressgateway", "--replicas=2")
    done = installation.kfctl("apply", "-f", CONFIG_URI, check=False)
    assert done.returncode == 1
    assert "conflict: deployment/istio-system/istio-ingressgateway: .spec.replicas belongs to" in done.stderr, done.stderr
    assert cluster.kubectl("get", "deploy", "-n", "istio-system", "istio-ingressgateway", "-o", "jsonpath={.spec.replicas}") == "2"
    said = installation.kfctl("apply", "-f", CONFIG_URI, "--force-conflicts").stdout
    assert "1 configured" in said, said
    assert cluster.kubectl("get", "deploy", "-n", "istio-system", "istio-ingressgateway", "-o", "jsonpath={.spec.replicas}") == "1"


def test_what_is_wanted_no_more_goes_and_edits_stay(cluster, installation):
    kustomization = installation.folder / "kustomize/gateway/kustomization.yaml"
    whole = kustomization.read_text()
    extra = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: mine\n  namespace: kubeflow\n"
    (kustomization.parent / "mine.yaml").write_text(extra)
    kustomization.write_text(whole.replace("resources:\n", "resources:\n- mine.yaml\n"))
    assert "configmap/mine created" in installation.kfctl("apply", "-f", CONFIG_URI).stdout
    kustomization.write_text(whole)
    said = installation.kfctl("apply", "-f", CONFIG_URI).stdout
    assert "configmap/kubeflow/mine pruned" in said, said
    assert "NotFound" in cluster.kubectl("get", "configmap", "-n", "kubeflow", "mine", check=False)


def test_an_older_release_is_upgraded_and_a_newer_one_is_not_undone_by_mistake(cluster, installation):
    """What the release before had and this one has not goes, claims and what is in them stay."""
    (parent,) = json.loads(cluster.kubectl("get", "configmap", "-n", "kubeflow", "-l", "applyset.kubernetes.io/id", "-o", "json"))["items"]
    tooling = "applyset.kubernetes.io/tooling"
    ours = parent["metadata"]["annotations"][tooling].removeprefix("kfctl/v")
    member = {"applyset.kubernetes.io/part-of": parent["metadata"]["labels"]["applyset.kubernetes.io/id"]}
    old = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "ml-pipeline-ui", "namespace": "kubeflow", "labels": member}, "spec": {"ports": [{"port": 80}]}}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(old))
    claims = cluster.kubectl("get", "pvc", "-n", "kubeflow", "-o", "jsonpath={.items[*].metadata.uid}")

    def pretend(version):
        cluster.kubectl("annotate", "--overwrite", "configmap", "-n", "kubeflow", parent["metadata"]["name"], f"{tooling}=kfctl/v{version}")

    pretend("99.0.0")
    refused = installation.kfctl("apply", "-f", CONFIG_URI, check=False)
    assert refused.returncode == 1 and f"--version {ours}" in refused.stderr, refused.stderr
    assert cluster.kubectl("get", "service", "-n", "kubeflow", "ml-pipeline-ui", "-o", "name").strip() == "service/ml-pipeline-ui"
    other = installation.kfctl("apply", "-f", CONFIG_URI, "--version", "99.0.0", check=False)
    assert other.returncode == 1 and f"this kfctl installs version {ours}" in other.stderr, other.stderr
    pretend("0.0.1")
    said = installation.kfctl("apply", "-f", CONFIG_URI, "--version", f"v{ours}").stdout
    assert f"upgrade  0.0.1 to {ours}" in said and "service/kubeflow/ml-pipeline-ui pruned" in said, said
    assert cluster.kubectl("get", "pvc", "-n", "kubeflow", "-o", "jsonpath={.items[*].metadata.uid}") == claims
    assert "nothing changed" in installation.kfctl("apply", "-f", CONFIG_URI).stdout


def test_an_interrupted_apply_goes_on(cluster, installation):
    cluster.kubectl("delete", "pdb,networkpolicy", "--all", "-n", "kubeflow")
    cluster.kubectl("delete", "deploy", "-n", "kubeflow", "dashboard")
    env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig), "NO_COLOR": "1"}
    process = subprocess.Popen([str(KFCTL), "apply", "-V", "-f", CONFIG_URI], cwd=installation.folder, env=env, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    for line in process.stdout:
        if " created" in line:
            break
    process.kill()
    process.wait()
    installation.kfctl("apply", "-f", CONFIG_URI)
    assert "nothing changed" in installation.kfctl("apply", "-f", CONFIG_URI).stdout


@dsl.container_component
def forever():
    return dsl.ContainerSpec(image="alpine:3.20", command=["sleep", "600"])


@dsl.pipeline(name="endless")
def endless():
    forever()


def test_delete_asks_keeps_data_and_takes_everything_when_told(cluster, installation):
    done = installation.kfctl("delete", "-f", FILE, check=False)
    assert done.returncode == 1 and "--yes" in done.stderr, done.stderr
    said = installation.kfctl("delete", "-f", FILE, "--yes").stdout
    assert "kept" in said and "persistentvolumeclaim/kubeflow/ml-pipeline-data" in said, said
    left = cluster.kubectl("get", "deploy,svc,pdb", "-n", "kubeflow", "-o", "name")
    assert left.strip() == "", left
    assert "ml-pipeline-data" in cluster.kubectl("get", "pvc", "-n", "kubeflow")
    # Applied again, the runs are still there.
    installation.kfctl("apply", "-f", CONFIG_URI)
    token = cluster.kubectl("create", "token", "pipeline-runner", "-n", "kubeflow").strip()
    with Forward(cluster) as gateway:
        answer, runs = gateway.ask("GET", "/apis/v2beta1/runs", headers={"Authorization": f"Bearer {token}"})
        assert answer.status == 200 and len(json.loads(runs)["runs"]) == 1, runs
        # A step that still runs holds nothing up, though nobody is left who records how it ended.
        client = kfp.Client(host=f"http://127.0.0.1:{gateway.port}", existing_token=token)
        run = client.create_run_from_pipeline_func(endless, arguments={})
    step = ["get", "pods", "-n", "kubeflow", "-l", f"pipeline/runid={run.run_id}", "-o", "jsonpath={.items[*].status.phase}"]
    until(lambda: cluster.kubectl(*step) == "Running", 120)
    installation.kfctl("delete", "-f", FILE, "--yes", "--delete-storage")
    for namespace in ("kubeflow", "istio-system"):
        assert "NotFound" in cluster.kubectl("get", "namespace", namespace, check=False)
    ours = "app.kubernetes.io/part-of=kubeflow,app.kubernetes.io/component!=provisioner"
    assert cluster.kubectl("get", "clusterrole", "-l", ours, "-o", "name").strip() == ""


@pytest.mark.real_cluster
def test_a_cluster_without_storage_gets_it_from_us_and_loses_it_whole(cluster, tmp_path):
    subprocess.run([str(KFCTL), "export", "kustomize", "--to", str(tmp_path / "manifests")], check=True, capture_output=True)
    provisioner = tmp_path / "manifests/local-provisioner"
    cluster.kubectl("delete", "-k", provisioner, "--wait", timeout=180)
    try:
        installation = Installation(cluster, tmp_path / "kubeflow")
        refused = installation.kfctl("apply", "-f", CONFIG_URI, check=False)
        assert refused.returncode == 1 and "kfctl apply --local-storage" in refused.stdout, refused.stdout
        installation.kfctl("apply", "-f", CONFIG_URI, "--local-storage")
        volumes = json.loads(cluster.kubectl("get", "pv", "-o", "json"))["items"]
        made = {one["spec"]["claimRef"]["name"]: one for one in volumes if one["spec"]["storageClassName"] == "ferroflow-local"}
        assert set(made) == {"ml-pipeline-data", "ferroflow-artifacts"}, made
        folder = made["ferroflow-artifacts"]["spec"]["hostPath"]["path"]
        listed = cluster.kubectl("get", "pods", "-n", "ferroflow-storage", "-o", "jsonpath={.items[*].spec.nodeName}")
        assert made["ferroflow-artifacts"]["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0]["values"] == [listed]
        # The file keeps what the option asked for.
        assert "nothing changed" in installation.kfctl("apply", "-f", CONFIG_URI).stdout
        installation.kfctl("delete", "-f", FILE, "--yes", "--delete-storage")
        assert "No resources found" in cluster.kubectl("get", "pv", check=False)
        assert "NotFound" in cluster.kubectl("get", "namespace", "ferroflow-storage", check=False)
        assert folder.startswith("/var/lib/ferroflow/volumes/kubeflow_ferroflow-artifacts_")
    finally:
        cluster.kubectl("apply", "-k", provisioner)


@pytest.mark.one_machine
def test_the_platform_that_up_keeps_is_left_alone(platform, tmp_path):
    done = subprocess.run(
        [str(KFCTL), "apply", "-f", CONFIG_URI], capture_output=True, text=True, cwd=tmp_path, timeout=60, stdin=subprocess.DEVNULL,
        env={**os.environ, "KUBECONFIG": str(platform.kubeconfig), "NO_COLOR": "1"},
    )
    assert done.returncode == 1 and "kfctl up --bare" in done.stderr, done.stderr


def await_answer(address, processes):
    def answers():
        for process in processes:
            assert process.poll() is None, f"{process.args} ended with {process.returncode}"
        try:
            return urllib.request.urlopen(address, timeout=5).status == 200
        except (urllib.error.URLError, OSError):
            return False

    await_condition(answers)


def await_condition(holds, seconds=60):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.2)
