"""One home for the whole suite: the shipped binary on a temporary folder and free ports, or, with
FERROFLOW_KUBECONFIG, the cluster that it leads to, or, with FERROFLOW_CONTROL_PLANE, an API server made by
`cargo xtask cluster` in that folder, which our own controllers and node join. Tests of the first alone carry the mark
`one_machine`."""

import functools
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

import pytest
from image_archive import busybox_archive
from registry import Registry
from relay import Relay

ROOT = pathlib.Path(__file__).parents[2]
CONTROL_PLANE = os.environ.get("FERROFLOW_CONTROL_PLANE")
CLUSTER = f"{CONTROL_PLANE}/kubeconfig" if CONTROL_PLANE else os.environ.get("FERROFLOW_KUBECONFIG")
KFCTL = pathlib.Path(os.environ.get("FERROFLOW_KFCTL", "target/debug/kfctl")).absolute()


def free_port() -> int:
    """A port that nobody uses at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


# A whole control plane and a kubelet share the machine with the suite's pods there.
PATIENCE = 3 if CLUSTER else 1


def until(condition, seconds=60):
    """Waits for a condition and answers what it gave."""
    deadline = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.1)


class Platform:
    """A running platform and the ways to reach it."""

    def __init__(self, folder: pathlib.Path, *options: str, owner=None):
        self.folder = folder
        self.options = options
        self.owner = owner
        self.console_port, self.api_port = free_port(), free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.console_port}"

    @property
    def kubeconfig(self) -> pathlib.Path:
        return self.folder / "kubeconfig"

    def target(self, *arguments) -> list:
        """Arguments that say which home is meant; none for the one on this machine."""
        return []

    def offer(self, *images) -> None:
        """Makes images of `kfctl image` available to pods under their names. Here they are."""

    def kfctl(self, *arguments, check=True, timeout=240, **options) -> subprocess.CompletedProcess:
        """Runs kfctl on this platform's folder."""
        env = {**os.environ, "FERROFLOW_DATA_DIR": str(self.folder), "NO_COLOR": "1"}
        program = KFCTL
        if self.owner:
            env = {**self.owner.environment, "FERROFLOW_DATA_DIR": str(self.folder), "NO_COLOR": "1"}
            program = self.owner.kfctl
            options = {"cwd": self.owner.home, **self.owner.identity, **options}
        done = subprocess.run([str(program), *map(str, arguments), *self.target(*arguments)], capture_output=True, text=True, env=env, timeout=timeout, **options)
        if check and done.returncode != 0:
            raise AssertionError(f"kfctl {' '.join(map(str, arguments))} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def up(self) -> str:
        ports = ["--port", self.console_port, "--api-port", self.api_port]
        return self.kfctl("up", "--detach", *ports, *self.options).stdout

    def down(self) -> None:
        self.kfctl("down", check=False)

    def record(self) -> dict:
        return json.loads((self.folder / "run/instance.json").read_text())

    def kubectl(self, *arguments, binary="kubectl", check=True, stdin=None, timeout=120) -> str:
        """Runs kubectl as the platform's administrator; answers its standard output."""
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.owner.home if self.owner else self.folder / "kubectl-home")}
        done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True, env=env, input=stdin, timeout=timeout)
        if check and done.returncode != 0:
            raise AssertionError(f"{binary} {' '.join(map(str, arguments))} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout if check else done.stdout + done.stderr


class Cluster(Platform):
    """A Kubernetes that was there before and stays. Kubeflow is installed there while a test asks for it."""

    # The node's side of the link to this machine asks a registry on port 5000 for what has no registry in its name.
    registry_address = os.environ.get("FERROFLOW_REGISTRY_ADDRESS")
    relay = None

    @property
    def kubeconfig(self) -> pathlib.Path:
        return pathlib.Path(CLUSTER)

    @property
    def url(self) -> str:
        return self.relay.url

    def target(self, *arguments) -> list:
        return ["--kubeconfig", CLUSTER] if arguments[0] in ("run", "runs", "logs", "status") and "--help" not in arguments else []

    def apply(self, *arguments) -> None:
        environment = {**os.environ, "KUBECONFIG": CLUSTER, "NO_COLOR": "1"}
        command = [str(KFCTL), *arguments, "-f", "kfdef_k8s_istio.v1.7.0.yaml"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=self.folder, timeout=300, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, done.stdout + done.stderr

    def install(self) -> None:
        if not self.relay:
            assert self.registry.answers()
            self.apply("apply")
            token = self.kubectl("create", "token", "pipeline-runner", "-n", "kubeflow", "--duration=6h").strip()
            self.relay = Relay(self.kubeconfig, token)

    def remove(self) -> None:
        if self.relay:
            self.relay.close()
            self.relay = None
            self.apply("delete", "--yes", "--delete-storage")

    @functools.cached_property
    def registry(self) -> Registry:
        folder = self.folder / "registry"
        folder.mkdir()
        registry = Registry(folder, f"{self.registry_address}:5000", has_password=False)
        until(registry.answers)
        self.registry = registry
        # Without a tag it is `latest`, which a kubelet asks the registry for each time.
        self.kfctl("image", "load", busybox_archive(self.folder / "alpine.tar", "alpine:latest"))
        self.offer("alpine")
        return registry

    def offer(self, *images) -> None:
        for image in images:
            self.kfctl("image", "push", image, f"{self.registry.host}/library/", "--insecure")

    def end(self) -> None:
        self.remove()
        if "registry" in self.__dict__:
            self.registry.close()


class ControlPlane(Cluster):
    """A real API server without controllers and nodes, and ours beside it, each with the credentials that its
    counterpart has."""

    NODE = "n1"

    def __init__(self, folder: pathlib.Path):
        super().__init__(folder)
        self.place = pathlib.Path(CONTROL_PLANE)
        self.address = json.loads((self.place / "cluster.json").read_text())["host_address"]
        self.port = free_port()
        self.processes = {}

    # The node takes its images where kfctl puts them, and nothing of Kubeflow is installed.
    target, offer = Platform.target, Platform.offer

    def start(self, name: str) -> None:
        keys = self.place / "keys"
        options = {
            "workloads": [
                *("--kubeconfig", self.kubeconfig, "--root-ca", keys / "ca.crt", "--volumes", self.folder / "volumes"),
                *("--gpu-fallback", "cpu", "--memory-fallback", "clamp"),
            ],
            "node": [
                *("--kubeconfig", keys / "kubelet.kubeconfig", "--proxy-kubeconfig", keys / "kube-proxy.kubeconfig"),
                *("--client-ca", keys / "ca.crt", "--listen", f"{self.address}:{self.port}"),
                *("--tls-certificate", keys / "kubelet-serving.crt", "--tls-key", keys / "kubelet-serving.key"),
            ],
        }[name]
        env = {**os.environ, "FERROFLOW_DATA_DIR": str(self.folder), "NO_COLOR": "1"}
        command = [str(KFCTL), "controller", name, "--health", "127.0.0.1:0", *map(str, options)]
        with (self.folder / f"{name}.log").open("a") as log:
            self.processes[name] = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def condition(self) -> dict:
        """Whether the node is ready, and why not."""
        node = json.loads(self.kubectl("get", "node", self.NODE, "-o", "json"))
        return next(one for one in node["status"]["conditions"] if one["type"] == "Ready")

    def up(self) -> None:
        self.start("workloads")
        until(lambda: "default" in self.kubectl("get", "serviceaccounts", "-o", "name"), 120)
        self.start("node")
        until(lambda: f"node/{self.NODE}" in self.kubectl("get", "nodes", "-o", "name"), 120)
        until(lambda: self.condition()["status"] == "True", 120)

    def down(self) -> None:
        for name in ("node", "workloads"):
            process = self.processes.get(name)
            if process and process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=150)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def pytest_configure(config):
    config.addinivalue_line("markers", "one_machine: a test of the home on one machine itself, or of what is only installed there")
    config.addinivalue_line("markers", "real_cluster: a test of what only a cluster without us has")
    config.addinivalue_line("markers", "own_node: a test of our node and controllers on an API server that is not ours")


def pytest_collection_modifyitems(items):
    reasons = {
        "one_machine": "tests the home on one machine" if CLUSTER else None,
        "real_cluster": None if CLUSTER and not CONTROL_PLANE else "tests a cluster: cargo xtask test --cluster",
        "own_node": None if CONTROL_PLANE else "tests our node on a real API server: cargo xtask test --cluster",
    }
    for item in items:
        for mark, reason in reasons.items():
            if reason and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))
        # A platform that a test starts for itself is one on this machine.
        if CLUSTER and "fresh" in item.fixturenames:
            item.add_marker(pytest.mark.skip(reason=reasons["one_machine"]))


