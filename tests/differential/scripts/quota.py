"""Quota, limit ranges and pod security: what a namespace refuses."""


def script(s):
    ns = s.namespace("diff-quota")
    ask = s.ask
    pod = lambda name, **container: {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"schedulerName": "nobody", "containers": [{"name": "m", "image": "a", **container}]}}
    s.quietly("POST", f"{ns}/limitranges", {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "default": {"cpu": "200m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}, "min": {"cpu": "50m"}}]}})
    s.until(f"{ns}/limitranges/l", lambda answer: answer.status_code == 200)

    def has_limit():
        return s.quietly("POST", f"{ns}/pods", pod("probe"), query={"dryRun": "All"}).json()["spec"]["containers"][0].get("resources", {}).get("limits")

    for _ in range(200):
        if has_limit():
            break
    ask("limits by default", "POST", f"{ns}/pods", pod("defaulted"))
    ask("too much", "POST", f"{ns}/pods", pod("much", resources={"limits": {"cpu": "2"}}))
    ask("too little", "POST", f"{ns}/pods", pod("little", resources={"requests": {"cpu": "10m"}}))
    secure = s.namespace("diff-restricted")
    s.quietly("PATCH", "/api/v1/namespaces/diff-restricted", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}}}, content="application/merge-patch+json")
    for _ in range(200):
        if s.quietly("POST", f"{secure}/pods", pod("probe"), query={"dryRun": "All"}).status_code == 403:
            break
    ask("restricted", "POST", f"{secure}/pods", pod("plain"))
    ask("privileged", "POST", f"{secure}/pods", pod("privileged", securityContext={"privileged": True}))
    good = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    ask("within bounds", "POST", f"{secure}/pods", pod("good", securityContext=good))
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "m", "image": "a"}]}}
    ask("a deployment is warned of", "POST", "/apis/apps/v1/namespaces/diff-restricted/deployments", {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}}, query={"dryRun": "All"})
    ask("a bad level", "PATCH", "/api/v1/namespaces/diff-restricted", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "harsh"}}}, content="application/merge-patch+json")
