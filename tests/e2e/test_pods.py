"""What a pod is, against the running binary: its environment, its volumes, its life and its end."""

import base64
import json
import time

import pytest
from conftest import CLUSTER, Platform, until

PYTHON = "python:3.11"


class Pods:
    """Makes pods in a namespace of its own and reads what became of them."""

    def __init__(self, platform, name):
        self.platform, self.name = platform, name

    def __call__(self, *arguments, **options):
        return self.platform.kubectl("-n", self.name, *arguments, **options)

    def start(self, name, *containers, labels=None, **spec):
        body = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, **spec, "containers": list(containers)}
        self("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {"app": name}}, "spec": body}))

    def get(self, name):
        return json.loads(self("get", "pod", name, "-o", "json"))

    def until_phase(self, name, *phases, seconds=90):
        return until(lambda: (found := self.get(name))["status"].get("phase") in phases and found, seconds)

    def run(self, name, script, image="alpine:3.20", **spec):
        """Runs a script to its end; the log and the pod as it was."""
        extra = {key: spec.pop(key) for key in ("env", "envFrom", "volumeMounts", "resources", "workingDir", "securityContext") if key in spec}
        command = ["python3", "-c", script] if image == PYTHON else ["sh", "-c", script]
        self.start(name, {"name": "main", "image": image, "command": command, **extra}, **spec)
        ended = self.until_phase(name, "Succeeded", "Failed")
        log = self("logs", name)
        self("delete", "pod", name, "--wait=false")
        return log, ended


@pytest.fixture(scope="module")
def pods(platform):
    platform.kubectl("create", "namespace", "pods")
    until(lambda: "default" in platform.kubectl("-n", "pods", "get", "serviceaccounts", "-o", "name"))
    found = Pods(platform, "pods")
    found("create", "configmap", "settings", "--from-literal=level=high", "--from-literal=colour=red")
    found("create", "secret", "generic", "keys", "--from-literal=password=hush")
    yield found
    platform.kubectl("delete", "namespace", "pods", "--wait=false")


def terminated(pod, kind="containerStatuses", index=0):
    return pod["status"][kind][index]["state"]["terminated"]


def test_variables_come_from_fields_maps_secrets_and_each_other(pods):
    env = [
        {"name": "PLAIN", "value": "plain"},
        {"name": "BUILT", "value": "$(PLAIN)-$(HIDDEN)-$$(PLAIN)-$(NONE)"},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
        {"name": "HIDDEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
        {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "level"}}},
        {"name": "ABSENT", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "none", "optional": True}}},
    ]
    env = [env[0], env[7], env[1], *env[2:7], *env[8:]]
    log, pod = pods.run("variables", "env", env=env, envFrom=[{"prefix": "S_", "configMapRef": {"name": "settings"}}], resources={"limits": {"memory": "128Mi"}})
    seen = dict(line.split("=", 1) for line in log.splitlines() if "=" in line)
    assert seen["BUILT"] == "plain-hush-$(PLAIN)-$(NONE)"
    assert (seen["NAME"], seen["LABEL"], seen["LEVEL"], seen["MEMORY"]) == ("variables", "variables", "high", "128")
    assert (seen["ADDRESS"], seen["NODE"]) == (pod["status"]["podIP"], pod["spec"]["nodeName"])
    assert (seen["S_level"], seen["S_colour"]) == ("high", "red") and "ABSENT" not in seen
    assert seen["KUBERNETES_SERVICE_HOST"] == "10.96.0.1" and seen["HOSTNAME"] == "variables"


def test_a_container_waits_for_the_map_that_it_needs_and_says_so(pods):
    pods.start("waiting", {"name": "main", "image": "alpine:3.20", "command": ["true"], "envFrom": [{"configMapRef": {"name": "late"}}]})
    until(lambda: pods.get("waiting")["status"].get("containerStatuses", [{}])[0].get("state", {}).get("waiting", {}).get("reason") == "CreateContainerConfigError")
    assert 'configmap "late" not found' in pods("describe", "pod", "waiting")
    pods("create", "configmap", "late", "--from-literal=a=b")
    pods.until_phase("waiting", "Succeeded")
    pods("delete", "pod", "waiting", "--wait=false")


