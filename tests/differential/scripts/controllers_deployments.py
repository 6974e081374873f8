"""Deployments: scaled, rolled out, paused, rolled back, stuck, made anew, deleted, refused by a quota."""

from ..observing import Observer, condition, pod_spec, template

DEPLOYMENTS, SETS, PODS = "apps/deployments", "apps/replicasets", "pods"


def deployment(name: str, replicas: int, **spec) -> dict:
    labels = {"app": name}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template(labels), **spec}}


def image(text: str) -> dict:
    return {"spec": {"template": {"spec": pod_spec(containers=[{"name": "main", "image": text}])}}}


def is_rolled_out(replicas: int):
    def holds(found):
        status = found.get("status", {})
        return (
            status.get("observedGeneration") == found["metadata"]["generation"]
            and all(status.get(count, 0) == replicas for count in ("replicas", "updatedReplicas", "availableReplicas"))
            and any(c.get("reason") == "NewReplicaSetAvailable" for c in status.get("conditions", []))
        )

    return holds


def roll_out(seen: Observer, name: str, replicas: int) -> None:
    """Makes whatever comes ready until the roll-out is over."""
    holds = is_rolled_out(replicas)

    def step(_):
        seen.make_ready()
        return holds(seen.get(DEPLOYMENTS, name))

    seen.until_list(PODS, step)


def script(s):
    seen = Observer(s, s.namespace("diff-deployments"))
    everything = (DEPLOYMENTS, SETS, PODS)
    with seen.watching(DEPLOYMENTS, "web"):
        seen.create(DEPLOYMENTS, deployment("web", 2))
        seen.until_count(PODS, 2)
        seen.keep("deployment created", *everything)
        roll_out(seen, "web", 2)
        seen.keep("deployment available", *everything)
        seen.merge(DEPLOYMENTS, "web", {"spec": {"replicas": 3}}, "scale")
        seen.until_count(PODS, 3)
        roll_out(seen, "web", 3)
        seen.keep("deployment scaled", *everything)
        seen.merge(DEPLOYMENTS, "web", image("a:2"))
        seen.until_count(SETS, 2)
        seen.until_count(PODS, 4)
        seen.keep("deployment rolling", *everything)
        roll_out(seen, "web", 3)
        seen.keep("deployment rolled out", *everything)
        seen.merge(DEPLOYMENTS, "web", {"spec": {"paused": True}})
        seen.until(DEPLOYMENTS, "web", lambda found: condition(found, "Progressing").get("reason") == "DeploymentPaused")
        seen.merge(DEPLOYMENTS, "web", image("a:3"))
        seen.keep("deployment paused", *everything)
        seen.merge(DEPLOYMENTS, "web", {"spec": {"paused": False}})
        seen.until_count(SETS, 3)
        roll_out(seen, "web", 3)
        seen.keep("deployment resumed", *everything)
        seen.merge(DEPLOYMENTS, "web", image("a:1"))
        roll_out(seen, "web", 3)
        seen.keep("deployment rolled back", *everything)
        seen.merge(DEPLOYMENTS, "web", {"spec": {"replicas": 0}})
        seen.until_count(PODS, 0)
        seen.keep("deployment at none", *everything)
    seen.order("deployment's conditions", "web")
    with seen.watching(DEPLOYMENTS, "stuck"):
        seen.create(DEPLOYMENTS, deployment("stuck", 1, progressDeadlineSeconds=2))
        seen.until(DEPLOYMENTS, "stuck", lambda found: condition(found, "Progressing").get("reason") == "ProgressDeadlineExceeded")
        seen.keep("deployment stuck", *everything)
    seen.order("stuck deployment's conditions", "stuck")
    seen.delete(DEPLOYMENTS, "stuck")
    seen.until_count(PODS, 0)
    with seen.watching(DEPLOYMENTS, "anew"):
        seen.create(DEPLOYMENTS, deployment("anew", 2, strategy={"type": "Recreate"}, revisionHistoryLimit=0))
        seen.until_count(PODS, 2)
        roll_out(seen, "anew", 2)
        seen.keep("deployment to be made anew", *everything)
        seen.merge(DEPLOYMENTS, "anew", image("a:2"))
        seen.until_list(PODS, lambda pods: len(pods) == 2 and all(pod["spec"]["containers"][0]["image"] == "a:2" for pod in pods))
        roll_out(seen, "anew", 2)
        seen.until_list(SETS, lambda sets: sum(item["metadata"]["name"].split("-")[0] == "anew" for item in sets) == 1)
        seen.keep("deployment recreated", *everything)
    seen.order("recreated deployment's conditions", "anew")
    seen.delete(DEPLOYMENTS, "anew")
    seen.delete(DEPLOYMENTS, "web", "Foreground")
    seen.until_count(DEPLOYMENTS, 0)
    seen.keep("deployments deleted", *everything)
    s.quietly("POST", seen.path("resourcequotas"), {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})
    seen.until("resourcequotas", "none", lambda found: "pods" in found.get("status", {}).get("hard", {}))
    seen.create(DEPLOYMENTS, deployment("refused", 1))
    seen.until(DEPLOYMENTS, "refused", lambda found: condition(found, "ReplicaFailure").get("status") == "True")
    seen.keep("deployment without quota", *everything)
