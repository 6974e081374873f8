"""The API on the wire, over TLS against the running binary: what clients rely on beyond kubectl's own words."""

import base64
import http.client
import json
import os
import pathlib
import ssl
import subprocess
import threading
import urllib.parse

import pytest
import websocket
import yaml
from conftest import ROOT, until

KUBE_RS = pathlib.Path(os.environ.get("FERROFLOW_KUBE_RS", ROOT / "target/debug/examples/kube_client"))

WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.api.example.com"},
    "spec": {
        "group": "api.example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                "additionalPrinterColumns": [{"name": "Colour", "type": "string", "jsonPath": ".spec.colour"}],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["size"],
                                "properties": {
                                    "size": {"type": "integer", "minimum": 1, "description": "How large it is."},
                                    "colour": {"type": "string", "default": "red", "enum": ["red", "blue"]},
                                    "replicas": {"type": "integer", "default": 1},
                                },
                                "x-kubernetes-validations": [{"rule": "self.colour != 'blue' || self.size > 2", "message": "blue ones are large"}],
                            },
                            "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
                        },
                    }
                },
            }
        ],
    },
}


class Wire:
    """HTTPS requests to the API server with the administrator's token, or with another or none."""

    def __init__(self, platform):
        config = yaml.safe_load(platform.kubeconfig.read_text())
        cluster = config["clusters"][0]["cluster"]
        server = urllib.parse.urlsplit(cluster["server"])
        self.host, self.port = server.hostname, server.port
        self.tls = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        self.user = config["users"][0]["user"]
        if "token" not in self.user:
            for name, key in (("client.crt", "client-certificate-data"), ("client.key", "client-key-data")):
                path = platform.folder / name
                path.write_bytes(base64.b64decode(self.user[key]))
                path.chmod(0o600)
            self.identified = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
            self.identified.load_cert_chain(platform.folder / "client.crt", platform.folder / "client.key")
        else:
            self.identified = self.tls

    def connection(self, is_known=True):
        return http.client.HTTPSConnection(self.host, self.port, context=self.identified if is_known else self.tls, timeout=60)

    def headers(self, is_known=True):
        return {"Authorization": f"Bearer {self.user['token']}"} if is_known and "token" in self.user else {}

    def __call__(self, method, path, body=None, headers=None, is_known=True):
        """Status, headers and the decoded body of an answer."""
        connection = self.connection(is_known)
        given = {"Content-Type": "application/json", **self.headers(is_known), **(headers or {})}
        connection.request(method, path, body if isinstance(body, (bytes, str, type(None))) else json.dumps(body), given)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        try:
            return answer.status, answer.headers, json.loads(text)
        except ValueError:
            return answer.status, answer.headers, text.decode()

    def get(self, path, **headers):
        status, _, body = self("GET", path, headers=headers)
        assert status == 200, body
        return body


@pytest.fixture(scope="module")
def wire(platform):
    return Wire(platform)


@pytest.fixture(scope="module")
def namespace(platform):
    platform.kubectl("create", "namespace", "wire")
    until(lambda: "default" in platform.kubectl("-n", "wire", "get", "serviceaccounts", "-o", "name"))
    yield "wire"
    platform.kubectl("delete", "namespace", "wire", "--wait=false")


@pytest.fixture(scope="module")
def widgets(platform):
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(WIDGETS))
    platform.kubectl("wait", "crd/widgets.api.example.com", "--for=condition=Established", "--timeout=30s")
    yield
    platform.kubectl("delete", "crd", "widgets.api.example.com")


