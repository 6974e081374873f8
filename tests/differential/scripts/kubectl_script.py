"""One script for the oldest and the newest kubectl: what each prints and how it ends."""

MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, labels: {app: k}}
data: {a: "1"}
---
apiVersion: v1
kind: Service
metadata: {name: svc, labels: {app: k}}
spec: {clusterIP: None, selector: {app: k}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: dep, labels: {app: k}}
spec:
  paused: true
  replicas: 0
  selector: {matchLabels: {app: k}}
  template:
    metadata: {labels: {app: k}}
    spec: {containers: [{name: main, image: "a:1"}]}
"""
BUSY = ("out.status", "out.metadata")


def script(s, binary):
    namespace = f"diff-{s.script}".replace(".", "-")
    s.namespace(namespace)

    def run(name, *arguments, **options):
        return s.kubectl(name, binary, "-n", namespace, *arguments, **options)

    run("create config map", "create", "configmap", "made", "--from-literal=a=b")
    run("create again", "create", "configmap", "made", "--from-literal=a=b")
    run("create secret", "create", "secret", "generic", "sec", "--from-literal=a=b")
    run("create service account", "create", "serviceaccount", "robot")
    run("create role", "create", "role", "reader", "--verb=get,list", "--resource=pods")
    run("create role binding", "create", "rolebinding", "reader", "--role=reader", "--serviceaccount=x:y")
    run("create dry", "create", "configmap", "dry", "--from-literal=a=b", "--dry-run=server")
    run("create namespace", "create", "namespace", "Bad_Name")
    run("apply", "apply", "-f", "-", stdin=MANIFEST)
    run("apply again", "apply", "-f", "-", stdin=MANIFEST)
    run("apply a change", "apply", "-f", "-", stdin=MANIFEST.replace('"1"', '"2"'))
    run("apply dry", "apply", "--dry-run=server", "-f", "-", stdin=MANIFEST.replace('"1"', '"3"'))
    run("apply an unknown field", "apply", "-f", "-", stdin=MANIFEST.replace("paused: true", "pawsed: true"))
    run("apply invalid", "apply", "-f", "-", stdin=MANIFEST.replace("replicas: 0", "replicas: -1"))
    run("apply without validation", "apply", "--validate=false", "-f", "-", stdin=MANIFEST.replace("paused: true", "pawsed: true"))
    run("server-side apply", "apply", "--server-side", "-f", "-", stdin=MANIFEST)
    run("server-side apply conflict", "apply", "--server-side", "--field-manager=other", "-f", "-", stdin=MANIFEST.replace('"1"', '"9"'))
    run("server-side apply force", "apply", "--server-side", "--force-conflicts", "--field-manager=other", "-f", "-", stdin=MANIFEST.replace('"1"', '"9"'))
    run("diff", "diff", "-f", "-", stdin=MANIFEST, ignore=["out"])
    run("get", "get", "configmap,service", "-l", "app=k")
    run("get wide", "get", "deployment", "-o", "wide", "--no-headers", ignore=[])
    run("get name", "get", "all,configmap", "-l", "app=k", "-o", "name")
    run("get json", "get", "configmap", "settings", "-o", "json", ignore=["out.metadata.managedFields"])
    run("get yaml", "get", "service", "svc", "-o", "yaml", ignore=["out"])
    run("get jsonpath", "get", "configmap", "settings", "-o", "jsonpath={.data.a}")
    run("get columns", "get", "configmap", "-l", "app=k", "-o", "custom-columns=N:.metadata.name,A:.data.a")
    run("get sorted", "get", "configmap", "-l", "app=k", "--sort-by=.metadata.name")
    run("get absent", "get", "configmap", "absent")
    run("get absent quietly", "get", "configmap", "absent", "--ignore-not-found")
    run("get a kind that is not there", "get", "nonsenses")
    run("get raw", "get", "--raw", "/readyz")
    run("get by field", "get", "configmap", "--field-selector=metadata.name=made")
    run("get with labels", "get", "configmap", "settings", "--show-labels")
    run("get chunks", "get", "configmap,secret", "--chunk-size=1", "--field-selector=metadata.name!=kube-root-ca.crt")
    run("describe config map", "describe", "configmap", "settings")
    run("describe service", "describe", "service", "svc")
    run("describe deployment", "describe", "deployment", "dep")
    run("describe secret", "describe", "secret", "sec")
    run("describe absent", "describe", "pod", "absent")
    run("label", "label", "configmap", "settings", "x=y")
    run("label again", "label", "configmap", "settings", "x=z")
    run("label over", "label", "configmap", "settings", "x=z", "--overwrite")
    run("unlabel", "label", "configmap", "settings", "x-")
    run("annotate", "annotate", "configmap", "settings", "note=1")
    run("bad label", "label", "configmap", "settings", "bad key=x")
    run("patch", "patch", "configmap", "settings", "-p", '{"data":{"b":"1"}}')
    run("patch json", "patch", "configmap", "settings", "--type=json", "-p", '[{"op":"remove","path":"/data/b"}]')
    run("patch json wrong", "patch", "configmap", "settings", "--type=json", "-p", '[{"op":"remove","path":"/data/zz"}]')
    run("patch nothing", "patch", "configmap", "settings", "--type=merge", "-p", "{}")
    run("scale", "scale", "deployment", "dep", "--replicas=0")
    run("scale absent", "scale", "deployment", "absent", "--replicas=1")
    run("set image", "set", "image", "deployment/dep", "main=b:2")
    run("set env", "set", "env", "deployment/dep", "A=1")
    run("set resources", "set", "resources", "deployment/dep", "--limits=cpu=1")
    run("rollout pause", "rollout", "pause", "deployment/dep")
    run("rollout restart", "rollout", "restart", "deployment/dep")
    run("expose", "expose", "deployment", "dep", "--port=80", "--name=exposed", "--cluster-ip=None")
    run("autoscale", "autoscale", "deployment", "dep", "--min=1", "--max=2", "--cpu-percent=50")
    run("can I", "auth", "can-i", "create", "pods")
    run("can they", "auth", "can-i", "create", "pods", "--as=nobody")
    run("can I what", "auth", "can-i", "fly", "pods")
    run("reconcile", "auth", "reconcile", "-f", "-", stdin="apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: made}\nrules: [{apiGroups: [''], resources: [pods], verbs: [get]}]\n", ignore=["out"])
    run("explain", "explain", "configmap.data")
    run("explain deep", "explain", "deployment.spec.strategy.rollingUpdate.maxSurge")
    run("explain a kind", "explain", "ingress")
    run("explain nothing", "explain", "configmap.nothing")
    run("api resources", "api-resources", "--api-group=apps")
    run("api resources of batch", "api-resources", "--api-group=batch", "-o", "wide")
    run("run dry", "run", "one", "--image=a", "--dry-run=server", "-o", "name")
    run("logs of absent", "logs", "absent")
    run("exec of absent", "exec", "absent", "--", "x")
    run("wait for what is", "wait", "configmap/settings", "--for=jsonpath={.data.a}=9", "--timeout=5s")
    run("wait for absent", "wait", "configmap/absent", "--for=delete", "--timeout=5s")
    run("replace", "replace", "-f", "-", stdin=MANIFEST.split("---")[0].replace('"1"', '"7"'))
    run("replace absent", "replace", "-f", "-", stdin=MANIFEST.split("---")[0].replace("settings", "absent"))
    run("create token", "create", "token", "absent")
    run("delete by label", "delete", "configmap,service,deployment", "-l", "app=k")
    run("delete absent", "delete", "configmap", "absent")
    run("delete absent quietly", "delete", "configmap", "absent", "--ignore-not-found")
    run("delete the namespace", "delete", "namespace", namespace, "--wait=false")
