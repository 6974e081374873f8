"""The embedded Kubernetes and a real one, measured one after the other with the same clients. Prints rows of
docs/benchmarks.md: what, the embedded one, the real one. Judges nothing.

    FERROFLOW_KFCTL=…/kfctl FERROFLOW_API_LOAD=…/api_load FERROFLOW_KUBECONFIG=… python tests/bench/homes.py [GROUP …]

Groups: api, install, pods, pipelines, guide (default: all). `cargo xtask bench homes` starts the real one and gives it its images:
alpine:3.20 and python:3.11 of its tests, and those of the guide's pipeline as `guide/NAME:1`.
"""

import contextlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
from conftest import CLUSTER, ROOT, Cluster, Platform  # noqa: E402
from measure import chains, run_to_its_end, row  # noqa: E402
from test_applying import CONFIG_URI, FILE, Forward, Installation  # noqa: E402

GROUPS = ["api", "install", "pods", "pipelines", "guide"]
API_LOAD = os.environ["FERROFLOW_API_LOAD"]
FIRST_LINE = ["python", "-c", "import time; print(time.time())"]
PODS = 10
# What `api_load` calls its figures.
OPERATIONS = {
    "create": "objects created",
    "get": "objects read",
    "patch": "merge patches",
    "apply": "server-side applies",
    "list": "list pages of 500",
    "watch": "events to 100 watchers",
}


def scratch():
    return tempfile.TemporaryDirectory(prefix="ferroflow-homes-")


@contextlib.contextmanager
def embedded(*options):
    """A platform on a folder of its own, ended whatever happens."""
    with scratch() as folder:
        running = Platform(pathlib.Path(folder) / "data", *options)
        try:
            running.up()
            yield running
        finally:
            running.down()


@contextlib.contextmanager
def real(*_):
    with scratch() as folder:
        yield Cluster(pathlib.Path(folder))


HOMES = {"embedded": embedded, "real": real}


def below(parents):
    """Every process under one of `parents`, and those."""
    children = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, left = [], list(parents)
    while left:
        found.append(one := left.pop())
        left += children.get(one, [])
    return found


