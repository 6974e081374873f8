"""One long script, as people type it, with every kubectl that the machine has, each in a namespace of its own."""

import base64
import json
import os
import re
import subprocess
import threading

import pytest
import yaml
from conftest import until

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
        command: [python3, -u, -m, http.server, "8080"]
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

SETTINGS = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n"
UNKNOWN = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: unknown}\ndota: {a: b}\n"


class Kubectl:
    """One version of kubectl in a namespace of its own."""

    def __init__(self, platform, binary, namespace):
        self.platform, self.binary, self.namespace = platform, binary, namespace

    def __call__(self, *arguments, **options):
        return self.platform.kubectl("-n", self.namespace, *arguments, binary=self.binary, **options)

    def json(self, *arguments):
        return json.loads(self("get", *arguments, "-o", "json"))

    def edit(self, script, *arguments):
        """`kubectl edit` with a sed script as the editor."""
        env = {**os.environ, "KUBECONFIG": str(self.platform.kubeconfig), "KUBE_EDITOR": f"sed -i -e '{script}'"}
        return subprocess.run([self.binary, "-n", self.namespace, "edit", *arguments], capture_output=True, text=True, env=env, timeout=60)


@pytest.fixture(scope="module", params=range(7))
def kubectl(request, platform, kubectls):
    if request.param >= len(kubectls):
        pytest.skip("this machine has fewer versions of kubectl")
    namespace = f"script-{request.param}"
    platform.kubectl("create", "namespace", namespace)
    yield Kubectl(platform, kubectls[request.param], namespace)
    platform.kubectl("delete", "namespace", namespace, "--wait=true")


@pytest.fixture(scope="module")
def web(kubectl):
    """A deployment that is rolled out, with its service."""
    assert "deployment.apps/web created" in kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert "successfully rolled out" in kubectl("rollout", "status", "deploy/web", "--timeout=90s")
    return kubectl


def pods(kubectl, *options):
    return kubectl("get", "pods", "-l", "app=web", "--field-selector=status.phase=Running", "-o", "name", *options).split()


def test_what_is_applied_twice_is_unchanged_and_a_diff_shows_what_would_change(web):
    assert "deployment.apps/web unchanged" in web("apply", "-f", "-", stdin=DEPLOYMENT)
    changed = DEPLOYMENT.replace("replicas: 2", "replicas: 3")
    assert re.search(r"^\+\s+replicas: 3$", web("diff", "-f", "-", stdin=changed, check=False), re.MULTILINE)
    assert "configured (server dry run)" in web("apply", "--dry-run=server", "-f", "-", stdin=changed)
    assert web.json("deploy/web")["spec"]["replicas"] == 2


