"""The four patch types, and what each refuses."""


def deployment(name):
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "paused": True,
            "replicas": 0,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "a:1", "ports": [{"containerPort": 80}], "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}]},
            },
        },
    }


# Controllers write these while the script goes on.
BUSY = ("body.status", "body.metadata.managedFields", "body.metadata.annotations")


def script(s):
    ns = s.namespace("diff-patches")
    maps, deployments = f"{ns}/configmaps", "/apis/apps/v1/namespaces/diff-patches/deployments"
    s.quietly("POST", maps, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "labels": {"x": "y"}}, "data": {"a": "1", "b": "2"}})
    one = f"{maps}/m"
    patch = s.patch
    patch("merge", one, {"data": {"a": "3", "b": None, "c": "4"}})
    patch("merge nothing", one, {})
    patch("merge null into nothing", one, {"data": {"zz": None}})
    patch("merge a label", one, {"metadata": {"labels": {"x": None, "z": "w"}}})
    patch("merge with a stale revision", one, {"metadata": {"resourceVersion": "1"}, "data": {"a": "9"}})
    patch("merge another name", one, {"metadata": {"name": "other"}})
    patch("merge another kind", one, {"kind": "Secret"})
    patch("merge a list", one, [1])
    patch("merge text", one, "x")
    patch("merge wrong type", one, {"data": "x"})
    patch("merge a number as data", one, {"data": {"a": 1}})
    patch("merge not JSON", one, None, raw="{")
    patch("merge absent", f"{maps}/absent", {"data": {}})
    patch("merge dry", one, {"data": {"dry": "1"}}, query={"dryRun": "All"})
    patch("merge an unknown field", one, {"datum": {"a": "1"}}, query={"fieldValidation": "Strict"})
    patch("merge an unknown field and warn", one, {"datum": {"a": "1"}}, query={"fieldValidation": "Warn"})
    patch("merge an unknown field and ignore", one, {"datum": {"a": "1"}}, query={"fieldValidation": "Ignore"})
    patch("json", one, [{"op": "replace", "path": "/data/a", "value": "5"}, {"op": "add", "path": "/data/n", "value": "6"}, {"op": "remove", "path": "/data/c"}], "json")
    patch("json test that holds", one, [{"op": "test", "path": "/data/a", "value": "5"}], "json")
    patch("json test that fails", one, [{"op": "test", "path": "/data/a", "value": "6"}], "json")
    patch("json remove absent", one, [{"op": "remove", "path": "/data/absent"}], "json")
    patch("json replace absent", one, [{"op": "replace", "path": "/data/absent", "value": "1"}], "json")
    patch("json add below absent", one, [{"op": "add", "path": "/nothing/here", "value": "1"}], "json")
    patch("json copy and move", one, [{"op": "copy", "from": "/data/a", "path": "/data/copied"}, {"op": "move", "from": "/data/n", "path": "/data/moved"}], "json")
    patch("json unknown op", one, [{"op": "jump", "path": "/data/a"}], "json")
    patch("json without path", one, [{"op": "remove"}], "json")
    patch("json an object", one, {"op": "remove"}, "json")
    patch("json escaped", one, [{"op": "add", "path": "/metadata/annotations", "value": {"a/b": "1"}}, {"op": "replace", "path": "/metadata/annotations/a~1b", "value": "2"}], "json")
    patch("json too many", one, [{"op": "test", "path": "/data/a", "value": "5"}] * 10_001, "json")
    s.ask("patch of unknown type", "PATCH", one, {"a": 1}, content="application/json")
    s.ask("patch without type", "PATCH", one, raw="{}", content="")
    s.quietly("POST", deployments, deployment("d"))
    d = f"{deployments}/d"
    container = lambda **fields: {"spec": {"template": {"spec": {"containers": [fields]}}}}
    strategic = lambda name, body, **options: patch(name, d, body, "strategic", ignore=BUSY, **options)
    strategic("strategic image", container(name="main", image="a:2"))
    strategic("strategic second container", container(name="side", image="b:1"))
    strategic("strategic env", container(name="main", env=[{"name": "B", "value": "9"}, {"name": "C", "value": "3"}]))
    strategic("strategic delete env", container(name="main", env=[{"name": "A", "$patch": "delete"}]))
    strategic("strategic delete container", container(name="side", **{"$patch": "delete"}))
    strategic("strategic replace list", container(name="main", env=[{"$patch": "replace"}, {"name": "Z", "value": "0"}]))
    strategic("strategic order", {"spec": {"template": {"spec": {"$setElementOrder/containers": [{"name": "last"}, {"name": "main"}], "containers": [{"name": "last", "image": "c:1"}]}}}})
    strategic("strategic without key", container(image="x"))
    strategic("strategic retain keys", {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}})
    strategic("strategic ports", container(name="main", ports=[{"containerPort": 81, "name": "more"}]))
    strategic("strategic bad directive", {"spec": {"$patch": "explode"}})
    strategic("strategic wrong type", {"spec": {"replicas": "many"}})
    strategic("strategic negative", {"spec": {"replicas": -1}})
    strategic("strategic selector", {"spec": {"selector": {"matchLabels": {"app": "other"}}}})
    strategic("strategic finalizers", {"metadata": {"finalizers": ["example.com/a"]}})
    strategic("strategic remove a finalizer", {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}})
    patch("strategic not JSON", d, None, "strategic", raw="{")
    patch("merge containers", d, {"spec": {"template": {"spec": {"containers": [{"name": "only", "image": "z"}]}}}}, ignore=BUSY)
    patch("merge null spec", d, {"spec": None}, ignore=BUSY)
    patch("status patch", f"{d}/status", {"status": {"replicas": 7}}, ignore=("body.metadata.managedFields", "body.metadata.annotations", "body.status"))
    patch("status patch of spec", f"{d}/status", {"spec": {"replicas": 5}}, ignore=BUSY)
