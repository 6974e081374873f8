"""Makes a folder that is an image: this Python with its standard library, pip and the `kfp` SDK, and busybox for the
rest. With the SDK in it a Python step asks no package index, which a cluster made for tests cannot reach.

    python python_image.py FOLDER
"""

import compileall
import importlib.metadata
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig

LEFT_OUT = shutil.ignore_patterns("test", "tests", "site-packages", "dist-packages", "idlelib", "turtledemo", "tkinter", "ensurepip", "config-*", "lib2to3", "*.a")


def libraries(binary: pathlib.Path) -> set:
    """The shared libraries, and the loader, that a program needs."""
    said = subprocess.run(["ldd", str(binary)], capture_output=True, text=True).stdout
    return {pathlib.Path(found) for found in re.findall(r"(/[^ ]+) \(0x", said)}


def main(folder: pathlib.Path) -> None:
    number = f"{sys.version_info.major}.{sys.version_info.minor}"
    for name in ["bin", "etc", "home", "proc", "root", "sys", "tmp", "usr/bin", "usr/local/bin", "usr/local/lib", "var/run"]:
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "tmp").chmod(0o1777)
    busybox = folder / "bin/busybox"
    shutil.copy("/bin/busybox", busybox)
    for applet in subprocess.run([str(busybox), "--list"], capture_output=True, text=True, check=True).stdout.split():
        link = folder / "bin" / applet
        if not link.exists():
            link.symlink_to("busybox")
    interpreter = pathlib.Path(sys.executable).resolve()
    shutil.copy(interpreter, folder / f"usr/local/bin/python{number}")
    for alias in ("python3", "python"):
        (folder / "usr/local/bin" / alias).symlink_to(f"python{number}")
    library = folder / f"usr/local/lib/python{number}"
    shutil.copytree(sysconfig.get_path("stdlib"), library, ignore=LEFT_OUT, symlinks=True)
    packages = library / "site-packages"
    packages.mkdir(exist_ok=True)
    for name in ("pip", "kfp"):
        found = importlib.metadata.distribution(name)
        for folder_name in (name, pathlib.Path(found._path).name):
            shutil.copytree(found.locate_file(folder_name), packages / folder_name, ignore=LEFT_OUT, symlinks=True)
    # Each container starts from the image as it is: without bytecode in it every step compiles the whole SDK anew.
    compileall.compile_dir(str(library), quiet=2, stripdir=str(folder), prependdir="/")
    pip = folder / "usr/local/bin/pip"
    pip.write_text(f'#!/bin/sh\nexec /usr/local/bin/python{number} -m pip "$@"\n')
    pip.chmod(0o755)
    needed = libraries(interpreter)
    for module in library.rglob("*.so"):
        needed |= libraries(module)
    for needs in needed:
        target = folder / str(needs).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(needs, target)
    (folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    (folder / "etc/group").write_text("root:x:0:\nnobody:x:65534:\n")
    (folder / "etc/nsswitch.conf").write_text("hosts: files dns\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
