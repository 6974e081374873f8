"""A machine that is not this one, as far as pods can tell: a web server in a network namespace of its own, on an address
from the block for documentation. Making one needs root and `ip`."""

import os
import shutil
import subprocess
import time

HOST, ADDRESS, PORT = "198.51.100.1", "198.51.100.2", 8099
SERVER = f"""
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'from elsewhere')
    def log_message(self, *_): pass
http.server.HTTPServer(('{ADDRESS}', {PORT}), Handler).serve_forever()
"""


class Elsewhere:
    """Reachable from this host, and no address of it."""

    def __init__(self):
        self.link = f"ffe{os.getpid() % 100000}"
        self.process = None

    @staticmethod
    def can_be_made() -> bool:
        return os.geteuid() == 0 and shutil.which("ip") is not None

    def __enter__(self):
        script = f"read go; ip link set lo up; ip addr add {ADDRESS}/30 dev {self.link}b; ip link set {self.link}b up; exec python3 -c \"$SERVER\""
        self.process = subprocess.Popen(["unshare", "-n", "sh", "-c", script], stdin=subprocess.PIPE, env={**os.environ, "SERVER": SERVER})
        own = os.readlink("/proc/self/ns/net")
        deadline = time.monotonic() + 20
        while os.readlink(f"/proc/{self.process.pid}/ns/net") == own:
            assert time.monotonic() < deadline, "no network namespace was made"
            time.sleep(0.02)
        for command in [
            ["ip", "link", "add", f"{self.link}a", "type", "veth", "peer", "name", f"{self.link}b", "netns", str(self.process.pid)],
            ["ip", "addr", "add", f"{HOST}/30", "dev", f"{self.link}a"],
            ["ip", "link", "set", f"{self.link}a", "up"],
        ]:
            subprocess.run(command, check=True)
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()
        return ADDRESS, PORT

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        subprocess.run(["ip", "link", "del", f"{self.link}a"], capture_output=True)
