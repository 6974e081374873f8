"""An S3 server for a test: versitygw over a temporary folder, on a loopback port."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

from conftest import free_port, until

ACCESS_KEY, SECRET_KEY = "ferroflow-test", "s3cr3t+of/the=test"


def program() -> str:
    found = os.environ.get("FERROFLOW_VERSITYGW") or shutil.which("versitygw")
    assert found, "this test needs an S3 server: run it by `cargo xtask e2e`, which builds versitygw from its Go module"
    return found


class Server:
    """Buckets are folders, objects are files in them."""

    def __init__(self, folder: pathlib.Path):
        self.buckets = folder / "buckets"
        self.buckets.mkdir()
        self.port = free_port()
        command = [program(), "--port", f"127.0.0.1:{self.port}", "--quiet", "posix", "--sidecar", str(folder / "meta"), str(self.buckets)]
        (folder / "meta").mkdir()
        env = {**os.environ, "ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
        self.log = folder / "log"
        self.process = subprocess.Popen(command, env=env, stdout=self.log.open("w"), stderr=subprocess.STDOUT)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            urllib.request.urlopen(self.endpoint, timeout=10)
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True

    def address(self, bucket: str, endpoint=None) -> str:
        return f"s3://{bucket}?endpoint={endpoint or self.endpoint}&region=us-east-1&path-style=true"


@contextlib.contextmanager
def server():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="ferroflow-s3-"))
    running = Server(folder)
    try:
        until(running.answers, 120)
        yield running
    finally:
        running.process.terminate()
        try:
            running.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            running.process.kill()
            running.process.wait()
        shutil.rmtree(folder, ignore_errors=True)
