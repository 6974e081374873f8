"""Watches: events, selectors, bookmarks, initial events, revisions that are gone."""


def script(s):
    ns = s.namespace("diff-watches")
    maps = f"{ns}/configmaps"
    body = lambda name, value="1", **labels: {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": "w", **labels}}, "data": {"a": value}}
    revision = lambda: s.quietly("GET", maps).json()["metadata"]["resourceVersion"]
    mine = {"labelSelector": "app=w"}

    def life(name):
        s.quietly("POST", maps, body(name))
        s.quietly("PUT", f"{maps}/{name}", body(name, "2"))
        s.quietly("DELETE", f"{maps}/{name}")

    s.watch("a life", maps, lambda: life("one"), 3, {"resourceVersion": revision(), **mine})
    s.watch("one by name", maps, lambda: (life("other"), life("named")), 3, {"resourceVersion": revision(), "fieldSelector": "metadata.name=named"})

    def in_and_out():
        s.quietly("POST", maps, body("moving", colour="red"))
        s.quietly("PUT", f"{maps}/moving", body("moving", colour="blue"))
        s.quietly("PUT", f"{maps}/moving", body("moving", colour="red"))
        s.quietly("DELETE", f"{maps}/moving")

    s.watch("in and out of a selector", maps, in_and_out, 4, {"resourceVersion": revision(), "labelSelector": "colour=red"})
    s.quietly("POST", maps, body("there"))
    s.watch("from nothing", maps, lambda: s.quietly("PUT", f"{maps}/there", body("there", "3")), 2, mine)
    s.watch("from 0", maps, lambda: s.quietly("PUT", f"{maps}/there", body("there", "4")), 2, {"resourceVersion": "0", **mine})
    listing = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true", **mine}
    s.watch("watch list", maps, lambda: None, 2, listing)
    s.watch("watch list and go on", maps, lambda: s.quietly("PUT", f"{maps}/there", body("there", "5")), 3, listing)
    s.watch("watch list without bookmarks", maps, lambda: None, 1, {**listing, "allowWatchBookmarks": "false"})
    s.watch("watch list without match", maps, lambda: None, 1, {"sendInitialEvents": "true", "allowWatchBookmarks": "true"})
    s.watch("match without initial events", maps, lambda: None, 1, {"resourceVersion": "1", "resourceVersionMatch": "NotOlderThan"})
    s.watch("as metadata", maps, lambda: life("meta"), 3, {"resourceVersion": revision(), **mine}, headers={"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"})
    s.watch("as a table", maps, lambda: life("tabled"), 3, {"resourceVersion": revision(), **mine}, headers={"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"})
    s.watch("a bad revision", maps, lambda: None, 1, {"resourceVersion": "x"})
    s.watch("a bad selector", maps, lambda: None, 1, {"labelSelector": "a in ("})
    s.watch("a bad timeout", maps, lambda: None, 1, {"timeoutSeconds": "x"})
    s.watch("by the old path", "/api/v1/watch/namespaces/diff-watches/configmaps", lambda: s.quietly("PUT", f"{maps}/there", body("there", "6")), 2, mine)
    s.watch("one by the old path", "/api/v1/watch/namespaces/diff-watches/configmaps/there", lambda: s.quietly("PUT", f"{maps}/there", body("there", "7")), 2)
    s.watch("a resource that is not there", f"{ns}/nothings", lambda: None, 1)