def test_get_in_every_form(web):
    table = web("get", "deploy/web", "-o", "wide").splitlines()
    assert table[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    assert table[1].split()[:4] == ["web", "2/2", "2", "2"]
    assert {line.split("/")[0] for line in web("get", "all", "-o", "name").split()} == {"pod", "service", "deployment.apps", "replicaset.apps"}
    assert yaml.safe_load(web("get", "service", "web", "-o", "yaml"))["spec"]["ports"][0]["targetPort"] == "http"
    assert web("get", "deploy/web", "-o", "jsonpath={.spec.template.spec.containers[*].name}") == "web"
    assert web("get", "deploy/web", "-o", "custom-columns=N:.metadata.name,R:.spec.replicas", "--no-headers").split() == ["web", "2"]
    assert "app=web" in web("get", "deploy/web", "--show-labels")
    assert web.namespace in web("get", "deploy", "-A", "--field-selector", f"metadata.namespace={web.namespace}")
    assert len(pods(web, "--sort-by=.metadata.creationTimestamp", "--chunk-size=1")) == 2
    assert web("get", "pods", "--field-selector", "status.phase=Failed", "-o", "name") == ""
    assert "field label not supported" in web("get", "pods", "--field-selector", "spec.nothing=1", check=False)
    assert 'deployments.apps "none" not found' in web("get", "deploy/none", check=False)
    assert "the server doesn't have a resource type" in web("get", "nonsense", check=False)
    assert web("get", "--raw", "/readyz") == "ok"


def test_describe_tells_what_happened(web):
    said = web("describe", "deploy/web")
    assert "2 desired | 2 updated | 2 total | 2 available" in said and "ScalingReplicaSet" in said
    said = web("describe", pods(web)[0])
    for words in ("Successfully assigned", "Readiness:", "QoS Class"):
        assert words in said, said
    assert re.search(r"Started container web|Container started", said), said  # 1.36 has it the other way round
    assert re.search(r"Ready +True", said)
    assert "TargetPort:" in web("describe", "service", "web") and "Capacity:" in web("describe", "nodes")


def test_a_watch_shows_changes_as_they_come(web):
    web("create", "configmap", "seen", "--from-literal=n=0")
    env = {**os.environ, "KUBECONFIG": str(web.platform.kubeconfig)}
    words = [web.binary, "-n", web.namespace, "get", "configmap", "seen", "-w", "--output-watch-events", "-o", "jsonpath={.type}:{.object.data.n}{\"\\n\"}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env) as watching:
        stop = threading.Timer(60, watching.kill)
        stop.start()
        try:
            assert watching.stdout.readline() == "ADDED:0\n"
            web("patch", "configmap", "seen", "-p", '{"data":{"n":"1"}}')
            assert watching.stdout.readline() == "MODIFIED:1\n"
            web("delete", "configmap", "seen")
            assert watching.stdout.readline() == "DELETED:1\n"
        finally:
            stop.cancel()
            watching.kill()


def test_edit_label_annotate_and_three_kinds_of_patch(web):
    web("apply", "-f", "-", stdin=SETTINGS)
    done = web.edit("s/a: b/a: edited/", "configmap", "settings")
    assert done.returncode == 0 and "edited" in done.stdout, done.stderr
    refused = web.edit("s/^data:/dota:/", "configmap", "settings")
    # Which of the two is said, the words or where they stand, is the server's choice.
    assert 'unknown field "dota"' in refused.stdout + refused.stderr or '"settings" is invalid' in refused.stderr
    assert "labeled" in web("label", "configmap", "settings", "team=a")
    assert "already has a value" in web("label", "configmap", "settings", "team=b", check=False)
    assert "labeled" in web("label", "configmap", "settings", "team=b", "--overwrite")
    assert "unlabeled" in web("label", "configmap", "settings", "team-")
    assert "configmap/settings annotate" in web("annotate", "configmap", "settings", "why=because")
    web("patch", "configmap", "settings", "-p", '{"data":{"strategic":"1"}}')
    web("patch", "configmap", "settings", "--type=merge", "-p", '{"data":{"merge":"2"}}')
    web("patch", "configmap", "settings", "--type=json", "-p", '[{"op":"add","path":"/data/json","value":"3"},{"op":"remove","path":"/data/a"}]')
    found = web.json("configmap", "settings")
    assert found["data"] == {"strategic": "1", "merge": "2", "json": "3"}
    assert found["metadata"]["annotations"]["why"] == "because" and "labels" not in found["metadata"]
    web("patch", "deploy/web", "--type=strategic", "-p", '{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"A","value":"1"}]}]}}}}', "--dry-run=server")
    assert "replaced" in web("replace", "-f", "-", stdin=SETTINGS) and web.json("configmap", "settings")["data"] == {"a": "b"}


def test_server_side_apply_knows_who_owns_what(web):
    mine = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: owned}\ndata: {a: mine}\n"
    assert "serverside-applied" in web("apply", "--server-side", "--field-manager=me", "-f", "-", stdin=mine)
    theirs = mine.replace("mine", "theirs")
    refused = web("apply", "--server-side", "--field-manager=them", "-f", "-", stdin=theirs, check=False)
    assert 'conflict with "me": .data.a' in refused
    web("apply", "--server-side", "--field-manager=them", "--force-conflicts", "-f", "-", stdin=theirs)
    found = json.loads(web("get", "configmap", "owned", "-o", "json", "--show-managed-fields"))
    assert found["data"] == {"a": "theirs"}
    assert {entry["manager"] for entry in found["metadata"]["managedFields"]} == {"them"}


def test_scale_rollout_undo_and_wait(web):
    web("annotate", "deploy/web", "kubernetes.io/change-cause=the beginning")
    assert "scaled" in web("scale", "deploy/web", "--replicas=3", "--current-replicas=2")
    web("wait", "deploy/web", "--for=jsonpath={.status.availableReplicas}=3", "--timeout=60s")
    web("wait", "deploy/web", "--for=condition=Available", "--timeout=60s")
    web("set", "env", "deploy/web", "GENERATION=two")
    web("annotate", "deploy/web", "kubernetes.io/change-cause=generation two", "--overwrite")
    assert "successfully rolled out" in web("rollout", "status", "deploy/web", "--timeout=90s")
    history = web("rollout", "history", "deploy/web")
    assert "the beginning" in history and "generation two" in history
    assert "GENERATION:\ttwo" in web("rollout", "history", "deploy/web", "--revision=2")
    assert "rolled back" in web("rollout", "undo", "deploy/web")
    web("rollout", "status", "deploy/web", "--timeout=90s")
    assert "env" not in web.json("deploy/web")["spec"]["template"]["spec"]["containers"][0]
    assert "restarted" in web("rollout", "restart", "deploy/web")
    web("rollout", "status", "deploy/web", "--timeout=90s")
    assert "paused" in web("rollout", "pause", "deploy/web") and "resumed" in web("rollout", "resume", "deploy/web")


def test_logs_and_exec(web):
    pod = pods(web, "--sort-by=.metadata.creationTimestamp")[-1]
    assert web("exec", pod, "--", "sh", "-c", "echo $HOSTNAME").strip() == pod.removeprefix("pod/")
    assert web("exec", "-i", pod, "--", "cat", stdin="typed\n") == "typed\n"
    failed = web("exec", pod, "--", "sh", "-c", "echo to stderr >&2; exit 7", check=False)
    assert "to stderr" in failed and "exit code 7" in failed
    web("exec", "deploy/web", "--", "python3", "-c", "import urllib.request as r; r.urlopen('http://web')")
    chatty = "apiVersion: v1\nkind: Pod\nmetadata: {name: chatty}\nspec:\n  restartPolicy: Never\n  containers:\n" + "".join(
        f"  - {{name: {name}, image: alpine:3.20, command: [sh, -c, 'for i in 1 2 3 4 5; do echo {name} $i; done']}}\n" for name in ("a", "b")
    )
    web("apply", "-f", "-", stdin=chatty)
    until(lambda: web("logs", "-f", "chatty", "-c", "a", check=False) == "".join(f"a {i}\n" for i in range(1, 6)))
    web("wait", "pod/chatty", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    assert web("logs", "chatty", "-c", "b", "--tail=1") == "b 5\n"
    assert web("logs", "chatty", "-c", "b", "--limit-bytes=3") == "b 1"
    assert len(web("logs", "chatty", "--all-containers", "--prefix").splitlines()) == 10
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z a 1$", web("logs", "chatty", "-c", "a", "--timestamps").splitlines()[0])
    assert "is not valid for pod chatty" in web("logs", "chatty", "-c", "none", check=False)
    assert "previous terminated container" in web("logs", "chatty", "-c", "a", "--previous", check=False)
    web("delete", "pod", "chatty")


def test_explain_api_resources_and_versions(web):
    said = web("explain", "pod.spec.containers.readinessProbe")
    assert "httpGet" in said and "periodSeconds" in said
    assert "rollingUpdate" in web("explain", "deployment.spec", "--recursive")
    assert 'field "nothing" does not exist' in web("explain", "pod.nothing", check=False)
    names = web("api-resources", "--namespaced=true", "-o", "name").split()
    assert {"pods", "deployments.apps", "jobs.batch", "roles.rbac.authorization.k8s.io"} <= set(names)
    assert {"v1", "apps/v1", "batch/v1", "apiextensions.k8s.io/v1"} <= set(web("api-versions").split())
    assert re.search(r"Server Version: .*v1\.3\d", web("version")) and "is running at" in web("cluster-info")


def test_rights_and_tokens(web):
    assert web("auth", "can-i", "create", "pods").strip() == "yes"
    assert web("auth", "can-i", "create", "pods", "--as=nobody", check=False).strip().startswith("no")
    # The oldest asks for it in a version that a Kubernetes of 1.33 has no more.
    if not web.binary.endswith(".27"):
        assert "system:masters" in web("auth", "whoami")
    assert "*.*" in web("auth", "can-i", "--list")
    web("create", "serviceaccount", "robot")
    web("create", "role", "reader", "--verb=get,list", "--resource=configmaps")
    web("create", "rolebinding", "robots-read", "--role=reader", f"--serviceaccount={web.namespace}:robot")
    robot = f"system:serviceaccount:{web.namespace}:robot"
    assert web("auth", "can-i", "list", "configmaps", f"--as={robot}").strip() == "yes"
    token = web("create", "token", "robot", "--duration=10m", "--audience=elsewhere").strip()
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["sub"] == robot and claims["exp"] - claims["iat"] == 600 and claims["aud"] == ["elsewhere"]
    token = web("create", "token", "robot").strip()
    as_robot = ["--token", token, "--kubeconfig", anonymous(web.platform)]
    assert "settings" in web("get", "configmaps", *as_robot)
    assert f'secrets is forbidden: User "{robot}" cannot list resource "secrets" in API group "" in the namespace "{web.namespace}"' in web("get", "secrets", *as_robot, check=False)


def anonymous(platform):
    """A kubeconfig that knows the server and nobody's name."""
    config = yaml.safe_load(platform.kubeconfig.read_text())
    config["users"], config["contexts"][0]["context"].pop("user", None)
    for user in config["users"]:
        user["user"] = {}
    path = platform.folder / "anonymous.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_what_is_created_by_verbs(web):
    web("create", "secret", "generic", "s", "--from-literal=password=p")
    assert base64.b64decode(web.json("secret", "s")["data"]["password"]) == b"p"
    web("run", "once", "--image=alpine:3.20", "--restart=Never", "--", "true")
    web("wait", "pod/once", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    web("create", "job", "j", "--image=alpine:3.20", "--", "sh", "-c", "echo done")
    web("wait", "job/j", "--for=condition=Complete", "--timeout=60s")
    assert web("logs", "job/j") == "done\n"
    web("expose", "deploy/web", "--name=exposed", "--port=90", "--target-port=8080")
    until(lambda: web.json("endpoints", "exposed").get("subsets"))
    assert "events.k8s.io" in web("api-resources", "--api-group=events.k8s.io")
    assert "Started" in web("events", "--for", "pod/once")
    web("delete", "pod/once", "job/j", "service/exposed", "secret/s")


def test_an_unknown_field_is_refused_with_its_path(kubectl):
    said = kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("replicas: 2", "replicas: 2\n  replicaz: 3"), check=False)
    assert 'unknown field "spec.replicaz"' in said
    said = kubectl("create", "--dry-run=server", "-f", "-", stdin=UNKNOWN, check=False)
    assert 'unknown field "dota"' in said
    assert "created" in kubectl("create", "--dry-run=server", "--validate=false", "-f", "-", stdin=UNKNOWN)
    said = kubectl("create", "--dry-run=server", "--validate=warn", "-f", "-", stdin=UNKNOWN)
    assert "created" in said


def test_deleting_takes_the_pods_along(web):
    assert "deleted" in web("delete", "deploy/web", "service/web")
    web("wait", "pods", "-l", "app=web", "--for=delete", "--timeout=60s")
    assert "NotFound" in web("get", "deploy/web", check=False)
