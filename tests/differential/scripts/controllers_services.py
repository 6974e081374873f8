"""Services: their Endpoints and EndpointSlices, as pods come, get ready and end."""

from ..observing import Observer, pod_spec

PODS = "pods"


def script(s):
    seen = Observer(s, s.namespace("diff-services"))
    slices, ends = "discovery.k8s.io/endpointslices", "endpoints"
    found = (ends, slices)
    port = {"name": "http", "port": 80, "targetPort": "web"}
    service = lambda name, **spec: {"metadata": {"name": name, "labels": {"of": name}}, "spec": {"selector": {"app": "svc"}, "ports": [port], **spec}}
    seen.create("services", service("plain"))
    seen.create("services", service("headless", clusterIP="None"))
    seen.create("services", service("early", publishNotReadyAddresses=True))
    seen.until_count(slices, 3)
    seen.keep("services without pods", *found)
    # Only pods on a node that is there are listed; this one has no kubelet.
    s.quietly("POST", "/api/v1/nodes", {"metadata": {"name": "nowhere"}})
    container = {"name": "main", "image": "a:1", "ports": [{"name": "web", "containerPort": 8080}]}
    for name in ("one", "two"):
        seen.create(PODS, {"metadata": {"name": name, "labels": {"app": "svc"}}, "spec": pod_spec(containers=[container], hostname=name, subdomain="headless", nodeName="nowhere")})
    # A service may have a slice per set of ports.
    count = lambda wanted: lambda items: sum(len(item.get("endpoints") or []) for item in items) == 3 * wanted
    pods = {pod["metadata"]["name"]: pod for pod in seen.list(PODS)}
    seen.say_of_pod(pods["one"], "Running", True)
    seen.until_list(slices, count(1))
    seen.keep("services with a pod", *found)
    seen.say_of_pod(pods["two"], "Running", False)
    seen.until_list(slices, count(2))
    seen.keep("services with a pod that is not ready", *found)
    seen.say_of_pod(pods["two"], "Running", True)
    is_ready = lambda items: all(end["conditions"]["ready"] for item in items for end in item.get("endpoints") or [])
    seen.until_list(slices, is_ready)
    seen.keep("services with two pods", *found)
    seen.say_of_pod(pods["two"], "Succeeded", False)
    seen.until_list(slices, count(1))
    seen.keep("services with a pod that ended", *found)
    seen.merge("services", "plain", {"spec": {"ports": [{"name": "http", "port": 80, "targetPort": 9090}, {"name": "more", "port": 81}]}})
    seen.until_list(slices, lambda items: any(len(item.get("ports") or []) == 2 for item in items))
    seen.keep("services with other ports", *found)
    seen.delete("services", "plain")
    seen.until_count(slices, 2)
    seen.keep("service deleted", *found)
    for name in ("one", "two"):
        s.quietly("DELETE", seen.path(PODS, name), {"gracePeriodSeconds": 0})
    s.quietly("DELETE", "/api/v1/nodes/nowhere")
