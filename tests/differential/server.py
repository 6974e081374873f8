"""One API server: asks it, and keeps what it answered."""

import base64
import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time

import requests
import yaml

WARNINGS = "Warning"


@dataclasses.dataclass
class Exchange:
    """A request's name, and everything of the answer that is compared."""

    name: str
    request: str
    answer: dict
    ignored: tuple


class Server:
    """A server with an administrator's rights, and the exchanges with it in order."""

    def __init__(self, label: str, kubeconfig: pathlib.Path, run: str):
        self.label, self.kubeconfig = label, kubeconfig
        # What the scripts call `diff-…` is this run's own on the server, so that it can be run again.
        self.run = run
        self.exchanges: list[Exchange] = []
        self.script = ""
        config = yaml.safe_load(kubeconfig.read_text())
        self.url = config["clusters"][0]["cluster"]["server"].rstrip("/")
        self.folder = tempfile.TemporaryDirectory(prefix="differential-")
        self.session = requests.Session()
        self.session.trust_env = False
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.session.verify = self._file(cluster, "certificate-authority")
        if "token" in user:
            self.session.headers["Authorization"] = f"Bearer {user['token']}"
        else:
            self.session.cert = self._file(user, "client-certificate"), self._file(user, "client-key")

    def _file(self, section: dict, name: str) -> str:
        if name in section:
            return section[name]
        path = pathlib.Path(self.folder.name) / f"{name}.pem"
        path.write_bytes(base64.b64decode(section[f"{name}-data"]))
        return str(path)

    # What a script may do without it being compared.

    def quietly(self, method: str, path: str, body=None, **options) -> requests.Response:
        """A request that is not an exchange."""
        return self._send(method, path, body, **options)

    def until(self, path: str, holds, seconds: float = 30):
        """Asks until the answer is what the script needs."""
        deadline = time.monotonic() + seconds
        while True:
            answer = self.quietly("GET", path)
            if holds(answer):
                return answer
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.label}: {path} did not become what {self.script} needs: {answer.text[:400]}")
            time.sleep(0.05)

    def namespace(self, name: str) -> str:
        """A namespace with a service account to run pods under."""
        self.quietly("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        deadline = time.monotonic() + 3
        account = f"/api/v1/namespaces/{name}/serviceaccounts"
        while self.quietly("GET", f"{account}/default").status_code == 404:
            if time.monotonic() > deadline:  # No controller makes one on a bare API server.
                self.quietly("POST", account, {"metadata": {"name": "default"}})
            time.sleep(0.05)
        return f"/api/v1/namespaces/{name}"

    def named(self, text):
        return text.replace("diff-", f"{self.run}-") if isinstance(text, str) else text

    def named_back(self, text: str) -> str:
        return text.replace(f"{self.run}-", "diff-")

    # Exchanges.

    def ask(self, name: str, method: str, path: str, body=None, *, ignore=(), **options):
        """One exchange; answers the parsed body."""
        try:
            response = self._send(method, path, body, **options)
        except requests.ConnectionError:
            return self.keep(name, f"{method} {path}", {"code": 0, "body": "the connection was closed without an answer"}, ignore) or {}
        answer = {"code": response.status_code, "type": response.headers.get("Content-Type")}
        if WARNINGS in response.headers:
            answer["warnings"] = response.headers[WARNINGS]
        text = self.named_back(response.text)
        try:
            answer["body"] = parsed = json.loads(text)
        except ValueError:
            answer["body"], parsed = text, {}
        self.keep(name, f"{method} {path}", answer, ignore)
        return parsed

    def keep(self, name: str, request: str, answer: dict, ignore=()) -> None:
        """Keeps an exchange made in another way."""
        self.exchanges.append(Exchange(f"{self.script}/{name}", request, answer, tuple(ignore)))

    def _send(self, method, path, body=None, *, headers=None, content="application/json", query=None, raw=None, timeout=60):
        sent = {"Accept": "application/json", **(headers or {})}
        data = raw
        if body is not None:
            data = json.dumps(body)
        if data is not None:
            sent.setdefault("Content-Type", content)
        query = {key: self.named(value) for key, value in (query or {}).items()}
        sent = {key: self.named(value) for key, value in sent.items()}
        return self.session.request(method, self.url + self.named(path), data=self.named(data), headers=sent, params=query, timeout=timeout)

    def patch(self, name, path, body, kind="merge", **options):
        """A patch of one of the four types."""
        content = {
            "json": "application/json-patch+json",
            "merge": "application/merge-patch+json",
            "strategic": "application/strategic-merge-patch+json",
            "apply": "application/apply-patch+yaml",
        }[kind]
        return self.ask(name, "PATCH", path, body, content=content, **options)

    def apply(self, name, path, body, manager="script", force=False, **options):
        """A server-side apply."""
        query = {"fieldManager": manager, **({"force": "true"} if force else {}), **options.pop("query", {})}
        return self.patch(name, path, body, "apply", query=query, **options)

    def watch(self, name: str, path: str, changes, count: int, query=None, headers=None, ignore=()):
        """Watches while `changes` happen, until `count` events came."""
        events: list = []
        query = {"watch": "true", "timeoutSeconds": "20", **(query or {})}
        sent = {"Accept": "application/json", **(headers or {})}
        response = self.session.get(self.url + self.named(path), params=query, headers=sent, stream=True, timeout=30)
        if response.status_code != 200:
            answer = {"code": response.status_code, "body": json.loads(self.named_back(response.text))}
            return self.keep(name, f"WATCH {path}", answer, ignore)
        worker = threading.Thread(target=changes)
        worker.start()
        with contextlib.closing(response):
            for line in response.iter_lines():
                events.append(json.loads(self.named_back(line.decode())))
                if len(events) == count or events[-1]["type"] == "ERROR":
                    break
        worker.join()
        self.keep(name, f"WATCH {path}", {"code": 200, "type": response.headers.get("Content-Type"), "events": events}, ignore)
        return events

    def kubectl(self, name: str, binary: str, *arguments, stdin=None, ignore=()):
        """What a kubectl says and how it ends."""
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": f"{self.folder.name}/{pathlib.Path(binary).name}"}
        command = [binary, *map(self.named, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=env, input=self.named(stdin), timeout=120)
        out, err = self.named_back(done.stdout), self.named_back(done.stderr)
        answer = {"code": done.returncode, "out": out.splitlines(), "err": err.splitlines()}
        with contextlib.suppress(ValueError):
            answer["out"] = json.loads(out)
        self.keep(name, f"kubectl {' '.join(arguments)}", answer, ignore)
        return done.stdout