# Watch lists, which a Kubernetes of 1.33 has behind a gate, are always on here.
@pytest.mark.one_machine
def test_kube_rs_works_over_tls_with_nothing_but_a_kubeconfig(platform):
    assert KUBE_RS.exists(), f"{KUBE_RS} is missing: cargo build --workspace --example kube_client"
    env = {"KUBECONFIG": str(platform.kubeconfig), "PATH": os.environ["PATH"]}
    done = subprocess.run([str(KUBE_RS), "kube-rs"], capture_output=True, text=True, env=env, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "namespace gone" and len(done.stdout.splitlines()) == 7, done.stdout


@pytest.mark.one_machine
def test_a_watch_list_streams_what_is_there_and_marks_the_end(wire, namespace):
    for name in ("one", "two"):
        assert wire("POST", f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": name, "labels": {"of": "list"}}})[0] == 201
    connection = wire.connection()
    path = f"/api/v1/namespaces/{namespace}/configmaps?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=of%3Dlist&timeoutSeconds=30"
    connection.request("GET", path, headers=wire.headers())
    answer = connection.getresponse()
    assert answer.status == 200
    events = [json.loads(answer.readline()) for _ in range(3)]
    assert [(event["type"], event["object"]["metadata"].get("name")) for event in events[:2]] == [("ADDED", "one"), ("ADDED", "two")]
    assert events[2]["type"] == "BOOKMARK"
    assert events[2]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert wire("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/one")[0] == 200
    event = json.loads(answer.readline())
    assert (event["type"], event["object"]["metadata"]["name"]) == ("DELETED", "one")
    connection.close()


@pytest.mark.one_machine
def test_a_watch_from_a_revision_of_the_future_is_refused_in_words(wire):
    connection = wire.connection()
    connection.request("GET", "/api/v1/configmaps?watch=1&resourceVersion=99999999999&timeoutSeconds=5", headers=wire.headers())
    answer = connection.getresponse()
    first = json.loads(answer.readline())
    message = first["object"]["message"] if first.get("type") == "ERROR" else first["message"]
    assert "Too large resource version" in message
    connection.close()


def test_discovery_in_one_answer_and_in_many(wire, widgets):
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    found = wire.get("/apis", Accept=accept)
    assert (found["kind"], found["apiVersion"]) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io/v2")
    groups = {group["metadata"]["name"]: group for group in found["items"]}
    (widget,) = groups["api.example.com"]["versions"][0]["resources"]
    assert widget["shortNames"] == ["wd"] and {sub["subresource"] for sub in widget["subresources"]} == {"status", "scale"}
    core = wire.get("/api", Accept=accept)["items"][0]["versions"][0]["resources"]
    pods = next(resource for resource in core if resource["resource"] == "pods")
    assert {"log", "exec", "status", "binding", "eviction"} <= {sub["subresource"] for sub in pods["subresources"]}
    assert {group["name"] for group in wire.get("/apis")["groups"]} == set(groups)
    resources = wire.get("/apis/apps/v1")["resources"]
    assert {"deployments", "deployments/status", "deployments/scale"} <= {resource["name"] for resource in resources}


def test_schemas_of_every_group_are_published(wire, widgets, platform):
    until(lambda: "apis/api.example.com/v1" in wire.get("/openapi/v3")["paths"])
    paths = wire.get("/openapi/v3")["paths"]
    assert {"api/v1", "apis/apps/v1"} <= set(paths)
    document = wire.get(paths["apis/apps/v1"]["serverRelativeURL"])
    assert document["openapi"].startswith("3.")
    assert "io.k8s.api.apps.v1.Deployment" in document["components"]["schemas"]
    assert "How large it is." in platform.kubectl("explain", "widget.spec.size")


def test_a_custom_kind_is_defaulted_validated_shown_and_scaled(wire, widgets, platform):
    def widget(name, **spec):
        return {"apiVersion": "api.example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}

    collection = "/apis/api.example.com/v1/namespaces/default/widgets"
    status, _, made = wire("POST", collection, widget("a", size=1))
    assert status == 201 and made["spec"] == {"size": 1, "colour": "red", "replicas": 1}
    for spec, words in (({}, "spec.size: Required value"), ({"size": 0}, "spec.size"), ({"size": 1, "colour": "green"}, "spec.colour: Unsupported value"), ({"size": 2, "colour": "blue"}, "blue ones are large")):
        status, _, refused = wire("POST", collection, widget("b", **spec))
        assert (status, refused["reason"]) == (422, "Invalid") and words in refused["message"], refused
    merge = {"Content-Type": "application/merge-patch+json"}
    _, _, after = wire("PATCH", f"{collection}/a", {"status": {"replicas": 3}}, merge)
    assert "status" not in after
    _, _, after = wire("PATCH", f"{collection}/a/status", {"spec": {"size": 9}, "status": {"replicas": 3}}, merge)
    assert after["status"] == {"replicas": 3} and after["spec"]["size"] == 1
    assert after["metadata"]["generation"] == 1
    platform.kubectl("scale", "widgets.api.example.com/a", "--replicas=4")
    scale = wire.get(f"{collection}/a/scale")
    assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (4, 3)
    assert platform.kubectl("get", "wd").splitlines()[0].split() == ["NAME", "COLOUR"]


@pytest.mark.parametrize("mode, expected", [("Strict", 400), ("Warn", 201), ("Ignore", 201)])
def test_an_unknown_field_is_refused_warned_of_or_ignored_as_asked(wire, namespace, mode, expected):
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"unknown-{mode.lower()}"}, "dota": {"a": "b"}}
    status, headers, answer = wire("POST", f"/api/v1/namespaces/{namespace}/configmaps?fieldValidation={mode}", body)
    assert status == expected, answer
    warning = headers.get("Warning", "")
    assert ('unknown field \\"dota\\"' in warning or 'unknown field "dota"' in warning) == (mode == "Warn"), warning
    if mode == "Strict":
        assert answer["reason"] == "BadRequest" and 'unknown field "dota"' in answer["message"]
    else:
        assert "dota" not in answer


def test_what_a_manifest_says_is_kept_though_nothing_acts_on_it(wire, namespace):
    spec = {
        "schedulerName": "somebody-else",
        "priority": 0,
        "dnsConfig": {"nameservers": ["10.0.0.1"], "options": [{"name": "ndots", "value": "2"}]},
        "readinessGates": [{"conditionType": "example.com/gate"}],
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"a": "b"}}}],
        "hostAliases": [{"ip": "10.1.2.3", "hostnames": ["elsewhere"]}],
        "containers": [
            {
                "name": "main",
                "image": "alpine:3.20",
                "lifecycle": {"preStop": {"exec": {"command": ["true"]}}},
                "startupProbe": {"grpc": {"port": 1, "service": ""}},
                "securityContext": {"seLinuxOptions": {"level": "s0"}, "appArmorProfile": {"type": "RuntimeDefault"}},
                "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
            }
        ],
    }
    status, _, made = wire("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", {"metadata": {"name": "full"}, "spec": spec})
    assert status == 201, made
    for key in set(spec) - {"containers"}:
        assert made["spec"][key] == spec[key], key
    for key in ("lifecycle", "securityContext", "resizePolicy"):
        assert made["spec"]["containers"][0][key] == spec["containers"][0][key], key
    assert made["spec"]["containers"][0]["startupProbe"]["grpc"]["port"] == 1
    ingress = {"metadata": {"name": "i"}, "spec": {"ingressClassName": "none", "rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}}
    status, _, made = wire("POST", f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses?dryRun=All", ingress)
    assert status == 201 and made["spec"] == ingress["spec"]
    ingress["spec"]["rules"][0]["http"]["paths"][0]["pathType"] = "Sideways"
    status, _, refused = wire("POST", f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses?dryRun=All", ingress)
    assert status == 422 and "pathType" in refused["message"], refused


def test_an_oversized_body_is_refused_and_nothing_is_written(wire, namespace):
    body = {"metadata": {"name": "huge"}, "data": {"a": "x" * (4 << 20)}}
    status, _, answer = wire("POST", f"/api/v1/namespaces/{namespace}/configmaps", body)
    assert (status, answer["reason"]) == (413, "RequestEntityTooLarge"), answer
    assert wire("GET", f"/api/v1/namespaces/{namespace}/configmaps/huge")[0] == 404


@pytest.mark.parametrize("name", ["../secrets", "..", ".", "a/b", "a%2Fb", "A", "a" * 254, ""])
def test_a_name_that_walks_is_refused(wire, namespace, name):
    status, _, answer = wire("POST", f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": name}})
    assert status == 422 and "metadata.name" in answer["message"], answer
    assert not list(pathlib.Path("/tmp").glob("secrets*"))


@pytest.mark.parametrize("path", ["/api/v1/namespaces/wire/configmaps/..%2f..%2fkube-system%2fsecrets%2fx", "/api/v1/namespaces/..%2fkube-system/secrets", "/api/v1/namespaces/wire/pods/%2e%2e/log"])
def test_a_path_that_walks_finds_nothing(wire, namespace, path):
    status, _, answer = wire("GET", path)
    items = answer.get("items", []) if isinstance(answer, dict) else []
    assert status in (400, 404) or (status == 200 and items == []), answer


# Others may have anonymous requests on.
@pytest.mark.one_machine
def test_nobody_is_told_to_sign_in_and_a_stranger_what_is_missing(wire, platform):
    status, _, answer = wire("GET", "/api/v1/pods", is_known=False)
    assert (status, answer["reason"], answer["message"], answer["kind"]) == (401, "Unauthorized", "Unauthorized", "Status")
    assert wire("GET", "/api/v1/pods", headers={"Authorization": "Bearer nonsense"}, is_known=False)[0] == 401
    status, _, answer = wire("GET", "/api/v1/namespaces/default/secrets", headers={"Impersonate-User": "ann"})
    assert (status, answer["reason"]) == (403, "Forbidden")
    assert answer["message"] == 'secrets is forbidden: User "ann" cannot list resource "secrets" in API group "" in the namespace "default"'
    assert answer["details"]["kind"] == "secrets"


@pytest.mark.parametrize("body, words", [("{", "unrecognized"), ("[]", "object"), ('{"kind": "Pod", "apiVersion": "v1"}', "cannot be handled as"), ('{"metadata": {"name": 7}}', "name")])
def test_unreadable_bodies_are_refused_in_words(wire, namespace, body, words):
    status, _, answer = wire("POST", f"/api/v1/namespaces/{namespace}/configmaps", body)
    assert status in (400, 422) and answer["kind"] == "Status" and words in answer["message"], answer


def test_unreadable_yaml_is_refused_in_words(wire, namespace):
    status, _, answer = wire("POST", f"/api/v1/namespaces/{namespace}/configmaps", "a: [", {"Content-Type": "application/yaml"})
    assert status == 400 and answer["message"], answer


@pytest.fixture(scope="module")
def shell(platform, namespace):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shell"}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "main", "image": "alpine:3.20", "command": ["sleep", "600"]}]}}
    platform.kubectl("-n", namespace, "apply", "-f", "-", stdin=json.dumps(pod))
    platform.kubectl("-n", namespace, "wait", "pod/shell", "--for=condition=Ready", "--timeout=60s")
    return f"/api/v1/namespaces/{namespace}/pods/shell"


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
def test_exec_speaks_both_websocket_protocols(wire, shell, protocol):
    query = "stdin=1&stdout=1&stderr=1&command=sh&command=-c&command=" + "head%20-c%205%3B%20echo%20problem%20%3E%262%3B%20exit%204"
    certificates = {"sslopt": {"context": wire.identified}}
    socket = websocket.create_connection(f"wss://{wire.host}:{wire.port}{shell}/exec?{query}", subprotocols=[protocol], header=wire.headers(), timeout=60, **certificates)
    assert socket.getsubprotocol() == protocol
    socket.send_binary(b"\x00hello")
    if protocol.startswith("v5"):
        socket.send_binary(b"\xff\x00")
    said = {}
    while True:
        try:
            frame = socket.recv()
        except websocket.WebSocketConnectionClosedException:
            break
        if not frame:
            break
        frame = frame if isinstance(frame, bytes) else frame.encode()
        said[frame[0]] = said.get(frame[0], b"") + frame[1:]
    socket.close()
    assert (said.get(1), said.get(2)) == (b"hello", b"problem\n")
    status = json.loads(said[3])
    assert status["reason"] == "NonZeroExitCode" and status["details"]["causes"] == [{"reason": "ExitCode", "message": "4"}]


def test_the_service_proxy_reaches_a_service_and_a_pod(wire, platform, namespace):
    manifest = """
apiVersion: v1
kind: Pod
metadata: {name: site, labels: {app: site}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: python:3.11
    command: [sh, -c, "mkdir -p /tmp/w/deep && echo hello > /tmp/w/deep/page && cd /tmp/w && exec python3 -m http.server 8000"]
    ports: [{name: http, containerPort: 8000}]
    readinessProbe: {tcpSocket: {port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: site}
spec: {selector: {app: site}, ports: [{name: web, port: 80, targetPort: http}]}
"""
    platform.kubectl("-n", namespace, "apply", "-f", "-", stdin=manifest)
    platform.kubectl("-n", namespace, "wait", "pod/site", "--for=condition=Ready", "--timeout=90s")
    base = f"/api/v1/namespaces/{namespace}"
    until(lambda: wire("GET", f"{base}/services/site:web/proxy/deep/page")[0] == 200)
    for path in ("services/site:web/proxy/deep/page", "services/http:site:80/proxy/deep/page", "pods/site:8000/proxy/deep/page"):
        status, _, text = wire("GET", f"{base}/{path}")
        assert (status, text) == (200, "hello\n"), (path, text)
    assert wire("GET", f"{base}/services/site:web/proxy/none")[0] == 404
    status, _, answer = wire("GET", f"{base}/services/site:web/proxy/", headers={"Impersonate-User": "ann"})
    assert status == 403 and answer["reason"] == "Forbidden"
    status, _, answer = wire("GET", f"{base}/services/absent/proxy/")
    assert status == 404 and 'services "absent" not found' in answer["message"]


def test_tables_and_metadata_alone(wire, namespace):
    table = wire.get(f"/api/v1/namespaces/{namespace}/pods", Accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert table["kind"] == "Table" and [column["name"] for column in table["columnDefinitions"]][:3] == ["Name", "Ready", "Status"]
    partial = wire.get(f"/api/v1/namespaces/{namespace}/pods", Accept="application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
    assert partial["kind"] == "PartialObjectMetadataList" and all("spec" not in item for item in partial["items"])


def test_pages_show_one_moment(wire, namespace):
    for index in range(5):
        wire("POST", f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": f"page-{index}", "labels": {"of": "pages"}}})
    path = f"/api/v1/namespaces/{namespace}/configmaps?labelSelector=of%3Dpages&limit=2"
    first = wire.get(path)
    assert len(first["items"]) == 2
    wire("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/page-3")
    names = [item["metadata"]["name"] for item in first["items"]]
    following = first
    while following["metadata"].get("continue"):
        following = wire.get(f"{path}&continue={following['metadata']['continue']}")
        names += [item["metadata"]["name"] for item in following["items"]]
    assert names == [f"page-{index}" for index in range(5)]


def test_the_python_client_creates_reads_changes_watches_and_deletes(platform, namespace):
    from kubernetes import client, config, dynamic, watch
    from kubernetes.client.exceptions import ApiException

    config.load_kube_config(str(platform.kubeconfig))
    core, apps = client.CoreV1Api(), client.AppsV1Api()
    labels = {"app": "py"}
    template = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(termination_grace_period_seconds=1, containers=[client.V1Container(name="main", image="alpine:3.20", command=["sleep", "600"])]))
    made = apps.create_namespaced_deployment(namespace, client.V1Deployment(metadata=client.V1ObjectMeta(name="py"), spec=client.V1DeploymentSpec(replicas=1, selector=client.V1LabelSelector(match_labels=labels), template=template)))
    assert made.metadata.uid and made.status.observed_generation in (None, 1)
    for event in watch.Watch().stream(apps.list_namespaced_deployment, namespace, field_selector="metadata.name=py", timeout_seconds=90):
        if event["object"].status.available_replicas == 1:
            break
    else:
        raise AssertionError("the deployment did not become available")
    assert apps.patch_namespaced_deployment_scale("py", namespace, {"spec": {"replicas": 2}}).spec.replicas == 2
    assert until(lambda: replaced(apps, namespace, 0)).spec.replicas == 0
    made.spec.replicas = 5
    with pytest.raises(ApiException) as conflict:
        apps.replace_namespaced_deployment("py", namespace, made)
    assert conflict.value.status == 409
    until(lambda: not core.list_namespaced_pod(namespace, label_selector="app=py").items)
    apps.delete_namespaced_deployment("py", namespace)
    with pytest.raises(ApiException) as missing:
        apps.read_namespaced_deployment("py", namespace)
    assert missing.value.status == 404
    anything = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="v1", kind="ConfigMap")
    assert anything.create(body={"metadata": {"name": "dynamic"}, "data": {"a": "b"}}, namespace=namespace).data.a == "b"
    applied = anything.server_side_apply(body={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dynamic"}, "data": {"c": "d"}}, name="dynamic", namespace=namespace, field_manager="py")
    assert applied.data.to_dict() == {"a": "b", "c": "d"}


def replaced(apps, namespace, replicas):
    """Read, change, write; nothing where a controller was faster."""
    from kubernetes.client.exceptions import ApiException

    read = apps.read_namespaced_deployment("py", namespace)
    read.spec.replicas = replicas
    try:
        return apps.replace_namespaced_deployment("py", namespace, read)
    except ApiException as refused:
        assert refused.status == 409
        return None


@pytest.mark.one_machine
def test_many_watchers_see_every_change(wire, namespace):
    seen = [[] for _ in range(8)]

    def follow(into):
        connection = wire.connection()
        connection.request("GET", f"/api/v1/namespaces/{namespace}/configmaps?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=of%3Dcrowd&timeoutSeconds=60", headers=wire.headers())
        answer = connection.getresponse()
        while len(into) < 20:
            event = json.loads(answer.readline())
            if event["type"] != "BOOKMARK":
                into.append(event["object"]["metadata"]["name"])
        connection.close()

    threads = [threading.Thread(target=follow, args=(into,)) for into in seen]
    for thread in threads:
        thread.start()
    for index in range(20):
        wire("POST", f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": f"crowd-{index:02}", "labels": {"of": "crowd"}}})
    for thread in threads:
        thread.join(60)
    assert all(names == [f"crowd-{index:02}" for index in range(20)] for names in seen)
