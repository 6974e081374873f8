"""kubectl port-forward, as the guide has it."""

import http.client
import os
import re
import socket
import subprocess
import threading
import urllib.parse


class Forward:
    """kubectl port-forward, as the guide has it; where the server cannot do that yet, the same by `kubectl exec`."""

    def __init__(self, cluster, namespace="istio-system", name="istio-ingressgateway", port=80, pod_port=8080):
        self.env = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
        command = ["kubectl", "port-forward", "-n", namespace, f"svc/{name}", f":{port}"]
        self.process = subprocess.Popen(command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        match = re.search(r"127\.0\.0\.1:(\d+)", self.process.stdout.readline())
        self.listener = None
        if match:
            self.port = int(match.group(1))
            return
        relay = f"exec 3<>/dev/tcp/127.0.0.1/{pod_port}; cat <&3 & cat >&3"
        self.exec = ["kubectl", "exec", "-i", "-n", namespace, f"deploy/{name}", "--", "bash", "-c", relay]
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            process = subprocess.Popen(self.exec, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
            threading.Thread(target=self.pump, args=(lambda: connection.recv(65536), process.stdin.write, process.kill), daemon=True).start()
            threading.Thread(target=self.pump, args=(lambda: process.stdout.read(65536), connection.sendall, connection.close), daemon=True).start()

    @staticmethod
    def pump(read, write, end):
        try:
            while data := read():
                write(data)
        except OSError:
            pass
        end()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.listener:
            self.listener.close()
        self.process.terminate()
        self.process.wait()

    def ask(self, method, path, form=None, cookie=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = dict(headers or {})
        if cookie:
            headers["Cookie"] = cookie
        body = None
        if form is not None:
            body = urllib.parse.urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        return answer, answer.read().decode()