def name_of(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()


def megabytes(pids):
    """Memory of processes, shared pages divided among those that share them."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M).group(1))
    return total / 1e3


def node(home):
    """Every process of a home: the platform's and its pods', or the whole cell of the cluster."""
    if not isinstance(home, Cluster):
        # The shims of pods outlive the platform, and so are no children of it.
        shims = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if f"node-shim {home.folder}" in arguments(pid)]
        return list(dict.fromkeys(below([home.record()["pid"], *shims])))
    return below([json.loads((pathlib.Path(CLUSTER).parent / "cluster.json").read_text())["process"]["pid"]])


def arguments(pid):
    with contextlib.suppress(OSError):
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def api(home):
    """Requests a second, by the same client, and what the server keeps in memory afterwards."""
    done = subprocess.run([API_LOAD, "5"], env={**os.environ, "KUBECONFIG": str(home.kubeconfig)}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    figures = {f"API, {OPERATIONS[name]} a second": float(value) for name, value in (line.split() for line in done.stdout.splitlines())}
    servers = [pid for pid in node(home) if name_of(pid) in ("kube-apiserver", "etcd")] or node(home)
    figures["API server and its store after that, MB"] = megabytes(servers)
    return figures


def install(home):
    """`kfctl apply` to all ready, again without a change, and the memory when all is quiet."""
    installation = Installation(home, home.folder / "kubeflow")
    installation.kfctl("build", "-f", CONFIG_URI)
    seconds = []
    for _ in range(2):
        started = time.monotonic()
        said = installation.kfctl("apply", "-f", CONFIG_URI).stdout
        seconds.append(time.monotonic() - started)
    assert "nothing changed" in said, said
    time.sleep(15)
    everything = node(home)
    ours = [pid for pid in everything if re.search(r"\bkfctl controller (pipelines|console|gateway)", arguments(pid))]
    assert len(ours) == 3, [arguments(pid) for pid in ours]
    figures = {
        "apply to all ready, s": seconds[0],
        "apply again, s": seconds[1],
        "our three pods, idle, MB": megabytes(ours),
        "the whole node, idle, MB": megabytes(everything),
    }
    home.installed = installation
    return figures


def pods(home):
    """From the request that makes a pod to its first line, and to its end as a watcher sees it."""
    from kubernetes import client, config, watch

    core = client.CoreV1Api(config.new_client_from_config(str(home.kubeconfig)))
    first, ended = [], []
    for number in range(PODS + 1):
        name = f"first-line-{number}"
        container = {"name": "main", "image": "python:3.11", "imagePullPolicy": "IfNotPresent", "command": FIRST_LINE}
        began = time.time()
        core.create_namespaced_pod("default", {"metadata": {"name": name}, "spec": {"restartPolicy": "Never", "containers": [container]}})
        for event in watch.Watch().stream(core.list_namespaced_pod, "default", field_selector=f"metadata.name={name}", timeout_seconds=120):
            if event["object"].status.phase in ("Succeeded", "Failed"):
                break
        ended.append(time.time() - began)
        first.append(float(core.read_namespaced_pod_log(name, "default")) - began)
        core.delete_namespaced_pod(name, "default", grace_period_seconds=0)
    # The first one finds the image cold.
    return {"pod made to its first line, s": statistics.median(first[1:]), "pod made to Succeeded, s": statistics.median(ended[1:])}


@contextlib.contextmanager
def installed(home):
    """The installation of `install`, or the one that is there."""
    if not getattr(home, "installed", None):
        home.installed = Installation(home, home.folder / "kubeflow")
        home.installed.kfctl("apply", "-f", CONFIG_URI)
    yield home.installed


def pipelines(home):
    """Chains of ten steps, as the client of the SDK sees them through the gateway."""
    import kfp

    os.environ["KFP_PYTHON_IMAGE"] = "python:3.11"
    _, python_chain, container_chain = chains("alpine:3.20")
    figures = {}
    with installed(home):
        token = home.kubectl("create", "token", "pipeline-runner", "-n", "kubeflow", "--duration=2h").strip()
        with Forward(home) as gateway:
            client = kfp.Client(host=f"http://127.0.0.1:{gateway.port}", existing_token=token)
            for what, pipeline in [("10 no-op container steps", container_chain), ("10 Python steps", python_chain)]:
                run_to_its_end(client, pipeline)
                figures[f"chain of {what}, s"] = statistics.median(run_to_its_end(client, pipeline)[1] for _ in range(3))
    return figures


def guide(home):
    """The guide's pipeline by `kfctl run`; `train` asks for what this machine has."""
    text = (ROOT / "examples/guide/pipeline.py").read_text()
    text, changed = re.subn(r"'gpu': 1,\s*'memory': '32Gi'", "'memory': '1Gi'", text)
    assert changed == 1, "the guide's pipeline asks for other things than it did"
    file = home.folder / "pipeline.py"
    file.write_text(text)
    with installed(home):
        maps = [word for name in ("preprocess", "train", "validate") for word in ("--image-map", f"{name}:latest=guide/{name}:1")]
        started = time.monotonic()
        home.kfctl("run", file, "--follow", "--no-cache", *maps, "--kubeconfig", home.kubeconfig, timeout=900)
        return {"the guide's pipeline, s": time.monotonic() - started}


def main(groups):
    unknown = set(groups) - set(GROUPS)
    assert not unknown, f"no such group: {', '.join(unknown)}; there are: {', '.join(GROUPS)}"
    figures = {}
    for title, open_home in HOMES.items():
        with open_home("--bare") as home:
            if not isinstance(home, Cluster):
                for name in ("preprocess", "train", "validate"):
                    home.kfctl("image", "add", f"guide/{name}:1", ROOT / "examples/guide" / name, timeout=900)
            try:
                for group in groups or GROUPS:
                    for what, value in globals()[group](home).items():
                        figures.setdefault(what, {})[title] = value
            finally:
                if installation := getattr(home, "installed", None):
                    installation.kfctl("delete", "-f", FILE, "--yes", "--delete-storage", check=False)
    row("what", *HOMES, "ratio")
    row("---", "---", "---", "---")
    for what, values in figures.items():
        ours, theirs = (values.get(title) for title in HOMES)
        row(what, *(f"{value:,.2f}" if value < 100 else f"{value:,.0f}" for value in (ours, theirs)), f"{ours / theirs:.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