@pytest.fixture(scope="session")
def platform():
    if CONTROL_PLANE:
        with tempfile.TemporaryDirectory(prefix="ferroflow-e2e-") as folder:
            platform = ControlPlane(pathlib.Path(folder))
            try:
                platform.up()
                yield platform
            finally:
                platform.down()
                logs = {name: platform.log(name) for name in platform.processes}
            for name, log in logs.items():
                assert "panicked" not in log and "forbidden" not in log, (name, log[-4000:])
        return
    if CLUSTER:
        with tempfile.TemporaryDirectory(prefix="ferroflow-e2e-") as folder:
            cluster = Cluster(pathlib.Path(folder))
            yield cluster
            cluster.end()
        return
    folder = pathlib.Path(tempfile.mkdtemp(prefix="ferroflow-e2e-"))
    platform = Platform(folder, "--gpu-fallback=cpu", "--memory-fallback=clamp")
    platform.up()
    yield platform
    log = (folder / "kfctl.log").read_text()
    platform.down()
    shutil.rmtree(folder, ignore_errors=True)
    assert "panicked" not in log, log


@pytest.fixture(scope="module")
def kubeflow(platform):
    """The platform with Kubeflow in it, which a cluster gets when the first test asks."""
    if CLUSTER:
        platform.install()
    return platform


