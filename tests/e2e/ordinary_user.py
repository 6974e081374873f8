"""A person with a home folder and no rights: made for the test where it runs as root, else whoever runs the test."""

import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
import time

from conftest import KFCTL

# What `kfctl` takes over from its own environment; a person behind a proxy has these too.
NETWORK = [
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST",
    "PIP_CERT", "PIP_DEFAULT_TIMEOUT", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
]


class Owner:
    """Who owns the platform under test. Nothing of the caller's environment but its way to the network is handed on."""

    def __init__(self):
        self.is_made = os.geteuid() == 0
        if self.is_made:
            name = f"ferroflow-{os.getpid()}"
            home = pathlib.Path("/home") / name
            subprocess.run(["useradd", "--create-home", "--home-dir", home, "--shell", "/bin/sh", name], check=True)
        else:
            name = pwd.getpwuid(os.getuid()).pw_name
            home = pathlib.Path(tempfile.mkdtemp(prefix="ferroflow-home-"))
        entry = pwd.getpwnam(name)
        self.name, self.uid, self.gid, self.home = name, entry.pw_uid, entry.pw_gid, home
        self.identity = {"user": self.uid, "group": self.gid, "extra_groups": []} if self.is_made else {}
        network = {key: os.environ[key] for key in NETWORK if key in os.environ}
        path = "/usr/local/bin:/usr/bin:/bin"
        self.environment = {"HOME": str(home), "USER": name, "LOGNAME": name, "PATH": path, "LANG": "C.UTF-8", **network}
        self.kfctl = home / "bin/kfctl"
        self.kfctl.parent.mkdir()
        shutil.copy(KFCTL, self.kfctl)
        self.kfctl.chmod(0o755)
        self.own(home)

    def own(self, folder: pathlib.Path):
        """Makes everything below `folder` theirs."""
        if self.is_made:
            subprocess.run(["chown", "-R", f"{self.uid}:{self.gid}", folder], check=True)

    def copy(self, source: pathlib.Path, name: str) -> pathlib.Path:
        """A copy of a folder in their home."""
        shutil.copytree(source, self.home / name)
        self.own(self.home / name)
        return self.home / name

    def run(self, *command, **options) -> subprocess.CompletedProcess:
        """Runs any command as them."""
        options = {"env": self.environment, "cwd": self.home, "capture_output": True, "text": True, **self.identity, **options}
        return subprocess.run([str(word) for word in command], **options)

    def processes(self) -> list[str]:
        """What runs under their name; only meaningful for a person who was made for this."""
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                    if entry.stat().st_uid == self.uid and state != "Z":
                        found.append((entry / "cmdline").read_text().replace("\0", " "))
                except OSError:
                    continue
        return found

    def remove(self):
        """Takes the person back, with all that is theirs."""
        if not self.is_made:
            shutil.rmtree(self.home, ignore_errors=True)
            return
        deadline = time.monotonic() + 30
        while self.processes() and time.monotonic() < deadline:
            subprocess.run(["setpriv", "--reuid", str(self.uid), "--regid", str(self.gid), "--clear-groups", "kill", "-KILL", "-1"])
            time.sleep(0.1)
        subprocess.run(["userdel", "--remove", self.name], capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)
