"""Lists: selectors, pages, revisions, Tables."""

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


def script(s):
    ns = s.namespace("diff-lists")
    secrets = f"{ns}/secrets"
    for index in range(5):
        labels = {"n": str(index), "parity": "odd" if index % 2 else "even", **({"rare": "yes"} if index == 3 else {})}
        s.quietly("POST", secrets, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"s{index}", "labels": labels}, "type": "Opaque" if index else "example.com/own", "stringData": {"k": "v"}})
    ask = s.ask
    ask("all", "GET", secrets)
    for selector in ["n=1", "n==1", "n!=1", "parity=odd,n!=1", "n in (1,2)", "n notin (1,2)", "rare", "!rare", "n>2", "n<2", "n=", "parity in (odd),rare", "a b", "n in 1", "=x", "n in ()", "bad!key=x", "n=bad value", ","]:
        ask(f"label {selector}", "GET", secrets, query={"labelSelector": selector})
    for selector in ["metadata.name=s1", "metadata.name!=s1", "metadata.namespace=diff-lists", "type=Opaque", "type!=Opaque", "metadata.name=s1,type=Opaque", "spec.x=1", "metadata.name", "metadata.name>1", "data.k=v"]:
        ask(f"field {selector}", "GET", secrets, query={"fieldSelector": selector})
    page = ask("first page", "GET", secrets, query={"limit": "2"})
    token = page.get("metadata", {}).get("continue", "")
    page = ask("second page", "GET", secrets, query={"limit": "2", "continue": token})
    ask("last page", "GET", secrets, query={"limit": "2", "continue": page.get("metadata", {}).get("continue", "")})
    ask("page with labels", "GET", secrets, query={"limit": "1", "labelSelector": "parity=odd"})
    ask("bad token", "GET", secrets, query={"limit": "2", "continue": "xyz"})
    ask("token with a revision", "GET", secrets, query={"limit": "2", "continue": token, "resourceVersion": "5"})
    ask("bad limit", "GET", secrets, query={"limit": "x"})
    ask("negative limit", "GET", secrets, query={"limit": "-1"})
    ask("revision 0", "GET", secrets, query={"resourceVersion": "0"})
    ask("bad revision", "GET", secrets, query={"resourceVersion": "x"})
    ask("far revision", "GET", secrets, query={"resourceVersion": "99999999"})
    ask("match without revision", "GET", secrets, query={"resourceVersionMatch": "Exact"})
    ask("exact 0", "GET", secrets, query={"resourceVersion": "0", "resourceVersionMatch": "Exact"})
    ask("unknown match", "GET", secrets, query={"resourceVersion": "1", "resourceVersionMatch": "Nearly"})
    ask("not older than 1", "GET", secrets, query={"resourceVersion": "1", "resourceVersionMatch": "NotOlderThan"})
    ask("no namespace", "GET", "/api/v1/namespaces/diff-nowhere/secrets")
    ask("all namespaces", "GET", "/api/v1/secrets", query={"labelSelector": "rare=yes"})
    ask("field of all namespaces", "GET", "/api/v1/secrets", query={"fieldSelector": "metadata.namespace=diff-lists,metadata.name=s2"})
    ask("table", "GET", secrets, headers=TABLE)
    ask("table of one", "GET", f"{secrets}/s1", headers=TABLE)
    ask("table with objects", "GET", f"{secrets}/s1", headers=TABLE, query={"includeObject": "Object"})
    ask("table without objects", "GET", f"{secrets}/s1", headers=TABLE, query={"includeObject": "None"})
    ask("table of absent", "GET", f"{secrets}/absent", headers=TABLE)
    ask("table page", "GET", secrets, headers=TABLE, query={"limit": "2"})
    ask("table of an unknown version", "GET", secrets, headers={"Accept": "application/json;as=Table;v=v7;g=meta.k8s.io"})
    for path in ["configmaps", "services", "pods", "endpoints", "events", "limitranges", "resourcequotas", "persistentvolumeclaims", "replicationcontrollers", "podtemplates", "serviceaccounts"]:
        ask(f"table of {path}", "GET", f"{ns}/{path}", headers=TABLE, query={"labelSelector": "none=none"})
    for path in ["apps/v1/namespaces/diff-lists/deployments", "apps/v1/namespaces/diff-lists/replicasets", "apps/v1/namespaces/diff-lists/statefulsets", "apps/v1/namespaces/diff-lists/daemonsets", "apps/v1/namespaces/diff-lists/controllerrevisions", "batch/v1/namespaces/diff-lists/jobs", "batch/v1/namespaces/diff-lists/cronjobs", "networking.k8s.io/v1/namespaces/diff-lists/ingresses", "networking.k8s.io/v1/namespaces/diff-lists/networkpolicies", "policy/v1/namespaces/diff-lists/poddisruptionbudgets", "rbac.authorization.k8s.io/v1/namespaces/diff-lists/roles", "rbac.authorization.k8s.io/v1/namespaces/diff-lists/rolebindings", "autoscaling/v2/namespaces/diff-lists/horizontalpodautoscalers", "discovery.k8s.io/v1/namespaces/diff-lists/endpointslices", "coordination.k8s.io/v1/namespaces/diff-lists/leases", "storage.k8s.io/v1/storageclasses", "scheduling.k8s.io/v1/priorityclasses", "apiextensions.k8s.io/v1/customresourcedefinitions", "admissionregistration.k8s.io/v1/validatingwebhookconfigurations", "apiregistration.k8s.io/v1/apiservices"]:
        ask(f"table of {path.rsplit('/', 1)[1]}", "GET", f"/apis/{path}", headers=TABLE, query={"labelSelector": "none=none"})
