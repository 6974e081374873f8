"""What goes through a connection that stays open, with every kubectl from 1.27 on: exec, attach, cp, port-forward."""

import concurrent.futures
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
import urllib.error
import urllib.request

import pytest
from conftest import until as eventually

NAMESPACE = "streaming"

# Says on 8080 (all addresses) and 9090 (loopback alone) who asks; on 7070 it answers after the question has ended.
SERVER = """
import hashlib, http.server, json, socketserver, threading
class Who(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps({"from": self.client_address[0], "port": self.server.server_address[1]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
class Digest(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(hashlib.sha256(self.rfile.read()).hexdigest().encode())
class Server(socketserver.ThreadingTCPServer):
    daemon_threads, allow_reuse_address, request_queue_size = True, True, 100
class Web(http.server.ThreadingHTTPServer):
    request_queue_size = 100
threading.Thread(target=Web(("127.0.0.1", 9090), Who).serve_forever, daemon=True).start()
threading.Thread(target=Server(("", 7070), Digest).serve_forever, daemon=True).start()
Web(("", 8080), Who).serve_forever()
"""

OBJECTS = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "box"},
            "spec": {
                "selector": {"matchLabels": {"app": "box"}},
                "template": {
                    "metadata": {"labels": {"app": "box"}},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "containers": [
                            {
                                "name": "main",
                                "image": "python:3.11",
                                "command": ["python3", "-c", SERVER],
                                "ports": [{"name": "http", "containerPort": 8080}],
                                "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
                            }
                        ],
                    },
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "box"},
            "spec": {"selector": {"app": "box"}, "ports": [{"name": "web", "port": 80, "targetPort": "http"}, {"name": "local", "port": 90, "targetPort": 9090}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "listener"},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{"name": "main", "image": "python:3.11", "stdin": True, "command": ["sh", "-c", 'while read line; do echo "heard $line"; done']}],
            },
        },
    ],
}


class Kubectl:
    """One version of kubectl in the namespace of these tests."""

    def __init__(self, platform, binary: str):
        self.platform, self.binary = platform, binary
        self.env = {**os.environ, "KUBECONFIG": str(platform.kubeconfig), "HOME": str(platform.folder / "kubectl-home")}

    def command(self, *arguments, namespace=NAMESPACE) -> list:
        return [self.binary, "-n", namespace, *map(str, arguments)]

    def run(self, *arguments, stdin=b"", timeout=90, **options) -> subprocess.CompletedProcess:
        return subprocess.run(self.command(*arguments, **options), input=stdin, capture_output=True, env=self.env, timeout=timeout)

    def out(self, *arguments, **options) -> str:
        done = self.run(*arguments, **options)
        assert done.returncode == 0, (self.binary, arguments, done.stdout, done.stderr)
        return done.stdout.decode()

    @contextlib.contextmanager
    def forward(self, *arguments, **options):
        """A running port-forward: its process, and the local ports by the remote ones."""
        process = subprocess.Popen(
            self.command("port-forward", *arguments, **options), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.env
        )
        wanted = [argument for argument in arguments if ":" in argument or argument.isdigit()]
        ports, lines = {}, []
        try:
            while len(ports) < len(wanted):
                line = process.stdout.readline()
                assert line, (self.binary, arguments, lines)
                lines.append(line)
                if found := re.search(r"Forwarding from 127\.0\.0\.1:(\d+) -> (\d+)", line):
                    ports[int(found[2])] = int(found[1])
            # It prints a line per connection; nobody reading them would stop it.
            rest = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
            rest.start()
            yield process, ports, lines
        finally:
            process.terminate()
            process.wait(timeout=20)


@pytest.fixture(scope="module")
def box(platform):
    """The pods that all versions talk to."""
    platform.kubectl("create", "namespace", NAMESPACE)
    platform.kubectl("-n", NAMESPACE, "apply", "-f", "-", stdin=json.dumps(OBJECTS))
    platform.kubectl("-n", NAMESPACE, "rollout", "status", "deploy/box", "--timeout=120s", timeout=150)
    platform.kubectl("-n", NAMESPACE, "wait", "pod/listener", "--for=condition=Ready", "--timeout=120s", timeout=150)
    yield platform.kubectl("-n", NAMESPACE, "get", "pods", "-l", "app=box", "-o", "jsonpath={.items[0].metadata.name}")
    platform.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture(params=range(27, 34), ids=lambda minor: f"1.{minor}")
def kubectl(request, platform, kubectls):
    """Each kubectl that this machine has."""
    named = [binary for binary in kubectls if binary.endswith(f"1.{request.param}")]
    if not named and request.param == 33 and len(kubectls) == 1:
        named = kubectls
    if not named:
        pytest.skip(f"this machine has no kubectl 1.{request.param}")
    return Kubectl(platform, named[0])


