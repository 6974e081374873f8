"""Garbage collection: background, foreground and orphaning deletion; owners that never were."""

from ..observing import Observer

MAPS = "configmaps"


def script(s):
    seen = Observer(s, s.namespace("diff-garbage"))

    def owned(name: str, owner: dict, **metadata) -> dict:
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "blockOwnerDeletion": True}
        return {"metadata": {"name": name, "ownerReferences": [reference], **metadata}}

    for policy in ("Background", "Foreground", "Orphan"):
        owner = seen.create(MAPS, {"metadata": {"name": "owner"}})
        seen.create(MAPS, owned("child", owner))
        held = seen.create(MAPS, owned("held", owner, finalizers=["example.com/hold"]))
        seen.create(MAPS, owned("grandchild", held))
        seen.delete(MAPS, "owner", policy)
        if policy == "Background":
            seen.until_gone(MAPS, "owner")
        if policy != "Orphan":
            seen.until_gone(MAPS, "child")
            seen.until(MAPS, "held", lambda item: "deletionTimestamp" in item["metadata"])
        else:
            seen.until_gone(MAPS, "owner")
        seen.keep(f"{policy.lower()} deletion held up", MAPS)
        seen.merge(MAPS, "held", {"metadata": {"finalizers": None}})
        if policy == "Orphan":
            for name in ("held", "child"):
                seen.delete(MAPS, name, "Foreground")
        seen.until_list(MAPS, lambda items: all(item["metadata"]["name"] == "kube-root-ca.crt" for item in items))
        seen.keep(f"{policy.lower()} deletion done", MAPS)
    nobody = {"metadata": {"name": "nobody", "uid": "00000000-0000-4000-8000-000000000001"}}
    seen.create(MAPS, owned("orphaned", nobody))
    seen.until_gone(MAPS, "orphaned")
