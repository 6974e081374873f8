"""Rights: who may do what, impersonation, roles that would give more than their maker has."""

RBAC = "/apis/rbac.authorization.k8s.io/v1"


def script(s):
    ns = s.namespace("diff-rights")
    ask = s.ask
    nobody = {"Impersonate-User": "nobody"}
    roles, bindings = f"{RBAC}/namespaces/diff-rights/roles", f"{RBAC}/namespaces/diff-rights/rolebindings"
    role = lambda name, rules: {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules}
    binding = lambda name, role, user="reader", kind="Role": {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}, "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}]}
    read = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]
    ask("nobody gets", "GET", f"{ns}/configmaps/x", headers=nobody)
    ask("nobody lists", "GET", f"{ns}/configmaps", headers=nobody)
    ask("nobody lists all", "GET", "/api/v1/configmaps", headers=nobody)
    ask("nobody creates", "POST", f"{ns}/configmaps", {"metadata": {"name": "x"}}, headers=nobody)
    ask("nobody deletes some", "DELETE", f"{ns}/configmaps", headers=nobody)
    ask("nobody watches", "GET", f"{ns}/configmaps", query={"watch": "1"}, headers=nobody)
    ask("nobody gets a node", "GET", "/api/v1/nodes/x", headers=nobody)
    ask("nobody gets a subresource", "GET", f"{ns}/pods/x/log", headers=nobody)
    ask("nobody gets a path", "GET", "/metrics", headers=nobody)
    ask("nobody gets the version", "GET", "/version", headers=nobody, ignore=["body"])
    ask("nobody discovers", "GET", "/api", headers=nobody, ignore=["body.serverAddressByClientCIDRs"])
    ask("nobody impersonates", "GET", "/version", headers={"Impersonate-User": "nobody", "Impersonate-Group": "system:masters"}, ignore=["body"])
    ask("group without user", "GET", "/version", headers={"Impersonate-Group": "x"})
    ask("a role", "POST", roles, role("reader", read))
    ask("a binding", "POST", bindings, binding("reader", "reader"))
    for _ in range(100):
        if s.quietly("GET", f"{ns}/configmaps", headers={"Impersonate-User": "reader"}).status_code == 200:
            break
    ask("the reader lists", "GET", f"{ns}/configmaps", headers={"Impersonate-User": "reader"}, query={"labelSelector": "none=none"})
    ask("the reader creates", "POST", f"{ns}/configmaps", {"metadata": {"name": "x"}}, headers={"Impersonate-User": "reader"})
    ask("the reader elsewhere", "GET", "/api/v1/namespaces/default/configmaps", headers={"Impersonate-User": "reader"})
    ask("rules of the reader", "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": "diff-rights"}}, headers={"Impersonate-User": "reader"}, ignore=["body.status.nonResourceRules"])
    ask("the role of a binding may not change", "PUT", f"{bindings}/reader", binding("reader", "other"))
    ask("bad role kind", "POST", bindings, binding("bad", "x", kind="Thing"))
    ask("bad subject", "POST", bindings, {**binding("bad", "x"), "subjects": [{"kind": "Robot", "name": "x"}]})
    ask("service account without namespace", "POST", bindings, {**binding("bad", "x"), "subjects": [{"kind": "ServiceAccount", "name": "x"}]})
    ask("role without verbs", "POST", roles, role("bad", [{"apiGroups": [""], "resources": ["pods"], "verbs": []}]))
    ask("role without resources", "POST", roles, role("bad", [{"apiGroups": [""], "verbs": ["get"]}]))
    ask("role with paths", "POST", roles, role("bad", [{"nonResourceURLs": ["/x"], "verbs": ["get"]}]))
    s.quietly("POST", roles, role("maker", [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["*"]}]))
    s.quietly("POST", bindings, binding("maker", "maker", "maker"))
    maker = {"Impersonate-User": "maker"}
    for _ in range(100):
        if s.quietly("GET", roles, headers=maker).status_code == 200:
            break
    ask("the maker gives what it has not", "POST", roles, role("more", read), headers=maker)
    ask("the maker binds what it has not", "POST", bindings, binding("more", "reader"), headers=maker)
    ask("the maker binds a cluster role", "POST", bindings, binding("admin", "cluster-admin", kind="ClusterRole"), headers=maker)
    ask("a cluster role of others", "POST", f"{RBAC}/clusterroles", {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "diff-aggregate"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"diff": "x"}}]}, "rules": []})
    s.quietly("DELETE", f"{RBAC}/clusterroles/diff-aggregate")
    for name in ("admin", "edit", "view", "cluster-admin", "system:basic-user", "system:discovery", "system:node", "system:kube-scheduler"):
        answer = s.quietly("GET", f"{RBAC}/clusterroles/{name}").json()
        s.keep(f"cluster role {name}", f"GET clusterroles/{name}", {"labels": answer.get("metadata", {}).get("labels"), "aggregationRule": answer.get("aggregationRule")})
    account = {"Impersonate-User": "system:serviceaccount:diff-rights:default"}
    ask("a service account", "GET", f"{ns}/secrets", headers=account)
