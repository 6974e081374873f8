"""Pipelines of a cluster under an address of this machine: each request goes through the API server's proxy, with a token
beside the administrator's own credentials, as `kfctl` sends it. So a client needs to know nothing of the cluster."""

import base64
import http.client
import http.server
import ssl
import tempfile
import threading
import urllib.parse

import yaml

SERVICE = "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy"
# What belongs to one connection, not to the request.
OF_THE_CONNECTION = {"host", "connection", "content-length", "transfer-encoding", "keep-alive"}


class Relay:
    """Answers on loopback until it is closed."""

    def __init__(self, kubeconfig, token):
        config = yaml.safe_load(kubeconfig.read_text())
        server = urllib.parse.urlsplit(config["clusters"][0]["cluster"]["server"])
        context = trusting(config)

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def relay(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name: value for name, value in self.headers.items() if name.lower() not in OF_THE_CONNECTION}
                connection = http.client.HTTPSConnection(server.hostname, server.port, context=context, timeout=120)
                try:
                    connection.request(self.command, SERVICE + self.path, body=body, headers={**headers, "x-pipelines-token": token})
                    answer = connection.getresponse()
                    content = answer.read()
                finally:
                    connection.close()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in OF_THE_CONNECTION:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = relay

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def trusting(config) -> ssl.SSLContext:
    """The cluster's authority and the administrator's certificate."""
    context = ssl.create_default_context(cadata=decoded(config["clusters"][0]["cluster"]["certificate-authority-data"]))
    user = config["users"][0]["user"]
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as both:
        both.write(decoded(user["client-certificate-data"]) + decoded(user["client-key-data"]))
        both.flush()
        context.load_cert_chain(both.name)
    return context


def decoded(text) -> str:
    return base64.b64decode(text).decode()
