"""What controllers do with objects, seen through kubectl: jobs, claims, scheduling, garbage, namespaces."""

import datetime
import json

import pytest
from conftest import until


class Space:
    """A namespace of its own and the ways to look into it."""

    def __init__(self, platform, name):
        self.platform, self.name = platform, name

    def __call__(self, *arguments, **options):
        return self.platform.kubectl("-n", self.name, *arguments, **options)

    def apply(self, manifest):
        return self("apply", "-f", "-", stdin=json.dumps(manifest))

    def json(self, *arguments):
        return json.loads(self("get", *arguments, "-o", "json"))

    def names(self, kind, *options):
        return [line.split("/", 1)[1] for line in self("get", kind, *options, "-o", "name").split()]


@pytest.fixture(scope="module")
def space(platform):
    platform.kubectl("create", "namespace", "workloads")
    until(lambda: "default" in platform.kubectl("-n", "workloads", "get", "serviceaccounts", "-o", "name"))
    yield Space(platform, "workloads")
    platform.kubectl("delete", "namespace", "workloads", "--wait=false")


def job(name, script, **spec):
    container = {"name": "main", "image": "alpine:3.20", "command": ["sh", "-c", script]}
    pod = {"restartPolicy": spec.pop("restartPolicy", "Never"), "terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {**spec, "template": {"spec": pod}}}


def condition(found, kind):
    return next((entry for entry in found["status"].get("conditions", []) if entry["type"] == kind and entry["status"] == "True"), None)


def test_a_job_runs_so_many_at_once_until_so_many_are_done(space):
    space.apply(job("many", "sleep 0.3", completions=5, parallelism=2))
    most = 0
    def done():
        nonlocal most
        found = space.json("job", "many")
        most = max(most, found["status"].get("active", 0))
        return found if condition(found, "Complete") else None
    found = until(done, 120)
    assert found["status"]["succeeded"] == 5 and 1 <= most <= 2
    assert len(space.names("pods", "-l", "job-name=many")) == 5
    assert {"startTime", "completionTime"} <= set(found["status"])
    assert condition(found, "SuccessCriteriaMet")


def test_a_job_past_its_backoff_limit_fails_and_says_so(space):
    space.apply(job("hopeless", "exit 3", backoffLimit=1))
    space("wait", "job/hopeless", "--for=condition=Failed", "--timeout=120s")
    found = space.json("job", "hopeless")
    assert found["status"]["failed"] == 2
    assert condition(found, "Failed")["reason"] == "BackoffLimitExceeded"
    assert "Job has reached the specified backoff limit" in space("describe", "job", "hopeless")


def test_a_job_past_its_deadline_is_ended(space):
    space.apply(job("late", "sleep 600", activeDeadlineSeconds=1))
    space("wait", "job/late", "--for=condition=Failed", "--timeout=60s")
    assert condition(space.json("job", "late"), "Failed")["reason"] == "DeadlineExceeded"
    space("wait", "pods", "-l", "job-name=late", "--for=delete", "--timeout=60s")


def test_a_finished_job_goes_after_its_time_with_its_pods(space):
    space.apply(job("brief", "true", ttlSecondsAfterFinished=2))
    ended = space("wait", "job/brief", "--for=condition=Complete", "--timeout=60s", "-o", "jsonpath={.status.completionTime}")
    space("wait", "job/brief", "--for=delete", "--timeout=60s")
    stayed = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(ended)
    assert stayed >= datetime.timedelta(seconds=2), "it stays for its time"
    until(lambda: space.names("pods", "-l", "job-name=brief") == [])


def test_an_indexed_job_gives_each_pod_its_number(space):
    space.apply(job("indexed", "echo $JOB_COMPLETION_INDEX", completions=3, parallelism=3, completionMode="Indexed"))
    space("wait", "job/indexed", "--for=condition=Complete", "--timeout=90s")
    assert sorted(space("logs", "-l", "job-name=indexed").split()) == ["0", "1", "2"]
    assert space.json("job", "indexed")["status"]["completedIndexes"] == "0-2"


def test_a_job_restarts_its_container_in_place(space):
    manifest = job("again", "test -e /work/been && exit 0; touch /work/been; exit 1", restartPolicy="OnFailure")
    manifest["spec"]["template"]["spec"]["volumes"] = [{"name": "work", "emptyDir": {}}]
    manifest["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "work", "mountPath": "/work"}]
    space.apply(manifest)
    space("wait", "job/again", "--for=condition=Complete", "--timeout=90s")
    (pod,) = space.json("pods", "-l", "job-name=again")["items"]
    assert pod["status"]["containerStatuses"][0]["restartCount"] == 1


def test_a_suspended_job_waits_until_it_is_let_go(space):
    space.apply(job("later", "true", suspend=True))
    space("wait", "job/later", "--for=condition=Suspended", "--timeout=30s")
    assert space.names("pods", "-l", "job-name=later") == []
    space("patch", "job", "later", "-p", '{"spec":{"suspend":false}}')
    space("wait", "job/later", "--for=condition=Complete", "--timeout=60s")


def test_a_claim_is_provisioned_kept_over_pods_and_deleted_with_its_volume(space):
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "kept"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}}
    space.apply(claim)
    for name, script in (("writer", "echo kept > /data/file"), ("reader", "cat /data/file")):
        spec = {"restartPolicy": "Never", "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "kept"}}], "containers": [{"name": "main", "image": "alpine:3.20", "command": ["sh", "-c", script], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}
        space.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
        space("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    assert space("logs", "reader") == "kept\n"
    space("delete", "pod", "writer", "reader")
    bound = space.json("pvc", "kept")
    assert bound["status"]["phase"] == "Bound" and bound["spec"]["storageClassName"]
    volume = bound["spec"]["volumeName"]
    assert json.loads(space("get", "pv", volume, "-o", "json"))["spec"]["claimRef"]["name"] == "kept"
    space("delete", "pvc", "kept")
    space("wait", f"pv/{volume}", "--for=delete", "--timeout=30s")


@pytest.mark.parametrize(
    "name, spec, words",
    [
        ("big", {"resources": {"requests": {"ephemeral-storage": "900Ti"}}}, "Insufficient ephemeral-storage"),
        ("busy", {"resources": {"requests": {"cpu": "4000"}}}, "Insufficient cpu"),
        ("picky", {"nodeSelector": {"disk": "imaginary"}}, "didn't match Pod's node affinity/selector"),
        ("claimless", {"claim": "none"}, 'persistentvolumeclaim "none" not found'),
        ("classless", {"claim": "odd"}, "unbound"),
    ],
)
def test_a_pod_that_fits_nowhere_says_why(space, name, spec, words):
    container = {"name": "main", "image": "alpine:3.20", "command": ["true"], "resources": spec.get("resources", {})}
    body = {"containers": [container], "nodeSelector": spec.get("nodeSelector", {})}
    if claim := spec.get("claim"):
        body["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]
        if claim == "odd":
            space.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim}, "spec": {"storageClassName": "imaginary", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}})
    space.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body})
    space("wait", f"pod/{name}", "--for=condition=PodScheduled=False", "--timeout=30s")
    scheduled = next(entry for entry in space.json("pod", name)["status"]["conditions"] if entry["type"] == "PodScheduled")
    assert scheduled["reason"] == "Unschedulable" and words in scheduled["message"], scheduled
    assert "FailedScheduling" in space("describe", "pod", name)
    space("delete", "pod", name)


