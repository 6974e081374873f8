//! exec, attach and port-forward as a kube-apiserver asks for them: SPDY and WebSocket, straight at the kubelet's API.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::extract::ConnectInfo;
use http::header::{CONNECTION, UPGRADE};
use hyper_util::rt::TokioIo;
use node::builtin::{Failure, Peer, PodContext, Table};
use serde_json::{Value, json};
use spdy::{Connection, Headers, Role, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::components::{NAMESPACE, deploy, is_ready as is_component_ready, until};
use crate::home::{Home, once};

fn is_running(pod: &Value) -> bool {
    pod["status"]["containerStatuses"][0]["state"]["running"].is_object()
}

/// Speaks SPDY with the kubelet, in one of these versions of what is spoken on the streams.
async fn spdy(home: &Home, target: &str, versions: &str) -> Result<Connection> {
    let (near, far) = tokio::io::duplex(64 << 10);
    let service = hyper_util::service::TowerToHyperService::new(home.kubelet());
    let served =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(far), service);
    tokio::spawn(served.with_upgrades());
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await?;
    tokio::spawn(driver.with_upgrades());
    let request = http::Request::post(target)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "SPDY/3.1")
        .header("X-Stream-Protocol-Version", versions)
        .body(axum::body::Body::empty())?;
    let response = sender.send_request(request).await?;
    ensure!(response.status() == 101, "{}", response.status());
    let io = hyper::upgrade::on(response).await?;
    Ok(Connection::start(TokioIo::new(io), Role::Client))
}

async fn open(connection: &Connection, headers: Headers) -> Result<Stream> {
    let stream = connection.opener().open(headers)?;
    stream.replied().await?;
    Ok(stream)
}

async fn open_kind(connection: &Connection, kind: &str) -> Result<Stream> {
    open(connection, Headers::default().with("streamType", kind)).await
}

