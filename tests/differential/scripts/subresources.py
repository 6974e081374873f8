"""Subresources: status, scale, binding, eviction, tokens, reviews, logs of pods that do not run."""

BUSY = ("body.status", "body.metadata.managedFields", "body.metadata.annotations")


def pod(name, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": {"schedulerName": "nobody", "containers": [{"name": "main", "image": "a"}], **spec}}


def script(s):
    ns = s.namespace("diff-subresources")
    ask, patch = s.ask, s.patch
    pods = f"{ns}/pods"
    ask("a pod", "POST", pods, pod("p"))
    ask("status", "GET", f"{pods}/p/status")
    patch("status of a pod", f"{pods}/p/status", {"status": {"phase": "Running", "podIP": "10.1.2.3", "conditions": [{"type": "Ready", "status": "True"}]}}, "strategic")
    patch("one more condition", f"{pods}/p/status", {"status": {"conditions": [{"type": "Initialized", "status": "True"}]}}, "strategic")
    ask("status by put", "PUT", f"{pods}/p/status", {**pod("p"), "status": {"phase": "Pending"}})
    ask("status with another spec", "PUT", f"{pods}/p/status", {**pod("p", containers=[{"name": "main", "image": "zzz"}]), "status": {"phase": "Pending"}})
    patch("bad phase", f"{pods}/p/status", {"status": {"phase": 7}})
    ask("status of absent", "GET", f"{pods}/absent/status")
    ask("log of a pod on no node", "GET", f"{pods}/p/log")
    ask("log of absent", "GET", f"{pods}/absent/log")
    ask("log of another container", "GET", f"{pods}/p/log", query={"container": "other"})
    ask("log with bad lines", "GET", f"{pods}/p/log", query={"tailLines": "-1"})
    ask("log with two since", "GET", f"{pods}/p/log", query={"sinceSeconds": "1", "sinceTime": "2020-01-01T00:00:00Z"})
    ask("exec on no node", "POST", f"{pods}/p/exec", query={"command": "x", "stdout": "true"})
    ask("exec of nothing", "POST", f"{pods}/p/exec")
    ask("port-forward on no node", "POST", f"{pods}/p/portforward")
    ask("attach on no node", "POST", f"{pods}/p/attach", query={"stdout": "true"})
    ask("proxy to a pod on no node", "GET", f"{pods}/q/proxy/")
    ask("proxy to no service", "GET", f"{ns}/services/absent/proxy/")
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "nowhere"}}
    ask("bind to nothing", "POST", f"{pods}/p/binding", {**binding, "target": {"kind": "Node", "name": ""}})
    ask("bind to a pod", "POST", f"{pods}/p/binding", {**binding, "target": {"kind": "Pod", "name": "x"}})
    ask("bind another", "POST", f"{pods}/absent/binding", {**binding, "metadata": {"name": "absent"}})
    ephemeral = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "b"}]}}
    patch("ephemeral container", f"{pods}/p/ephemeralcontainers", ephemeral, "strategic", ignore=["body.status"])
    patch("change an ephemeral container", f"{pods}/p/ephemeralcontainers", {"spec": {"ephemeralContainers": [{"name": "debug", "image": "c"}]}}, "strategic", ignore=["body.status"])
    patch("resize", f"{pods}/p/resize", {"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "1"}}}]}}, "strategic", ignore=["body.status"])
    eviction = lambda name, **more: {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, **more}
    ask("evict absent", "POST", f"{pods}/absent/eviction", eviction("absent"))
    ask("evict another", "POST", f"{pods}/p/eviction", eviction("q"))
    ask("evict dry", "POST", f"{pods}/p/eviction", eviction("p", deleteOptions={"dryRun": ["All"]}))
    ask("evict", "POST", f"{pods}/p/eviction", eviction("p"))
    ask("get evicted", "GET", f"{pods}/p", ignore=["body.status"])
    deployments = "/apis/apps/v1/namespaces/diff-subresources/deployments"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "m", "image": "a"}]}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"paused": True, "replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}}
    s.quietly("POST", deployments, body)
    d = f"{deployments}/d"
    scale = lambda replicas, **more: {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d", "namespace": "diff-subresources", **more}, "spec": {"replicas": replicas}}
    ask("scale", "GET", f"{d}/scale")
    ask("scale of absent", "GET", f"{deployments}/absent/scale")
    ask("scale negative", "PUT", f"{d}/scale", scale(-1))
    ask("scale stale", "PUT", f"{d}/scale", scale(0, resourceVersion="1"))
    ask("scale put", "PUT", f"{d}/scale", scale(0))
    patch("scale patch", f"{d}/scale", {"spec": {"replicas": 0}})
    patch("scale text", f"{d}/scale", {"spec": {"replicas": "x"}})
    ask("scale as another kind", "PUT", f"{d}/scale", body)
    ask("scale table", "GET", f"{d}/scale", headers={"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"})
    ask("status of a deployment", "GET", f"{d}/status", ignore=BUSY)
    token = f"{ns}/serviceaccounts/default/token"
    request = lambda **spec: {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    ask("token", "POST", token, request(audiences=["a"], expirationSeconds=600))
    ask("token too short", "POST", token, request(expirationSeconds=5))
    ask("token too long", "POST", token, request(expirationSeconds=2**33))
    ask("token of absent", "POST", f"{ns}/serviceaccounts/absent/token", request())
    ask("token bound to nothing", "POST", token, request(boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "absent"}))
    ask("token bound to a config map", "POST", token, request(boundObjectRef={"kind": "ConfigMap", "apiVersion": "v1", "name": "x"}))
    reviews = "/apis/authorization.k8s.io/v1"
    access = lambda kind, **spec: {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
    attributes = {"verb": "get", "resource": "pods", "namespace": "default"}
    ask("may I", "POST", f"{reviews}/selfsubjectaccessreviews", access("SelfSubjectAccessReview", resourceAttributes=attributes), ignore=["body.status.reason", "body.metadata.managedFields"])
    ask("may they", "POST", f"{reviews}/subjectaccessreviews", access("SubjectAccessReview", resourceAttributes=attributes, user="nobody"))
    ask("may nobody", "POST", f"{reviews}/subjectaccessreviews", access("SubjectAccessReview", resourceAttributes=attributes))
    ask("may about nothing", "POST", f"{reviews}/subjectaccessreviews", access("SubjectAccessReview", user="x"))
    ask("may a path", "POST", f"{reviews}/subjectaccessreviews", access("SubjectAccessReview", nonResourceAttributes={"path": "/version", "verb": "get"}, user="x", groups=["system:authenticated"]))
    ask("local", "POST", f"{reviews}/namespaces/diff-subresources/localsubjectaccessreviews", access("LocalSubjectAccessReview", resourceAttributes=attributes, user="x"))
    ask("who am I", "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}, ignore=["body.status.userInfo"])
    ask("token review", "POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "nonsense"}})
    ask("namespace status", "GET", f"{ns}/status")
    ask("finalize", "PUT", f"{ns}/finalize", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "diff-subresources"}, "spec": {"finalizers": ["kubernetes"]}})
    ask("nobody knows status", "GET", f"{ns}/configmaps/x/status")
    ask("nobody knows scale", "GET", f"{pods}/p/scale")