def test_volumes_of_every_kind_are_where_the_manifest_says(pods):
    volumes = [
        {"name": "scratch", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
        {"name": "map", "configMap": {"name": "settings", "items": [{"key": "level", "path": "deep/level", "mode": 0o400}]}},
        {"name": "secret", "secret": {"secretName": "keys", "defaultMode": 0o440}},
        {"name": "down", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {
            "name": "all",
            "projected": {
                "sources": [
                    {"configMap": {"name": "settings"}},
                    {"secret": {"name": "keys"}},
                    {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                    {"serviceAccountToken": {"path": "token", "audience": "somebody", "expirationSeconds": 600}},
                ]
            },
        },
    ]
    mounts = [{"name": volume["name"], "mountPath": f"/v/{volume['name']}"} for volume in volumes]
    mounts += [{"name": "map", "mountPath": "/etc/only-level", "subPath": "deep/level"}, {"name": "scratch", "mountPath": "/v/part", "subPath": "inner"}, {"name": "scratch", "mountPath": "/v/named", "subPathExpr": "$(WHO)"}, {"name": "scratch", "mountPath": "/v/fixed", "readOnly": True}]
    script = """
set -e
echo level=$(cat /v/map/deep/level) only=$(cat /etc/only-level) password=$(cat /v/secret/password)
grep app= /v/down/labels
echo $(ls /v/all)
cut -d. -f2 /v/all/token
echo written > /v/part/file; cat /v/scratch/inner/file
echo again > /v/named/file; cat /v/scratch/somebody/file
echo full > /v/memory/file; cat /v/memory/file
stat -L -c %a /v/map/deep/level /v/secret/password
if (echo no > /v/fixed/file) 2>/dev/null; then echo writable; fi
if (echo no > /v/map/file) 2>/dev/null; then echo writable; fi
"""
    log, _ = pods.run("volumes", script, volumes=volumes, volumeMounts=mounts, env=[{"name": "WHO", "value": "somebody"}])
    lines = log.splitlines()
    assert lines[0] == "level=high only=high password=hush"
    assert lines[1] == 'app="volumes"' and lines[2] == "colour level name password token"
    claims = json.loads(base64.urlsafe_b64decode(lines[3] + "=" * (-len(lines[3]) % 4)))
    assert claims["aud"] == ["somebody"] and claims["sub"] == "system:serviceaccount:pods:default"
    assert lines[4:] == ["written", "again", "full", "400", "440"], lines


def test_a_mounted_map_follows_its_changes(pods):
    pods("create", "configmap", "moving", "--from-literal=a=first")
    pods.start("follower", {"name": "main", "image": "alpine:3.20", "command": ["sleep", "600"], "volumeMounts": [{"name": "m", "mountPath": "/m"}]}, volumes=[{"name": "m", "configMap": {"name": "moving"}}])
    pods("wait", "pod/follower", "--for=condition=Ready", "--timeout=60s")
    assert pods("exec", "follower", "--", "cat", "/m/a") == "first"
    pods("patch", "configmap", "moving", "-p", '{"data":{"a":"second"}}')
    until(lambda: pods("exec", "follower", "--", "cat", "/m/a") == "second", 120)
    pods("delete", "pod", "follower", "--wait=false")


@pytest.mark.one_machine
def test_a_host_folder_that_nobody_allowed_is_refused_in_words(pods):
    pods.start("nosy", {"name": "main", "image": "alpine:3.20", "command": ["true"], "volumeMounts": [{"name": "h", "mountPath": "/h"}]}, volumes=[{"name": "h", "hostPath": {"path": "/etc"}}])
    said = until(lambda: (text := pods("describe", "pod", "nosy")) and "FailedMount" in text and text)
    assert "/etc" in said and "allow" in said, said
    assert pods.get("nosy")["status"]["phase"] == "Pending"
    pods("delete", "pod", "nosy", "--wait=false")


@pytest.mark.one_machine
def test_a_host_folder_that_was_allowed_is_mounted_and_what_lies_beside_it_is_not(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hosts")
    for name in ("allowed", "beside"):
        (folder / name).mkdir()
        (folder / name / "file").write_text(name)
    (folder / "allowed" / "way-out").symlink_to(folder / "beside")
    platform = Platform(tmp_path_factory.mktemp("host-path") / "data", "--bare", "--allow-host-path", str(folder / "allowed"))
    platform.up()
    try:
        until(lambda: "default" in platform.kubectl("get", "serviceaccounts", "-o", "name"))
        pods = Pods(platform, "default")
        mount = {"volumeMounts": [{"name": "h", "mountPath": "/h"}]}
        log, _ = pods.run("let-in", "cat /h/file", volumes=[{"name": "h", "hostPath": {"path": str(folder / "allowed"), "type": "Directory"}}], **mount)
        assert log == "allowed"
        for name, path in (("next-door", folder / "beside"), ("above", folder), ("by-link", folder / "allowed" / "way-out")):
            pods.start(name, {"name": "main", "image": "alpine:3.20", "command": ["cat", "/h/file"], **mount}, volumes=[{"name": "h", "hostPath": {"path": str(path)}}])
            said = until(lambda: (text := pods("describe", "pod", name)) and ("FailedMount" in text or "Succeeded" in text or "Error" in text) and text)
            assert "FailedMount" in said, said
            assert pods.get(name)["status"]["phase"] == "Pending"
        dots = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "by-dots"}, "spec": {"containers": [{"name": "main", "image": "alpine:3.20"}], "volumes": [{"name": "h", "hostPath": {"path": f"{folder}/allowed/../beside"}}]}}
        assert "must not contain '..'" in pods("apply", "-f", "-", stdin=json.dumps(dots), check=False)
    finally:
        platform.down()


def test_init_containers_run_in_order_and_a_failed_one_stops_the_pod(pods):
    volume = {"volumes": [{"name": "w", "emptyDir": {}}]}
    mount = [{"name": "w", "mountPath": "/w"}]
    step = lambda name: {"name": name, "image": "alpine:3.20", "command": ["sh", "-c", f"echo {name} >> /w/order"], "volumeMounts": mount}  # noqa: E731
    pods.start("ordered", {"name": "main", "image": "alpine:3.20", "command": ["cat", "/w/order"], "volumeMounts": mount}, initContainers=[step("first"), step("second")], **volume)
    pods.until_phase("ordered", "Succeeded")
    assert pods("logs", "ordered") == "first\nsecond\n"
    pods.start("stopped", {"name": "main", "image": "alpine:3.20", "command": ["true"]}, initContainers=[{"name": "bad", "image": "alpine:3.20", "command": ["sh", "-c", "exit 9"]}])
    failed = pods.until_phase("stopped", "Failed")
    assert terminated(failed, "initContainerStatuses")["exitCode"] == 9
    assert "waiting" in failed["status"]["containerStatuses"][0]["state"]
    pods("delete", "pod", "ordered", "stopped", "--wait=false")


@pytest.mark.parametrize("policy, code, phase, restarts", [("Never", 0, "Succeeded", 0), ("Never", 7, "Failed", 0), ("OnFailure", 0, "Succeeded", 0)])
def test_exit_codes_decide_the_phase(pods, policy, code, phase, restarts):
    name = f"exit-{policy.lower()}-{code}"
    _, ended = pods.run(name, f"exit {code}", restartPolicy=policy)
    assert ended["status"]["phase"] == phase and terminated(ended)["exitCode"] == code
    assert terminated(ended)["reason"] == ("Completed" if code == 0 else "Error")
    assert ended["status"]["containerStatuses"][0]["restartCount"] == restarts


def test_a_container_that_fails_is_started_again_and_then_waits(pods):
    pods.start("crashing", {"name": "main", "image": "alpine:3.20", "command": ["sh", "-c", "echo attempt; exit 1"]}, restartPolicy="Always")
    until(lambda: pods.get("crashing")["status"].get("containerStatuses", [{}])[0].get("restartCount", 0) >= 1)
    until(lambda: "CrashLoopBackOff" in pods("get", "pod", "crashing"))
    status = pods.get("crashing")["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert "Back-off restarting failed container" in pods("describe", "pod", "crashing")
    # The one before may be cleared away at the very moment when the next has ended.
    until(lambda: pods("logs", "crashing", "--previous", check=False) == "attempt\n")
    pods("delete", "pod", "crashing", "--wait=false")


def test_readiness_liveness_and_startup_probes(pods):
    probes = {
        "startupProbe": {"exec": {"command": ["test", "-e", "/tmp/started"]}, "periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1},
        "livenessProbe": {"exec": {"command": ["test", "!", "-e", "/tmp/dead"]}, "periodSeconds": 1, "failureThreshold": 1},
    }
    pods.start("probed", {"name": "main", "image": "alpine:3.20", "command": ["sh", "-c", "touch /tmp/started; exec sleep 600"], **probes}, restartPolicy="Always")
    until(lambda: pods.get("probed")["status"].get("containerStatuses", [{}])[0].get("started"))
    assert not pods.get("probed")["status"]["containerStatuses"][0]["ready"]
    pods("exec", "probed", "--", "touch", "/tmp/ready")
    pods("wait", "pod/probed", "--for=condition=Ready", "--timeout=60s")
    pods("exec", "probed", "--", "rm", "/tmp/ready")
    pods("wait", "pod/probed", "--for=condition=Ready=False", "--timeout=60s")
    pods("exec", "probed", "--", "touch", "/tmp/dead")
    until(lambda: pods.get("probed")["status"]["containerStatuses"][0]["restartCount"] == 1)
    assert "Liveness probe failed" in pods("describe", "pod", "probed")
    pods("delete", "pod", "probed", "--wait=false")


def test_a_deleted_pod_gets_its_grace_and_no_more(pods):
    polite = "trap 'echo goodbye; exit 0' TERM; echo ready; while true; do sleep 0.1; done"
    for name, script, grace in (("polite", polite, 60), ("stubborn", "trap '' TERM; echo ready; while true; do sleep 0.1; done", 2)):
        pods.start(name, {"name": "main", "image": "alpine:3.20", "command": ["sh", "-c", script]}, terminationGracePeriodSeconds=grace)
        until(lambda: "ready" in pods("logs", name, check=False))
    since = time.monotonic()
    pods("delete", "pod", "polite", "--wait=true")
    assert time.monotonic() - since < 30, "it ended by itself"
    since = time.monotonic()
    pods("delete", "pod", "stubborn", "--wait=true")
    assert 1.5 < time.monotonic() - since < 60
    pods.start("forced", {"name": "main", "image": "alpine:3.20", "command": ["sleep", "600"]}, terminationGracePeriodSeconds=600)
    pods.until_phase("forced", "Running")
    pods("delete", "pod", "forced", "--grace-period=0", "--force")
    assert "NotFound" in pods("get", "pod", "forced", check=False)


def test_a_pod_deleted_before_it_began_has_failed_for_those_who_hold_it(pods):
    body = {"containers": [{"name": "main", "image": "alpine:3.20", "command": ["sleep", "600"]}], "initContainers": [{"name": "first", "image": "alpine:3.20", "command": ["sleep", "600"]}], "terminationGracePeriodSeconds": 1}
    pods("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "held", "finalizers": ["example.com/hold"]}, "spec": body}))
    until(lambda: pods.get("held")["status"].get("initContainerStatuses", [{}])[0].get("state", {}).get("running"))
    pods("delete", "pod", "held", "--wait=false")
    pods.until_phase("held", "Failed", seconds=30)
    pods("patch", "pod", "held", "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
    pods("wait", "pod/held", "--for=delete", "--timeout=30s")


def test_too_much_memory_is_an_honest_oom_kill(pods):
    _, ended = pods.run("greedy", "x = bytearray(400 << 20); import time; time.sleep(60)", image=PYTHON, resources={"limits": {"memory": "64Mi"}})
    assert (ended["status"]["phase"], terminated(ended)["reason"], terminated(ended)["exitCode"]) == ("Failed", "OOMKilled", 137)


def test_a_pod_past_its_deadline_fails(pods):
    pods.start("late", {"name": "main", "image": "alpine:3.20", "command": ["sleep", "600"]}, activeDeadlineSeconds=1)
    failed = pods.until_phase("late", "Failed")
    assert failed["status"]["reason"] == "DeadlineExceeded"
    pods("delete", "pod", "late", "--wait=false")


def test_an_image_that_is_not_there_says_what_to_do(pods):
    pods.start("unknown", {"name": "main", "image": "nobody/nothing:1"})
    said = until(lambda: (text := pods("describe", "pod", "unknown")) and "ErrImagePull" in text and text)
    assert CLUSTER or "kfctl image add" in said
    assert "not found" in pods("logs", "unknown", check=False) or "waiting to start" in pods("logs", "unknown", check=False)
    pods("delete", "pod", "unknown", "--wait=false")


def server(text):
    return {
        "name": "main",
        "image": PYTHON,
        "command": ["sh", "-c", f"mkdir /tmp/w && echo {text} > /tmp/w/index.html && cd /tmp/w && exec python3 -m http.server 8080"],
        "ports": [{"containerPort": 8080, "name": "http"}],
        "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
    }


def test_two_pods_bind_the_same_port_and_are_found_by_name(pods):
    for name in ("left", "right"):
        pods.start(name, server(name), labels={"app": "pair", "side": name}, hostname=name, subdomain="pair")
    headless = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "pair"}, "spec": {"clusterIP": "None", "selector": {"app": "pair"}, "ports": [{"port": 8080, "name": "http"}]}}
    single = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "left-only"}, "spec": {"selector": {"side": "left"}, "ports": [{"port": 80, "targetPort": "http"}]}}
    for service in (headless, single):
        pods("apply", "-f", "-", stdin=json.dumps(service))
    pods("wait", "pod/left", "pod/right", "--for=condition=Ready", "--timeout=90s")
    addresses = {name: pods.get(name)["status"]["podIP"] for name in ("left", "right")}
    assert len(set(addresses.values())) == 2
    script = f"""
import socket, urllib.request as r
read = lambda host: r.urlopen('http://' + host, timeout=20).read().decode().strip()
print(read('{addresses["left"]}:8080'), read('{addresses["right"]}:8080'))
print(read('left-only'), read('left-only.pods'), read('left-only.pods.svc'), read('left-only.pods.svc.cluster.local'))
print(read('left.pair.pods.svc.cluster.local:8080'), read('right.pair:8080'))
print(sorted(socket.gethostbyname_ex('pair')[2]) == sorted({list(addresses.values())!r}))
try:
    socket.gethostbyname('nobody.pods.svc.cluster.local')
except socket.gaierror:
    print('no such name')
"""
    log, _ = pods.run("asking", script, image=PYTHON)
    assert log.splitlines() == ["left right", "left left left left", "left right", "True", "no such name"]
    pods("delete", "pod", "left", "right", "--wait=false")


def test_containers_of_a_pod_share_their_network_and_nothing_else(pods):
    other = {"name": "other", "image": "alpine:3.20", "command": ["sh", "-c", "echo hidden > /tmp/own; sleep 600"]}
    pods.start("pair", server("shared"), other)
    pods("wait", "pod/pair", "--for=condition=Ready", "--timeout=90s")
    assert pods("exec", "pair", "-c", "main", "--", "python3", "-c", "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080').read().decode().strip())") == "shared\n"
    assert pods("exec", "pair", "-c", "main", "--", "sh", "-c", "ls /tmp") == "w\n"
    pods("delete", "pod", "pair", "--wait=false")


def test_a_user_a_folder_and_a_name_of_its_own(pods):
    log, _ = pods.run("itself", "id -u; pwd; hostname; cat /proc/1/cgroup > /dev/null; umask", workingDir="/tmp", securityContext={"runAsUser": 1234}, hostname="chosen")
    assert log.splitlines()[:3] == ["1234", "/tmp", "chosen"]
