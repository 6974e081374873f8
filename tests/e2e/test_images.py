"""Images of other people: from archives and a real registry into pods here, and from here to where they run elsewhere."""

import functools
import json
import os
import pathlib
import shutil
import subprocess
import uuid

import conftest
import pytest
from conftest import CLUSTER, PATIENCE, Cluster, free_port
from image_archive import busybox, docker_archive, libraries_of
from kfp import dsl
from registry import Registry

# What a step does in an image is tried through Pipelines.
pytestmark = pytest.mark.usefixtures("kubeflow")


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    host = f"{Cluster.registry_address}:5001" if CLUSTER else f"127.0.0.1:{free_port()}"
    registry = Registry(tmp_path_factory.mktemp("registry"), host, has_password=True)
    until(registry.answers)
    yield registry
    registry.close()


def insecure():
    """Only a registry on loopback is spoken to in plain HTTP without a word."""
    return ["--insecure"] if CLUSTER else []


# Images and pods take longer than what the suite waits for otherwise.
until = functools.partial(conftest.until, seconds=90)


# Three kinds of images that have no glibc, no shell, or nothing at all but one program.
def alpine_like(folder):
    files = {"bin/busybox": busybox(), "etc/message": b"alpine", "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n", "tmp/.keep": b""}
    files |= {f"bin/{name}": ("busybox",) for name in ("sh", "cp", "cat", "echo", "mkdir")}
    return docker_archive(folder / "alpine-like.tar", files, {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]}, "alpine-like:1")


def distroless_like(folder):
    program = os.path.realpath(shutil.which("cp"))
    files = {"usr/bin/copy": program, "etc/message": b"distroless", "etc/passwd": b"nonroot:x:65532:65532::/home:/sbin/nologin\n"}
    files |= {library.lstrip("/"): os.path.realpath(library) for library in libraries_of(program)}
    return docker_archive(folder / "distroless-like.tar", files, {"Env": ["PATH=/usr/bin"], "User": "65532:65532"}, "distroless-like:1")


def scratch_like(folder):
    return docker_archive(folder / "scratch-like.tar", {"busybox": busybox(), "message": b"scratch"}, {}, "scratch-like:1")


@dsl.container_component
def in_alpine(message: dsl.OutputPath(str)):
    return dsl.ContainerSpec(image="alpine-like:1", command=["sh", "-c", 'mkdir -p "$(dirname "$0")"; cp /etc/message "$0"; ! test -e /lib64'], args=[message])


@dsl.container_component
def in_distroless(message: dsl.OutputPath(str)):
    return dsl.ContainerSpec(image="distroless-like:1", command=["copy", "/etc/message"], args=[message])


@dsl.container_component
def in_scratch(message: dsl.OutputPath(str)):
    return dsl.ContainerSpec(image="scratch-like:1", command=["/busybox", "cp", "/message"], args=[message])


@dsl.component
def joined(first: str, second: str, third: str):
    assert (first, second, third) == ("alpine", "distroless", "scratch"), (first, second, third)


@dsl.pipeline(name="images-of-every-kind")
def every_kind():
    joined(first=in_alpine().outputs["message"], second=in_distroless().outputs["message"], third=in_scratch().outputs["message"])


def test_steps_run_in_images_without_glibc_without_a_shell_and_without_anything(platform, client, tmp_path):
    for archive in (alpine_like(tmp_path), distroless_like(tmp_path), scratch_like(tmp_path)):
        done = platform.kfctl("image", "load", archive)
        assert archive.stem in done.stdout
        platform.offer(f"{archive.stem}:1")
    run = client.create_run_from_pipeline_func(every_kind, enable_caching=False)
    ended = client.wait_for_run_completion(run.run_id, timeout=240 * PATIENCE, sleep_duration=0.5)
    assert ended.state == "SUCCEEDED", platform.kubectl("get", "events", "-n", "kubeflow")


def run_pod(platform, image, *command, secret=None, name=None):
    name = name or f"image-{uuid.uuid4().hex[:8]}"
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image, "command": list(command), "imagePullPolicy": "IfNotPresent"}]},
    }
    if secret:
        pod["spec"]["imagePullSecrets"] = [{"name": secret}]
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    return name


def phase(platform, name):
    return platform.kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}")


