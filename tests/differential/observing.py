"""What controllers make of objects: what stands at the end of a step, and in which order conditions changed on the way.

No pod runs on either side: a scheduler that does not exist is asked for, and scripts say of pods what a kubelet would."""

import contextlib
import json
import re
import threading
import time

PODS = "pods"
# What each side has of its own in every namespace.
OF_EVERY_NAMESPACE = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")}


class Observer:
    """Watches one namespace of a server; `path` is the namespace's."""

    def __init__(self, server, path: str):
        self.server, self.namespace = server, path.rsplit("/", 1)[1]
        self.hashes: dict[str, str] = {}
        self.changes: dict[str, list] = {}

    def path(self, kind: str, name: str = "", below: str = "") -> str:
        """The path of a collection, named as `apps/deployments`, or of what is in it."""
        group, plural = kind.rsplit("/", 1) if "/" in kind else ("", kind)
        versions = {"": "/api/v1", "autoscaling": "/apis/autoscaling/v2"}
        root = versions.get(group, f"/apis/{group}/v1")
        return "/".join(part for part in (f"{root}/namespaces/{self.namespace}/{plural}", name, below) if part)

    def list(self, kind: str, query=None) -> list:
        return self.server.quietly("GET", self.path(kind), query=query).json().get("items", [])

    def get(self, kind: str, name: str) -> dict:
        return self.server.quietly("GET", self.path(kind, name)).json()

    def create(self, kind: str, body: dict) -> dict:
        answer = self.server.quietly("POST", self.path(kind), body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def merge(self, kind: str, name: str, body: dict, below: str = "") -> dict:
        answer = self.server.quietly("PATCH", self.path(kind, name, below), body, content="application/merge-patch+json")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def delete(self, kind: str, name: str, policy: str | None = None) -> None:
        self.server.quietly("DELETE", self.path(kind, name), {"propagationPolicy": policy} if policy else None)

    def until(self, kind: str, name: str, holds) -> dict:
        """Waits until the object is as the script needs it."""
        return self.server.until(self.path(kind, name), lambda answer: answer.status_code == 200 and holds(answer.json())).json()

    def until_gone(self, kind: str, name: str) -> None:
        self.server.until(self.path(kind, name), lambda answer: answer.status_code == 404)

    def until_count(self, kind: str, count: int, query=None) -> list:
        return self.until_list(kind, lambda items: len(items) == count, query)

    def until_list(self, kind: str, holds, query=None) -> list:
        deadline = time.monotonic() + 30
        while True:
            items = self.list(kind, query)
            if holds(items):
                return items
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.server.label}: {kind} did not become what {self.server.script} needs: {json.dumps(items)[:800]}")
            time.sleep(0.05)

    # What a kubelet would say of pods.

    def say_of_pod(self, pod: dict, phase: str, ready: bool, **status) -> None:
        number = sum(map(ord, pod["metadata"]["name"])) % 250 + 1
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        conditions = [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": when}]
        address = f"10.99.1.{number}"
        said = {"phase": phase, "conditions": conditions, "podIP": address, "podIPs": [{"ip": address}], "startTime": when, **status}
        self.merge(PODS, pod["metadata"]["name"], {"status": said}, "status")

    def make_ready(self, query=None) -> None:
        """Every pod that is not ready becomes it."""
        for pod in self.list(PODS, query):
            conditions = pod.get("status", {}).get("conditions", [])
            if pod["metadata"].get("deletionTimestamp") is None and not any(c["type"] == "Ready" and c["status"] == "True" for c in conditions):
                self.say_of_pod(pod, "Running", True)

    def end_pods(self, phase: str, code: int, count: int | None = None) -> None:
        """Pods that have not ended do, with this exit code."""
        going = [pod for pod in self.list(PODS) if pod["status"].get("phase") not in ("Succeeded", "Failed")]
        for pod in going[:count]:
            when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            ended = {"exitCode": code, "reason": "Completed" if code == 0 else "Error", "startedAt": when, "finishedAt": when}
            container = {"name": pod["spec"]["containers"][0]["name"], "image": "a:1", "imageID": "", "ready": False, "restartCount": 0, "lastState": {}, "state": {"terminated": ended}}
            self.say_of_pod(pod, phase, False, containerStatuses=[container])

    # What is compared.

    @contextlib.contextmanager
    def watching(self, kind: str, name: str):
        """Notes every change of the conditions of one object, in the order in which they came."""
        seen: list = []
        query = {"watch": "true", "fieldSelector": f"metadata.name={name}", "timeoutSeconds": "300"}
        response = self.server.session.get(self.server.url + self.server.named(self.path(kind)), params=query, stream=True, timeout=330)
        held: dict = {}

        def read():
            with contextlib.suppress(Exception):
                for line in response.iter_lines():
                    event = json.loads(line)
                    for condition in event["object"].get("status", {}).get("conditions", []):
                        said = {key: condition.get(key) for key in ("type", "status", "reason", "message")}
                        if held.get(said["type"]) != said:
                            held[said["type"]] = said
                            seen.append(said)

        worker = threading.Thread(target=read, daemon=True)
        worker.start()
        self.changes[name] = seen
        try:
            yield seen
        finally:
            # Closing alone does not wake a reader that waits.
            with contextlib.suppress(Exception):
                response.raw._fp.fp.raw._sock.shutdown(2)
            response.close()
            worker.join(5)

    def order(self, name: str, of: str) -> None:
        """One exchange: the changes of conditions, as they came."""
        self.server.keep(name, f"conditions of {of}", {"code": 200, "changes": self._masked(list(self.changes[of]))})

    def keep(self, name: str, *kinds: str, wait: float = 0.6) -> None:
        """One exchange: everything of these kinds, once nothing has changed for a moment."""
        state = lambda: {kind: self.list(kind) for kind in kinds}
        before, deadline = state(), time.monotonic() + 20
        since = time.monotonic()
        while time.monotonic() - since < wait and time.monotonic() < deadline:
            time.sleep(0.1)
            now = state()
            if now != before:
                before, since = now, time.monotonic()
        for kind in kinds:
            if kind == "apps/replicasets":
                self._name_hashes(before[kind])
        answer = {kind: self._tidy(items) for kind, items in before.items()}
        self.server.keep(name, f"{', '.join(kinds)} in {self.namespace}", {"code": 200, "objects": answer})

    def _name_hashes(self, sets: list) -> None:
        for item in sorted(sets, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["name"])):
            label = item["metadata"].get("labels", {}).get("pod-template-hash")
            if label and label not in self.hashes:
                self.hashes[label] = f"hash{len(self.hashes) + 1}"

    def _tidy(self, items: list) -> list:
        tidied = []
        for item in items:
            item.pop("kind", None), item.pop("apiVersion", None)
            meta = item["metadata"]
            meta.pop("managedFields", None)
            # Says when a pod changed, and comes and goes with whether that was in another second than before.
            if meta.get("annotations", {}).pop("endpoints.kubernetes.io/last-change-trigger-time", None) and not meta["annotations"]:
                del meta["annotations"]
            if "generateName" in meta:
                meta["name"] = meta["generateName"] + "<random>"
            item.get("spec", {}).pop("nodeName", None)
            tidied.append(item)
        tidied = [item for item in tidied if not any(item["metadata"]["name"] == name for _, name in OF_EVERY_NAMESPACE)]
        return sorted(self._masked(tidied), key=lambda item: (item["metadata"]["name"], json.dumps(item.get("status"), sort_keys=True)))

    def _masked(self, value):
        text = self.server.named_back(json.dumps(value))
        for label, name in self.hashes.items():
            text = text.replace(label, name)
        text = re.sub(r"10\.99\.1\.\d+", "<pod address>", text)
        text = re.sub(r"10\.96\.\d+\.\d+", "<service address>", text)
        text = re.sub(r"kube-api-access-[a-z0-9]{5}", "kube-api-access-<random>", text)
        # Pods of jobs and replica sets, wherever they are spoken of.
        text = re.sub(r"(-hash\d+|job)-[bcdfghjklmnpqrstvwxz2456789]{5}\b", r"\1-<random>", text)
        return json.loads(text)


def pod_spec(**changes) -> dict:
    return {"schedulerName": "nobody", "containers": [{"name": "main", "image": "a:1"}], **changes}


def template(labels: dict, **changes) -> dict:
    return {"metadata": {"labels": labels}, "spec": pod_spec(**changes)}


def condition(found: dict, kind: str) -> dict:
    return next((c for c in found.get("status", {}).get("conditions", []) if c["type"] == kind), {})
