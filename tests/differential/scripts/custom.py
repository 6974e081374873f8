"""Custom resources: definitions, schemas, defaults, pruning, rules, columns, status, scale."""

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SPEC = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 10},
        "mode": {"type": "string", "enum": ["a", "b"], "default": "a"},
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
        "replicas": {"type": "integer", "default": 1},
        "list": {"type": "array", "maxItems": 2, "items": {"type": "object", "required": ["key"], "properties": {"key": {"type": "string"}, "value": {"type": "string", "default": "v"}}}, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"]},
        "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "port": {"x-kubernetes-int-or-string": True},
        "when": {"type": "string", "format": "date-time"},
        "fixed": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed is fixed"}]},
        "nothing": {"type": "string", "nullable": True},
    },
    "x-kubernetes-validations": [{"rule": "!has(self.name) || self.size > 1", "message": "a named one must be larger than 1"}],
}


def definition(plural="gadgets", kind="Gadget", **changes):
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
        "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}, {"name": "Wide", "type": "string", "jsonPath": ".spec.mode", "priority": 1}, {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}],
        "selectableFields": [{"jsonPath": ".spec.mode"}],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC, "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "said": {"type": "string"}}}}}},
    }
    version.update(changes.pop("version", {}))
    spec = {"group": "diff.example.com", "scope": "Namespaced", "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": f"{kind}List", "shortNames": [plural[:2]]}, "versions": [version], **changes}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": f"{plural}.diff.example.com"}, "spec": spec}


