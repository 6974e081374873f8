"""The deletion of a namespace, held up by a finalizer."""

from ..observing import Observer, pod_spec

PODS = "pods"


def script(s):
    s.namespace("diff-going")
    seen = Observer(s, "/api/v1/namespaces/diff-going")
    path = "/api/v1/namespaces/diff-going"
    seen.create("configmaps", {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})
    seen.create("configmaps", {"metadata": {"name": "free"}})
    seen.create(PODS, {"metadata": {"name": "p"}, "spec": pod_spec()})
    s.quietly("DELETE", path)
    remaining = lambda answer: any(c["type"] == "NamespaceFinalizersRemaining" and c["status"] == "True" for c in answer.json().get("status", {}).get("conditions", []))
    s.until(path, remaining)
    found = s.quietly("GET", path).json()
    s.keep("namespace held up", f"GET {path}", {"code": 200, "phase": found["status"]["phase"], "conditions": found["status"]["conditions"], "finalizers": found["spec"].get("finalizers")})
    seen.keep("in a namespace held up", "configmaps", PODS)
    s.ask("create in a namespace that goes", "POST", f"{path}/configmaps", {"metadata": {"name": "late"}})
    seen.merge("configmaps", "held", {"metadata": {"finalizers": None}})
    s.until(path, lambda answer: answer.status_code == 404)
