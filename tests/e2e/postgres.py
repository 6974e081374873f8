"""A PostgreSQL server for a test: its own, on a socket in a temporary folder, run by an ordinary user."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
from urllib.parse import quote

from conftest import until

PASSWORD = "s3cr:t/@word"
# The server refuses to be root; every machine has this user.
NOBODY = 65534


def programs() -> pathlib.Path:
    debian = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in [*debian, *map(pathlib.Path, os.environ["PATH"].split(os.pathsep))]:
        if all((folder / program).is_file() for program in ("initdb", "postgres", "psql")):
            return folder
    raise AssertionError("this test needs a PostgreSQL server: run `cargo xtask setup`, or install the Debian package postgresql")


@contextlib.contextmanager
def database():
    """The address of an empty database; the server goes with the block."""
    program, folder = programs(), pathlib.Path(tempfile.mkdtemp(prefix="ferroflow-pg-", dir="/tmp"))
    identity = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    (folder / "password").write_text(PASSWORD)
    if identity:
        for path in (folder, folder / "password"):
            os.chown(path, NOBODY, NOBODY)
    initdb = [program / "initdb", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256"]
    subprocess.run(
        [*initdb, "--username=ferroflow", f"--pwfile={folder / 'password'}", f"--pgdata={folder / 'data'}"],
        check=True, stdout=subprocess.DEVNULL, cwd="/tmp", **identity,
    )  # fmt: skip
    options = {"listen_addresses": "", "unix_socket_directories": folder, "fsync": "off", "shared_buffers": "16MB"}
    server = subprocess.Popen(
        [program / "postgres", "-D", folder / "data", *(word for option in options.items() for word in ("-c", "{}={}".format(*option)))],
        stdout=subprocess.DEVNULL, stderr=(folder / "log").open("w"), cwd="/tmp", **identity,
    )  # fmt: skip

    def answers() -> bool:
        assert server.poll() is None, (folder / "log").read_text()
        psql = [program / "psql", "-h", folder, "-U", "ferroflow", "-d", "postgres", "-c", "SELECT 1"]
        return subprocess.run(psql, env={**os.environ, "PGPASSWORD": PASSWORD}, capture_output=True).returncode == 0

    try:
        until(answers)
        yield f"postgresql://ferroflow:{quote(PASSWORD, safe='')}@{quote(str(folder), safe='')}/postgres"
    finally:
        server.terminate()
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)