def script(s):
    s.namespace("diff-custom")
    ask, dry = s.ask, {"dryRun": "All"}
    ask("define", "POST", DEFINITIONS, definition(), ignore=["body.status"])
    for name, wrong in {
        "wrong name": {**definition("others", "Other"), "metadata": {"name": "x.diff.example.com"}},
        "no versions": definition("others", "Other", versions=[]),
        "no schema": definition("others", "Other", version={"schema": None}),
        "bad scope": definition("others", "Other", scope="Everywhere"),
        "not structural": definition("others", "Other", version={"schema": {"openAPIV3Schema": {"type": "object", "properties": {"a": {}}}}}),
        "bad type": definition("others", "Other", version={"schema": {"openAPIV3Schema": {"type": "thing"}}}),
        "bad pattern": definition("others", "Other", version={"schema": {"openAPIV3Schema": {"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}}}),
        "bad rule": definition("others", "Other", version={"schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-validations": [{"rule": "self.nothing > 1"}]}}}}}),
        "bad default": definition("others", "Other", version={"schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "integer", "default": "x"}}}}}}}),
        "two storages": definition("others", "Other", versions=[{"name": name, "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}} for name in ("v1", "v2")]),
        "bad column": definition("others", "Other", version={"additionalPrinterColumns": [{"name": "X", "type": "odd", "jsonPath": "spec"}]}),
        "protected group": {**definition("others", "Other", group="things.k8s.io"), "metadata": {"name": "others.things.k8s.io"}},
        "upper plural": {**definition("Others", "Other"), "metadata": {"name": "Others.diff.example.com"}},
    }.items():
        ask(f"define: {name}", "POST", DEFINITIONS, wrong, query=dry, ignore=["body.status"])
    s.until(f"{DEFINITIONS}/gadgets.diff.example.com", lambda answer: any(c["type"] == "Established" and c["status"] == "True" for c in answer.json()["status"].get("conditions", [])))
    gadgets = "/apis/diff.example.com/v1/namespaces/diff-custom/gadgets"
    s.until(gadgets, lambda answer: answer.status_code == 200)
    ask("established", "GET", f"{DEFINITIONS}/gadgets.diff.example.com")
    s.until("/apis/diff.example.com/v1", lambda answer: answer.status_code == 200)
    ask("discovery", "GET", "/apis/diff.example.com/v1")
    ask("group", "GET", "/apis/diff.example.com")
    gadget = lambda called="g", **spec: {"apiVersion": "diff.example.com/v1", "kind": "Gadget", "metadata": {"name": called}, "spec": {"size": 3, **spec}}
    ask("create", "POST", gadgets, gadget())
    ask("create again", "POST", gadgets, gadget())
    for name, spec in {
        "no size": {"size": None}, "size text": {"size": "3"}, "size small": {"size": 0}, "size large": {"size": 11}, "fraction": {"size": 1.5},
        "mode": {"mode": "z"}, "pattern": {"name": "ABC"}, "too long": {"name": "abcdefg"}, "rule": {"name": "abc", "size": 1},
        "list twice": {"list": [{"key": "a"}, {"key": "a"}]}, "list without key": {"list": [{"value": "x"}]}, "list too long": {"list": [{"key": str(n)} for n in range(3)]},
        "list default": {"list": [{"key": "a"}]}, "set twice": {"set": ["a", "a"]}, "free": {"free": {"any": [1, {"b": None}]}}, "port number": {"port": 80},
        "port text": {"port": "http"}, "port bool": {"port": True}, "when": {"when": "tomorrow"}, "null": {"nothing": None}, "null default": {"mode": None}, "null number": {"replicas": None},
    }.items():
        ask(f"create: {name}", "POST", gadgets, gadget("v", **spec), query=dry)
    for mode in ("Strict", "Warn", "Ignore"):
        ask(f"unknown field {mode}", "POST", gadgets, gadget("v", unknown=1), query={**dry, "fieldValidation": mode})
    ask("wrong kind", "POST", gadgets, {**gadget("v"), "kind": "Widget"})
    ask("wrong version", "POST", gadgets, {**gadget("v"), "apiVersion": "diff.example.com/v2"})
    ask("no kind", "POST", gadgets, {"metadata": {"name": "v"}})
    ask("bad name", "POST", gadgets, gadget("Bad_Name"))
    ask("protobuf", "POST", gadgets, raw="x", content="application/vnd.kubernetes.protobuf")
    one = f"{gadgets}/g"
    ask("get", "GET", one)
    ask("list", "GET", gadgets)
    ask("select", "GET", gadgets, query={"fieldSelector": "spec.mode=a"})
    ask("select another field", "GET", gadgets, query={"fieldSelector": "spec.size=3"})
    ask("table", "GET", gadgets, headers={"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"})
    ask("status at creation", "POST", gadgets, {**gadget("with-status"), "status": {"said": "x"}}, query=dry)
    ask("put without revision", "PUT", one, gadget(size=4))
    s.patch("merge", one, {"spec": {"size": 4}})
    s.patch("merge the same", one, {"spec": {"size": 4}})
    s.patch("merge wrong", one, {"spec": {"size": 40}})
    s.patch("strategic", one, {"spec": {"size": 4}}, "strategic")
    s.patch("json", one, [{"op": "replace", "path": "/spec/size", "value": 5}], "json")
    s.patch("fixed set", one, {"spec": {"fixed": "a"}})
    s.patch("fixed changed", one, {"spec": {"fixed": "b"}})
    s.patch("status by main", one, {"status": {"said": "x"}})
    s.patch("status", f"{one}/status", {"status": {"said": "x", "replicas": 2}})
    s.patch("status does not touch spec", f"{one}/status", {"spec": {"size": 9}})
    s.patch("status wrong", f"{one}/status", {"status": {"replicas": "x"}})
    ask("scale", "GET", f"{one}/scale")
    s.patch("scale patch", f"{one}/scale", {"spec": {"replicas": 4}})
    s.apply("apply", one, {"apiVersion": "diff.example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {"size": 5, "list": [{"key": "a", "value": "1"}]}}, manager="one")
    s.apply("apply another key", one, {"apiVersion": "diff.example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {"size": 5, "list": [{"key": "b"}]}}, manager="two")
    s.apply("apply conflict", one, {"apiVersion": "diff.example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {"size": 6}}, manager="two")
    s.apply("apply lets go", one, {"apiVersion": "diff.example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {"size": 5}}, manager="one")
    s.patch("unserve", f"{DEFINITIONS}/gadgets.diff.example.com", {"spec": {"scope": "Cluster"}}, ignore=["body.status"])
    ask("delete", "DELETE", one)
    ask("delete the definition", "DELETE", f"{DEFINITIONS}/gadgets.diff.example.com", ignore=["body.status", "body.metadata"])
    s.until(gadgets, lambda answer: answer.status_code == 404)
    ask("gone", "GET", gadgets)
