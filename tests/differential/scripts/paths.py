"""Paths that are not there, methods that are not allowed, discovery."""


def names(document, key):
    return sorted(item[key] for item in document.get(f"{'group' if key == 'groupVersion' else 'resource'}s", []))


def script(s):
    ask = s.ask
    for path in ["/nothing", "/api/v9", "/api/v1/nothings", "/apis/example.com", "/apis/apps", "/apis/apps/v9", "/apis/apps/v1/nothings", "/api/v1/namespaces/default/pods/p/nothing", "/api/v1/namespaces/default/nothings/x", "/api/v1/namespaces//pods", "/api/v1/pods/p", "/api/v1/namespaces/default/nodes", "/apis/", "/api/"]:
        ask(f"get {path}", "GET", path)
    for method, path in [("POST", "/api/v1/namespaces/default"), ("DELETE", "/api/v1"), ("PUT", "/api/v1/namespaces/default/configmaps"), ("PATCH", "/api/v1/namespaces/default/configmaps"), ("POST", "/api/v1/namespaces/default/configmaps/x"), ("POST", "/version"), ("DELETE", "/api/v1/namespaces"), ("POST", "/api/v1/configmaps"), ("POST", "/api/v1/componentstatuses"), ("DELETE", "/api/v1/services")]:
        ask(f"{method} {path}", method, path, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}} if method != "DELETE" else None)
    ask("api", "GET", "/api")
    ask("api v1", "GET", "/api/v1")
    ask("livez", "GET", "/livez")
    ask("readyz", "GET", "/readyz")
    ask("healthz", "GET", "/healthz")
    ask("ping", "GET", "/readyz/ping")
    for group in ["apps/v1", "batch/v1", "rbac.authorization.k8s.io/v1", "networking.k8s.io/v1", "policy/v1", "storage.k8s.io/v1", "autoscaling/v2", "autoscaling/v1", "coordination.k8s.io/v1", "discovery.k8s.io/v1", "events.k8s.io/v1", "authentication.k8s.io/v1", "authorization.k8s.io/v1", "apiextensions.k8s.io/v1", "scheduling.k8s.io/v1", "node.k8s.io/v1", "admissionregistration.k8s.io/v1", "certificates.k8s.io/v1", "apiregistration.k8s.io/v1", "flowcontrol.apiserver.k8s.io/v1"]:
        ask(f"discovery of {group}", "GET", f"/apis/{group}")
    ask("a group", "GET", "/apis/apps")
    ask("deprecated", "GET", "/api/v1/componentstatuses", ignore=["body.items"])
    ask("head", "HEAD", "/api/v1/namespaces/default")
    ask("options", "OPTIONS", "/api/v1/namespaces/default")
