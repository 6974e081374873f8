"""Replica sets: adoption, release, availability, scaling down, orphans."""

from ..observing import Observer, pod_spec, template

SETS, PODS = "apps/replicasets", "pods"


def script(s):
    seen = Observer(s, s.namespace("diff-replicasets"))
    labels = {"app": "rs"}
    found = (SETS, PODS)
    seen.create(PODS, {"metadata": {"name": "stray", "labels": labels}, "spec": pod_spec()})
    body = {"metadata": {"name": "rs"}, "spec": {"replicas": 3, "minReadySeconds": 1, "selector": {"matchLabels": labels}, "template": template(labels)}}
    seen.create(SETS, body)
    seen.until(SETS, "rs", lambda item: item["status"].get("replicas") == 3)
    seen.keep("replica set created", *found)
    seen.make_ready()
    seen.until(SETS, "rs", lambda item: item["status"].get("availableReplicas") == 3)
    seen.keep("replica set available", *found)
    seen.merge(PODS, "stray", {"metadata": {"labels": {"app": "other"}}})
    seen.until_count(PODS, 4)
    seen.until(SETS, "rs", lambda item: item["status"].get("replicas") == 3 and item["status"].get("readyReplicas") == 2)
    seen.keep("replica set let a pod go", *found)
    seen.merge(SETS, "rs", {"spec": {"replicas": 2}})
    seen.until(SETS, "rs", lambda item: item["status"].get("replicas") == 2 and item["status"].get("availableReplicas") == 2)
    seen.keep("replica set scaled down", *found)
    seen.delete(SETS, "rs", "Orphan")
    seen.until_gone(SETS, "rs")
    seen.keep("replica set's orphans", *found)