def deployment(name):
    container = {"name": "main", "image": "alpine:3.20", "command": ["sleep", "600"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}},
    }


@pytest.mark.parametrize("how", ["background", "foreground", "orphan"])
def test_dependents_go_after_before_or_not_at_all(space, how):
    name = f"owner-{how}"
    space.apply(deployment(name))
    space("rollout", "status", f"deploy/{name}", "--timeout=60s")
    space("delete", f"deploy/{name}", f"--cascade={how}", "--wait=true")
    if how == "foreground":
        assert space.names("replicasets", "-l", f"app={name}") == [], "they went before their owner"
    if how != "orphan":
        until(lambda: space.names("replicasets", "-l", f"app={name}") == [] and space.names("pods", "-l", f"app={name}") == [])
        return
    (left,) = space.json("replicasets", "-l", f"app={name}")["items"]
    assert "ownerReferences" not in left["metadata"]
    assert len(space.names("pods", "-l", f"app={name}")) == 1
    space.apply(deployment(name))
    until(lambda: space.json("replicasets", "-l", f"app={name}")["items"][0]["metadata"].get("ownerReferences"))
    space("delete", f"deploy/{name}")


def test_a_namespace_takes_everything_along_and_says_what_holds_it(platform):
    platform.kubectl("create", "namespace", "doomed")
    doomed = Space(platform, "doomed")
    until(lambda: "default" in doomed("get", "serviceaccounts", "-o", "name"))
    assert doomed.json("configmap", "kube-root-ca.crt")["data"]["ca.crt"].startswith("-----BEGIN CERTIFICATE")
    doomed.apply(deployment("web"))
    doomed("rollout", "status", "deploy/web", "--timeout=60s")
    doomed.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.com/hold"]}})
    doomed("delete", "namespace", "doomed", "--wait=false")
    def remaining():
        found = json.loads(platform.kubectl("get", "namespace", "doomed", "-o", "json"))
        assert found["status"]["phase"] == "Terminating"
        return next((entry["message"] for entry in found["status"].get("conditions", []) if entry["type"] == "NamespaceFinalizersRemaining" and entry["status"] == "True"), None)
    assert "example.com/hold in 1 resource instances" in until(remaining)
    until(lambda: doomed.names("pods") == [] and doomed.names("deployments") == [])
    refused = doomed("create", "configmap", "new", check=False)
    assert "because it is being terminated" in refused
    doomed("patch", "configmap", "held", "--type=json", "-p", '[{"op":"remove","path":"/metadata/finalizers"}]')
    platform.kubectl("wait", "namespace/doomed", "--for=delete", "--timeout=60s")


