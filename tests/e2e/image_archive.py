"""Images as archives, made of what this machine has."""

import hashlib
import io
import json
import os
import pathlib
import subprocess
import tarfile


def docker_archive(path, files, config, name):
    """An image as `docker save` writes it, of one layer. Values: bytes, a path to copy, or a link as ('to',)."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for where, what in sorted(files.items()):
            entry = tarfile.TarInfo(where)
            entry.mode = 0o755
            if isinstance(what, tuple):
                entry.type, entry.linkname = tarfile.SYMTYPE, what[0]
                tar.addfile(entry)
                continue
            content = what if isinstance(what, bytes) else pathlib.Path(what).read_bytes()
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    layer = layer.getvalue()
    settings = json.dumps({
        "architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]},
    }).encode()
    parts = {"layer.tar": layer, "config.json": settings, "manifest.json": json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]).encode()}
    with tarfile.open(path, "w") as tar:
        for where, content in parts.items():
            entry = tarfile.TarInfo(where)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def libraries_of(program):
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [word for word in listed.split() if word.startswith("/")]


def busybox():
    for path in ("/bin/busybox", "/usr/bin/busybox"):
        if os.path.exists(path):
            return os.path.realpath(path)
    raise AssertionError("busybox is not installed: apt-get install busybox-static (cargo xtask setup does)")


def busybox_archive(path, name):
    """An image of busybox under all its names."""
    program = busybox()
    applets = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    files = {"bin/busybox": program, "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n", "tmp/.keep": b""}
    files |= {f"bin/{applet}": ("busybox",) for applet in applets if applet != "busybox"}
    return docker_archive(path, files, {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]}, name)