def get(port: int, path="/", headers=None):
    """Status and body of an answer on loopback."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_exec_keeps_the_streams_apart_and_ends_with_the_commands_code(kubectl, box):
    done = kubectl.run("exec", box, "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout) == (7, b"out\n"), done
    assert b"err\n" in done.stderr and b"exit code 7" in done.stderr
    data = os.urandom(700_000)
    assert kubectl.run("exec", "-i", box, "--", "cat", stdin=data).stdout == data
    missing = kubectl.run("exec", box, "--", "no-such-program")
    assert missing.returncode != 0 and b"no-such-program" in missing.stderr, missing
    assert b"container nowhere is not valid" in kubectl.run("exec", box, "-c", "nowhere", "--", "true").stderr


def test_a_terminal_follows_the_size_of_its_window(kubectl, box):
    def size(rows: int, columns: int):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def until(text: bytes) -> None:
        nonlocal seen
        deadline = time.monotonic() + 60
        while text not in seen:
            assert time.monotonic() < deadline, seen
            seen += os.read(terminal, 4096)

    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(kubectl.binary, kubectl.command("exec", "-it", box, "--", "sh", "-c", "while read want; do until [ \"$(stty size)\" = \"$want\" ]; do sleep 0.02; done; echo is-$want; done; exit 5"), kubectl.env)
    seen = b""
    try:
        for rows, columns in [(31, 101), (44, 99)]:
            size(rows, columns)
            os.kill(pid, signal.SIGWINCH)
            os.write(terminal, f"{rows} {columns}\n".encode())
            until(f"is-{rows} {columns}".encode())
        os.write(terminal, b"\x04")
        with contextlib.suppress(OSError):
            while os.read(terminal, 4096):
                pass
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    finally:
        os.close(terminal)


def test_cp_carries_files_and_folders_both_ways(kubectl, box, tmp_path):
    data = os.urandom(400_000)
    (tmp_path / "sent" / "inner").mkdir(parents=True)
    (tmp_path / "sent" / "inner" / "data").write_bytes(data)
    (tmp_path / "sent" / "empty").write_bytes(b"")
    kubectl.out("cp", tmp_path / "sent", f"{box}:/tmp/{kubectl.binary[-4:]}")
    kubectl.out("cp", f"{box}:/tmp/{kubectl.binary[-4:]}", tmp_path / "back")
    assert (tmp_path / "back" / "inner" / "data").read_bytes() == data
    assert (tmp_path / "back" / "empty").read_bytes() == b""


def test_attach_joins_what_runs(kubectl, box):
    process = subprocess.Popen(kubectl.command("attach", "-i", "listener"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=kubectl.env)
    process.stdin.write(b"you\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"heard you\n"
    process.stdin.close()
    process.terminate()
    process.wait(timeout=20)
    # It goes on without its client.
    assert kubectl.out("get", "pod", "listener", "-o", "jsonpath={.status.phase}") == "Running"


def test_run_with_input_ends_with_it_and_is_removed(kubectl, box):
    name = f"once-{kubectl.binary[-2:]}"
    said = kubectl.out("run", name, "-i", "--rm", "--restart=Never", "--image=python:3.11", "--command", "--", "sh", "-c", "sleep 0.5; cat; echo end", stdin=b"hello\n")
    assert "hello\nend\n" in said and f'pod "{name}" deleted' in said, said
    assert kubectl.run("get", "pod", name).returncode != 0


@pytest.mark.parametrize("what", ["pod", "deployment", "service"])
def test_port_forward_finds_the_pod_and_its_port(kubectl, box, what):
    target, ports = {
        "pod": (f"pod/{box}", [":8080", ":9090", ":http"]),
        "deployment": ("deploy/box", [":8080"]),
        "service": ("svc/box", [":80", ":local"]),
    }[what]
    # Two ports of one number cannot be told apart below, so the named one goes alone.
    for chosen in [ports[:2], ports[2:]]:
        if not chosen:
            continue
        with kubectl.forward(target, *chosen, "--address=127.0.0.1") as (_, local, _lines):
            for remote, port in local.items():
                status, body = get(port)
                assert (status, json.loads(body)) == (200, {"from": "127.0.0.1", "port": remote})


@pytest.mark.one_machine
def test_many_forwarded_connections_at_once_and_each_half_ends_alone(kubectl, box):
    import hashlib

    def digest(number: int) -> bool:
        data = bytes([number]) * 200_000
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        return answer.decode() == hashlib.sha256(data).hexdigest()

    with kubectl.forward(f"pod/{box}", ":7070") as (_, ports, lines):
        port = ports[7070]
        with concurrent.futures.ThreadPoolExecutor(40) as pool:
            assert all(pool.map(digest, range(80))), lines


def test_a_port_where_nobody_listens_is_said(kubectl, box):
    with kubectl.forward(f"pod/{box}", ":7999") as (process, ports, lines):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", ports[7999]), timeout=30) as connection:
            connection.recv(1)
        deadline = time.monotonic() + 30
        while "refused" not in "".join(lines).lower():
            assert time.monotonic() < deadline, lines
            time.sleep(0.05)
    assert "error forwarding port 7999 to pod" in "".join(lines)


def test_the_console_is_reached_through_its_service(kubectl):
    with kubectl.forward("svc/dashboard", ":80", namespace="kubeflow") as (_, ports, _lines):
        status, body = get(next(iter(ports.values())), headers={"Accept": "text/html"})
        assert status in (200, 401) and "<html" in body.lower(), (status, body)


@pytest.mark.one_machine
def test_a_forwarded_request_is_not_believed_about_its_user(kubectl):
    forged = {"X-Remote-User": "kubernetes-admin", "X-Remote-Group": "system:masters"}
    runs = "/apis/v2beta1/runs?namespace=kubeflow"
    with kubectl.forward("svc/ml-pipeline", ":8888", namespace="kubeflow") as (_, ports, _lines):
        status, body = get(next(iter(ports.values())), runs, forged)
        assert status == 401, body
    # The API server's own proxy says who asks, and is believed.
    proxied = kubectl.out("get", "--raw", f"/api/v1/namespaces/kubeflow/services/ml-pipeline:8888/proxy{runs}", namespace="kubeflow")
    assert isinstance(json.loads(proxied), dict)


def test_a_probe_is_not_believed_about_its_user(platform, box):
    """Probes come from the node too, and whoever makes a pod writes their headers."""
    address = platform.kubectl("-n", "kubeflow", "get", "endpoints", "ml-pipeline", "-o", "jsonpath={.subsets[0].addresses[0].ip}")
    probe = {
        "httpGet": {"host": address, "port": 8888, "path": "/apis/v2beta1/runs?namespace=kubeflow", "httpHeaders": [{"name": "X-Remote-User", "value": "kubernetes-admin"}]},
        "periodSeconds": 1,
    }
    container = {"name": "main", "image": "python:3.11", "command": ["sleep", "600"], "readinessProbe": probe}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "forger"}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}
    platform.kubectl("-n", NAMESPACE, "apply", "-f", "-", stdin=json.dumps(pod))
    deadline = time.monotonic() + 60
    while "statuscode: 401" not in (events := platform.kubectl("-n", NAMESPACE, "get", "events", "--field-selector=involvedObject.name=forger", "-o", "jsonpath={.items[*].message}")):
        assert time.monotonic() < deadline, events
        time.sleep(0.2)
    platform.kubectl("-n", NAMESPACE, "delete", "pod", "forger", "--wait=false")


WORKER = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: merged}
spec:
  replicas: 0
  selector: {matchLabels: {app: merged}}
  template:
    metadata: {labels: {app: merged}}
    spec:
      containers:
      - name: main
        image: python:3.11
        env: [{name: A, value: "1"}]
"""