def test_a_folder_goes_to_a_registry_and_comes_back_as_an_image(platform, registry, tmp_path):
    folder = tmp_path / "shout"
    folder.mkdir()
    (folder / "shout.py").write_text("import six, ssl, sys\nprint(six.ensure_str(sys.argv[1]).upper(), ssl.OPENSSL_VERSION.split()[0])\n")
    (folder / "requirements.txt").write_text("six\n")
    platform.kfctl("image", "add", "shout:latest", folder)
    refused = platform.kfctl("image", "push", "shout:latest", f"{registry.host}/team/", *insecure(), check=False)
    assert refused.returncode != 0 and "refuses access" in refused.stderr and "--username" in refused.stderr, refused.stderr
    signed_in = ["--username", "me", "--password-stdin", *insecure()]
    pushed = platform.kfctl("image", "push", "shout:latest", f"{registry.host}/team/", *signed_in, input="s:ecret\n").stdout
    again = platform.kfctl("image", "push", "shout:latest", f"{registry.host}/team/", *signed_in, input="s:ecret\n").stdout
    assert pushed == again and f"{registry.host}/team/shout:latest" in pushed and "sha256:" in pushed
    image = f"{registry.host}/team/shout:latest"
    platform.kubectl("create", "secret", "docker-registry", "pull-here", f"--docker-server={registry.host}", "--docker-username=me", "--docker-password=s:ecret")
    stranger = run_pod(platform, image, "python", "shout.py", "x")
    words = "401 Unauthorized" if CLUSTER else "imagePullSecrets"
    until(lambda: words in platform.kubectl("get", "events", "--field-selector", f"involvedObject.name={stranger}"))
    platform.kubectl("delete", "pod", stranger, "--now")
    name = run_pod(platform, image, "python", "shout.py", "hello", secret="pull-here")
    until(lambda: phase(platform, name) == "Succeeded")
    assert platform.kubectl("logs", name) == "HELLO OpenSSL\n"
    events = platform.kubectl("get", "events", "--field-selector", f"involvedObject.name={name}")
    assert "Pulling image" in events and "Successfully pulled image" in events
    platform.kubectl("delete", "pod", name, "--now")
    platform.kubectl("delete", "secret", "pull-here")
    if not CLUSTER:
        platform.kfctl("image", "rm", image)


@pytest.mark.one_machine
def test_an_image_is_pulled_by_the_owner_with_what_docker_login_noted(platform, registry, tmp_path, monkeypatch):
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "hello.txt").write_text("hello\n")
    platform.kfctl("image", "add", "plain:1", folder)
    config = {"auths": {registry.host: {"auth": "bWU6czplY3JldA=="}}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    platform.kfctl("image", "push", "plain:1", f"{registry.host}/plain:1")
    done = platform.kfctl("image", "pull", f"{registry.host}/plain:1").stdout
    assert "sha256:" in done
    listed = json.loads(platform.kfctl("image", "list", "-o", "json").stdout)
    assert any(row["name"] == f"{registry.host}/plain:1" and row["image"]["manifest"] in done for row in listed)
    name = run_pod(platform, f"{registry.host}/plain:1", "cat", "hello.txt")
    until(lambda: phase(platform, name) == "Succeeded")
    assert platform.kubectl("logs", name) == "hello\n"
    absent = platform.kfctl("image", "pull", f"{registry.host}/absent:1", check=False)
    assert absent.returncode != 0 and "has no image" in absent.stderr, absent.stderr


def test_an_exported_image_is_read_by_us_and_by_containerd(platform, tmp_path):
    folder = tmp_path / "exported"
    folder.mkdir()
    (folder / "main.py").write_text("print('from an archive')\n")
    platform.kfctl("image", "add", "exported:1", folder, "--entrypoint", "python main.py")
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    platform.kfctl("image", "export", "exported:1", "--oci", first)
    platform.kfctl("image", "export", "exported:1", "--oci", second)
    assert first.read_bytes() == second.read_bytes(), "equal content has equal bytes"
    platform.kfctl("image", "load", first, "--name", "loaded:1")
    platform.offer("loaded:1")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "loaded"}, "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "loaded:1"}]}}
    platform.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    until(lambda: phase(platform, "loaded") == "Succeeded")
    assert platform.kubectl("logs", "loaded") == "from an archive\n"
    platform.kubectl("delete", "pod", "loaded", "--now")
    containerd_reads(first, tmp_path, "docker.io/library/exported:1")


def containerd_reads(archive, tmp_path, name):
    """Imports the archive into a containerd of its own, where this machine has one and allows it."""
    if not (shutil.which("containerd") and shutil.which("ctr") and os.geteuid() == 0):
        return
    socket_path = f"/tmp/ferroflow-{uuid.uuid4().hex[:8]}.sock"
    config = tmp_path / "containerd.toml"
    config.write_text('version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    arguments = ["--root", tmp_path / "containerd", "--state", tmp_path / "state", "--address", socket_path, "--config", config]
    process = subprocess.Popen(["containerd", *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: subprocess.run(["ctr", "--address", socket_path, "version"], capture_output=True).returncode == 0)
        done = subprocess.run(["ctr", "--address", socket_path, "images", "import", "--no-unpack", str(archive)], capture_output=True, text=True)
        if "flag provided but not defined" in done.stderr:
            done = subprocess.run(["ctr", "--address", socket_path, "images", "import", "--snapshotter", "native", str(archive)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        listed = subprocess.run(["ctr", "--address", socket_path, "images", "list"], capture_output=True, text=True).stdout
        assert name in listed, listed
    finally:
        process.terminate()
        process.wait(timeout=30)
        pathlib.Path(socket_path).unlink(missing_ok=True)
        pathlib.Path(socket_path + ".ttrpc").unlink(missing_ok=True)