async fn all(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<String> {
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

/// Asks for one connection to a port, as kubectl does.
async fn forward(connection: &Connection, id: u32, port: u16) -> Result<(Stream, Stream)> {
    let headers = |kind: &str| {
        Headers::default()
            .with("streamType", kind)
            .with("port", port.to_string())
            .with("requestID", id.to_string())
    };
    let mut error = open(connection, headers("error")).await?;
    error.shutdown().await?;
    Ok((error, open(connection, headers("data")).await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_over_spdy_has_its_streams_and_tells_its_exit_code() -> Result<()> {
    let home = Home::start().await?;
    home.run("shell", once("while :; do sleep 0.1; done"))
        .await?;
    home.until("shell", "running", is_running).await?;
    let target = |script: &str| {
        format!(
            "/exec/default/shell/main?command=sh&command=-c&command={script}&input=1&output=1&error=1"
        )
    };
    let script = "cat;echo+wrong+%3E%262;exit+3";
    for (version, is_object) in [
        ("v5.channel.k8s.io, v4.channel.k8s.io", true),
        ("v2.channel.k8s.io", false),
    ] {
        let connection = spdy(&home, &target(script), version).await?;
        let mut error = open_kind(&connection, "error").await?;
        let mut stdin = open_kind(&connection, "stdin").await?;
        let mut stdout = open_kind(&connection, "stdout").await?;
        let mut stderr = open_kind(&connection, "stderr").await?;
        let input = "line\n".repeat(60_000);
        let sending = async {
            stdin.write_all(input.as_bytes()).await?;
            stdin.shutdown().await
        };
        let (sent, out) = tokio::join!(sending, all(&mut stdout));
        sent?;
        assert!(out? == input, "everything came back");
        assert_eq!(all(&mut stderr).await?, "wrong\n");
        let status = all(&mut error).await?;
        if is_object {
            let status: Value = serde_json::from_str(&status)?;
            assert_eq!(status["details"]["causes"][0]["message"], "3");
        } else {
            assert_eq!(
                status,
                "command terminated with non-zero exit code: exit status 3"
            );
        }
    }
    let refused = spdy(&home, &target("true"), "v9.channel.k8s.io").await;
    assert_eq!(
        refused.err().context("no refusal")?.to_string(),
        "403 Forbidden"
    );
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_has_the_size_of_the_clients_window() -> Result<()> {
    let home = Home::start().await?;
    home.run("shell", once("while :; do sleep 0.1; done"))
        .await?;
    home.until("shell", "running", is_running).await?;
    let script =
        "while+[+%22%24(stty+size)%22+!=+%2243+132%22+]%3B+do+sleep+0.02%3B+done%3B+echo+sized";
    let target = format!(
        "/exec/default/shell/main?command=sh&command=-c&command={script}&input=1&output=1&tty=1"
    );
    let connection = spdy(&home, &target, "v4.channel.k8s.io").await?;
    let mut error = open_kind(&connection, "error").await?;
    let _stdin = open_kind(&connection, "stdin").await?;
    let mut stdout = open_kind(&connection, "stdout").await?;
    let mut resize = open_kind(&connection, "resize").await?;
    // The second arrives in two parts.
    resize
        .write_all(b"{\"Width\":80,\"Height\":24}\n{\"Width\":132,")
        .await?;
    resize.write_all(b"\"Height\":43}\n").await?;
    let printed = tokio::time::timeout(Duration::from_secs(60), all(&mut stdout)).await;
    assert_eq!(printed.context("the size never came")??.trim(), "sized");
    assert!(all(&mut error).await?.contains("Success"));
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_first_clients_input_is_the_end_of_a_containers_stdin() -> Result<()> {
    let home = Home::start().await?;
    let mut spec = once("cat; echo over");
    spec["containers"][0]["stdin"] = json!(true);
    spec["containers"][0]["stdinOnce"] = json!(true);
    home.run("reader", spec).await?;
    home.until("reader", "running", is_running).await?;
    let target = "/attach/default/reader/main?input=1&output=1&error=1";
    let connection = spdy(&home, target, "v4.channel.k8s.io").await?;
    let mut error = open_kind(&connection, "error").await?;
    let mut stdin = open_kind(&connection, "stdin").await?;
    let mut stdout = open_kind(&connection, "stdout").await?;
    let _stderr = open_kind(&connection, "stderr").await?;
    stdin.write_all(b"hello\n").await?;
    stdin.shutdown().await?;
    assert_eq!(all(&mut stdout).await?, "hello\nover\n");
    assert!(all(&mut error).await?.contains("Success"));
    home.until_phase("reader", "Succeeded").await?;
    home.end().await
}

const SERVERS: &str = "
import socketserver, threading
class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        asked = self.rfile.readline()
        self.wfile.write(b'%s asked %d bytes' % (self.client_address[0].encode(), len(asked)))
class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 100
print('up', flush=True)
Server(('127.0.0.1', 7000), Answer).serve_forever()
";

#[tokio::test(flavor = "multi_thread")]
async fn forwarded_ports_are_those_of_the_pods_own_loopback() -> Result<()> {
    let home = Home::start().await?;
    let container =
        json!({"name": "main", "image": "python:3", "command": ["python3", "-c", SERVERS]});
    home.run(
        "server",
        json!({"terminationGracePeriodSeconds": 1, "containers": [container]}),
    )
    .await?;
    home.until("server", "running", is_running).await?;
    while home.log("server").await? != "up\n" {
        tokio::task::yield_now().await;
    }
    let connection = spdy(&home, "/portForward/default/server", "portforward.k8s.io").await?;
    // Retried, since the port opens a moment after the line is printed.
    let mut id = 0;
    loop {
        let (mut error, mut data) = forward(&connection, id, 7000).await?;
        id += 1;
        data.write_all(b"12345").await?;
        data.shutdown().await?;
        match all(&mut data).await {
            Ok(answer) => {
                assert_eq!(
                    answer, "127.0.0.1 asked 5 bytes",
                    "the answer comes after our half has ended"
                );
                assert_eq!(all(&mut error).await?, "");
                break;
            }
            Err(_) => assert!(all(&mut error).await?.contains("Connection refused")),
        }
    }
    let many = (0..60).map(|number| {
        let (connection, id) = (&connection, id + number);
        async move {
            let (_error, mut data) = forward(connection, id, 7000).await?;
            data.write_all(&vec![0; 100_000]).await?;
            data.shutdown().await?;
            all(&mut data).await
        }
    });
    for answer in futures::future::try_join_all(many).await? {
        assert_eq!(answer, "127.0.0.1 asked 100000 bytes");
    }

    let (mut error, mut data) = forward(&connection, 1000, 7999).await?;
    let words = all(&mut error).await?;
    assert!(
        words.starts_with("error forwarding port 7999 to pod server, uid "),
        "{words}"
    );
    assert!(words.contains("Connection refused"), "{words}");
    assert!(all(&mut data).await.is_err());

    // The same over WebSocket, by another client.
    let mut forwarder = home.pods().portforward("server", &[7000]).await?;
    let mut stream = forwarder.take_stream(7000).context("no stream")?;
    stream.write_all(b"x\n").await?;
    assert_eq!(all(&mut stream).await?, "127.0.0.1 asked 2 bytes");
    let mut forwarder = home.pods().portforward("server", &[7998]).await?;
    let failed = forwarder.take_error(7998).context("no errors")?.await;
    assert!(failed.context("no error")?.contains("Connection refused"));
    home.end().await
}

/// Answers with the address of who asks.
async fn mirror(pod: PodContext) -> Result<(), Failure> {
    let peer = |ConnectInfo(peer): ConnectInfo<Peer>| async move { peer.address.ip().to_string() };
    let router = axum::Router::new().route("/", axum::routing::get(peer));
    Ok(pod.serve(8888, router).await?)
}

async fn ask(mut io: impl AsyncReadExt + AsyncWriteExt + Unpin) -> Result<String> {
    io.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    io.read_to_string(&mut answer).await?;
    Ok(answer.lines().last().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_api_servers_proxy_comes_from_the_address_that_is_believed() -> Result<()> {
    let home = Home::with(Table::default().with("greet", mirror)).await?;
    home.namespace(NAMESPACE).await?;
    deploy(&home, "mirror", json!([])).await?;
    let pod = until(&home, "mirror", "running", |pod| {
        is_running(pod) || is_component_ready(pod)
    })
    .await?;
    let name = pod["metadata"]["name"].as_str().context("no name")?;
    let address: Ipv4Addr = pod["status"]["podIP"]
        .as_str()
        .context("no address")?
        .parse()?;
    let layout = node::net::Layout::default();

    let proxied = home
        .node()
        .dialer()
        .dial("default", &address.to_string(), 8888)
        .await?;
    assert_eq!(ask(proxied).await?, layout.proxy.to_string());

    let target = format!("/portForward/{NAMESPACE}/{name}");
    let connection = spdy(&home, &target, "portforward.k8s.io").await?;
    let (_error, data) = forward(&connection, 0, 8888).await?;
    assert_eq!(ask(data).await?, layout.gateway.to_string());
    home.end().await
}