def test_a_service_follows_its_pods(space):
    space.apply(deployment("followed"))
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "followed"}, "spec": {"selector": {"app": "followed"}, "ports": [{"port": 80, "targetPort": 8080}]}}
    space.apply(service)
    space("rollout", "status", "deploy/followed", "--timeout=60s")
    def addresses():
        slices = space.json("endpointslices", "-l", "kubernetes.io/service-name=followed")["items"]
        return sorted(address for piece in slices for endpoint in piece.get("endpoints") or [] if endpoint["conditions"]["ready"] for address in endpoint["addresses"])
    (first,) = until(addresses)
    assert first == space.json("pods", "-l", "app=followed")["items"][0]["status"]["podIP"]
    space("scale", "deploy/followed", "--replicas=2")
    until(lambda: len(addresses()) == 2)
    assert len(space.json("endpoints", "followed")["subsets"][0]["addresses"]) == 2
    space("scale", "deploy/followed", "--replicas=0")
    until(lambda: addresses() == [])
    space("delete", "deploy/followed", "service/followed")
    until(lambda: space.names("endpointslices", "-l", "kubernetes.io/service-name=followed") == [])


def test_a_deleted_pod_is_replaced_and_a_deleted_account_comes_back(space):
    space.apply(deployment("stubborn"))
    space("rollout", "status", "deploy/stubborn", "--timeout=60s")
    (before,) = space.names("pods", "-l", "app=stubborn")
    space("delete", "pod", before)
    (after,) = until(lambda: [name for name in space.names("pods", "-l", "app=stubborn") if name != before])
    assert after != before
    uid = space.json("serviceaccount", "default")["metadata"]["uid"]
    space("delete", "serviceaccount", "default")
    until(lambda: [found for found in space.json("serviceaccounts")["items"] if found["metadata"]["name"] == "default" and found["metadata"]["uid"] != uid])
    space("delete", "deploy/stubborn")
