"""Debian's docker-registry, on loopback or on another address of this machine, with a password or open to all."""

import json
import pathlib
import shutil
import signal
import socket
import subprocess

# bcrypt of "s:ecret".
PASSWORD_FILE = "me:$2b$04$UTYTkTPksb.rl51O7VjL0eosOT5PF3UXBeu0AH5GyRFz5.pYR8R9C\n"


class Registry:
    """One registry; its images end with its folder. The one with a password lets in `me` with `s:ecret`."""

    def __init__(self, folder: pathlib.Path, host: str, *, has_password: bool):
        program = shutil.which("docker-registry")
        assert program, "docker-registry is not installed: apt-get install docker-registry (cargo xtask setup does)"
        self.host = host
        config = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": host},
        }
        if has_password:
            (folder / "htpasswd").write_text(PASSWORD_FILE)
            config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
        (folder / "config.yml").write_text(json.dumps(config))
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=self.log, stderr=self.log)

    def answers(self) -> bool:
        assert self.process.poll() is None, pathlib.Path(self.log.name).read_text()
        address, port = self.host.rsplit(":", 1)
        with socket.socket() as sock:
            return sock.connect_ex((address, int(port))) == 0

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=30)
        self.log.close()