@pytest.fixture(scope="module")
def gpus(platform):
    """Two, as far as the scheduler knows: a cluster's node is told of them as a device plugin would tell it. The platform
    of this machine was told to do without (`--gpu-fallback`)."""
    if not CLUSTER:
        yield
        return

    def patch(operation, **more):
        body = json.dumps([{"op": operation, "path": "/status/capacity/nvidia.com~1gpu", **more}])
        platform.kubectl("patch", "node", node, "--subresource=status", "--type=json", "-p", body)

    node = platform.kubectl("get", "nodes", "-o", "jsonpath={.items[0].metadata.name}")
    patch("add", value="2")
    until(lambda: platform.kubectl("get", "node", node, "-o", r"jsonpath={.status.allocatable.nvidia\.com/gpu}") == "2")
    yield
    patch("remove")


@pytest.fixture(scope="module")
def bare(platform):
    """A Kubernetes without Kubeflow: the suite's cluster, else a small one of the module's own."""
    if CLUSTER:
        platform.remove()
        yield platform
        return
    with tempfile.TemporaryDirectory(prefix="ferroflow-bare-") as folder:
        bare = Platform(pathlib.Path(folder) / "data", "--bare")
        bare.up()
        yield bare
        log = (bare.folder / "kfctl.log").read_text()
        bare.down()
    assert "panicked" not in log, log


@pytest.fixture(scope="module")
def client(kubeflow):
    """The real KFP client, unmodified."""
    import kfp

    return kfp.Client(host=kubeflow.url)


@pytest.fixture(scope="session")
def kubectls():
    """Every kubectl that this machine has, from 1.27 on."""
    found = os.environ.get("FERROFLOW_KUBECTL", "kubectl")
    return found.split(os.pathsep)
