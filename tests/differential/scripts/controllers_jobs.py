"""Jobs: how each way of ending shows, and suspension."""

from ..observing import Observer, condition, template

JOBS, PODS = "batch/jobs", "pods"


def job(name: str, **spec) -> dict:
    return {"metadata": {"name": name}, "spec": {"template": template({"job": name}, restartPolicy="Never"), **spec}}


def script(s):
    ends = {
        "job": ({}, "Complete", lambda seen: seen.end_pods("Succeeded", 0)),
        "two-job": ({"completions": 2, "parallelism": 1}, "Complete", lambda seen: seen.end_pods("Succeeded", 0)),
        "indexed-job": ({"completions": 2, "parallelism": 2, "completionMode": "Indexed"}, "Complete", lambda seen: seen.end_pods("Succeeded", 0)),
        "failed-job": ({"backoffLimit": 0}, "Failed", lambda seen: seen.end_pods("Failed", 1)),
        "late-job": ({"activeDeadlineSeconds": 1}, "Failed", lambda seen: None),
        "policy-job": (
            {"backoffLimit": 3, "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]}},
            "Failed",
            lambda seen: seen.end_pods("Failed", 42),
        ),
    }
    for name, (spec, end, act) in ends.items():
        seen = Observer(s, s.namespace(f"diff-{name}"))
        with seen.watching(JOBS, name):
            seen.create(JOBS, job(name, **spec))
            # The late one may be over before it is looked at.
            if name != "late-job":
                seen.until(JOBS, name, lambda item: item["status"].get("active") == spec.get("parallelism", 1))
                seen.keep(f"{name} started", JOBS, PODS)

            def step(_):
                act(seen)
                return condition(seen.get(JOBS, name), end).get("status") == "True"

            seen.until_list(PODS, step)
            seen.keep(f"{name} ended", JOBS, PODS)
        seen.order(f"{name}'s conditions", name)
    seen = Observer(s, s.namespace("diff-suspended-job"))
    name = "suspended-job"
    with seen.watching(JOBS, name):
        seen.create(JOBS, job(name, suspend=True))
        seen.until(JOBS, name, lambda item: condition(item, "Suspended").get("status") == "True")
        seen.keep("job suspended", JOBS, PODS)
        seen.merge(JOBS, name, {"spec": {"suspend": False}})
        seen.until(JOBS, name, lambda item: item["status"].get("active") == 1)
        seen.keep("job resumed", JOBS, PODS)
        seen.merge(JOBS, name, {"spec": {"suspend": True}})
        seen.until_count(PODS, 0)
        seen.until(JOBS, name, lambda item: condition(item, "Suspended").get("status") == "True")
        seen.keep("job suspended again", JOBS, PODS)
    seen.order("suspended job's conditions", name)
    seen.delete(JOBS, name, "Background")
    seen.until_gone(JOBS, name)
    seen.keep("job deleted", JOBS, PODS)