WAGONS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: wagons.streaming.example.com}
spec:
  group: streaming.example.com
  scope: Namespaced
  names: {plural: wagons, singular: wagon, kind: Wagon}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              wheels: {type: integer, nullable: true, description: How many it rolls on.}
              any: {x-kubernetes-int-or-string: true}
"""


def test_apply_merges_by_name_as_the_published_schemas_say(kubectl, box):
    kubectl.out("apply", "-f", "-", stdin=WORKER.encode())
    kubectl.out("patch", "deploy", "merged", "-p", '{"spec":{"template":{"spec":{"containers":[{"name":"beside","image":"python:3.11"}]}}}}')
    kubectl.out("apply", "-f", "-", stdin=WORKER.replace('value: "1"', 'value: "2"').encode())
    merged = json.loads(kubectl.out("get", "deploy", "merged", "-o", "json"))["spec"]["template"]["spec"]["containers"]
    assert {container["name"]: container.get("env") for container in merged} == {"main": [{"name": "A", "value": "2"}], "beside": None}
    kubectl.out("delete", "deploy", "merged")


def test_custom_resources_are_explained_and_applied(kubectl, box):
    kubectl.out("apply", "-f", "-", stdin=WAGONS.encode())
    kubectl.out("wait", "crd/wagons.streaming.example.com", "--for=condition=Established", "--timeout=30s")
    # A server may publish the schema a moment after it serves the kind.
    eventually(lambda: b"How many it rolls on." in kubectl.run("explain", "wagons.spec.wheels").stdout)
    wagon = b"apiVersion: streaming.example.com/v1\nkind: Wagon\nmetadata: {name: w}\nspec: {wheels: null, any: 5}\n"
    kubectl.out("apply", "-f", "-", stdin=wagon)
    wrong = kubectl.run("apply", "-f", "-", stdin=wagon.replace(b"any: 5", b"other: 5"))
    assert b'unknown field "spec.other"' in wrong.stderr, wrong
    kubectl.out("delete", "wagon", "w")
    kubectl.out("delete", "crd", "wagons.streaming.example.com")
