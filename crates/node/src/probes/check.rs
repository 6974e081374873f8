//! One question to a container: does a command succeed, a page answer, a port accept?

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

use crate::net::NodeNetwork;
use crate::shim;

/// How probes reach a pod.
#[derive(Debug, Clone)]
pub struct Prober {
    /// The pod's address.
    pub ip: IpAddr,
    /// The network the address is in; without one it is this machine's.
    pub network: Option<NodeNetwork>,
    /// Where commands are run; a built-in pod has none.
    pub pod: Option<shim::Pod>,
}

/// Longest output of a probe that is kept.
const LONGEST_OUTPUT: u64 = 10 << 10;

/// Asks once. The error is what a `…probe failed:` event says.
pub async fn check(
    prober: &Prober,
    probe: &Probe,
    container: &Container,
    timeout: Duration,
) -> Result<(), String> {
    let question = async {
        if let Some(exec) = &probe.exec {
            return run_command(prober, container, exec.command.clone().unwrap_or_default()).await;
        }
        if let Some(get) = &probe.http_get {
            return http_get(prober, get, container).await;
        }
        if let Some(socket) = &probe.tcp_socket {
            let port = port_number(&socket.port, container)?;
            let host = host(socket.host.as_deref(), prober)?;
            return dial(prober, host, port).await.map(drop);
        }
        Err("this node has no probes of this kind yet; use exec, httpGet or tcpSocket".to_owned())
    };
    match tokio::time::timeout(timeout, question).await {
        Ok(answer) => answer,
        Err(_) if probe.exec.is_some() => Err(format!(
            "command timed out: {:?} timed out after {}s",
            command_text(probe),
            timeout.as_secs()
        )),
        Err(_) => Err(
            "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned(),
        ),
    }
}

fn command_text(probe: &Probe) -> String {
    probe
        .exec
        .as_ref()
        .and_then(|exec| exec.command.as_ref())
        .map(|command| command.join(" "))
        .unwrap_or_default()
}

async fn run_command(
    prober: &Prober,
    container: &Container,
    command: Vec<String>,
) -> Result<(), String> {
    let pod = prober
        .pod
        .as_ref()
        .ok_or("a built-in container runs no commands")?;
    let mut exec = pod
        .exec(shim::ExecSpec::new(&container.name, command))
        .await
        .map_err(|error| error.to_string())?;
    let mut output = Vec::new();
    let mut errors = Vec::new();
    let (mut stdout, mut stderr) = (exec.stdout.take(), exec.stderr.take());
    let read_out = async {
        if let Some(stream) = &mut stdout {
            let _ = stream.take(LONGEST_OUTPUT).read_to_end(&mut output).await;
        }
    };
    let read_err = async {
        if let Some(stream) = &mut stderr {
            let _ = stream.take(LONGEST_OUTPUT).read_to_end(&mut errors).await;
        }
    };
    tokio::join!(read_out, read_err);
    drop((stdout, stderr));
    match exec.exit.wait().await {
        Ok(0) => Ok(()),
        Ok(_) => {
            output.extend(errors);
            Err(String::from_utf8_lossy(&output).into_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

async fn http_get(
    prober: &Prober,
    get: &HTTPGetAction,
    container: &Container,
) -> Result<(), String> {
    let (status, _) = http_request(prober, get, container).await?;
    if (200..400).contains(&status) {
        Ok(())
    } else {
        Err(format!("HTTP probe failed with statuscode: {status}"))
    }
}

/// Makes the request of an `httpGet` probe or hook; the status and the start of the body.
pub async fn http_request(
    prober: &Prober,
    get: &HTTPGetAction,
    container: &Container,
) -> Result<(u16, String), String> {
    let port = port_number(&get.port, container)?;
    let address = host(get.host.as_deref(), prober)?;
    let path = get
        .path
        .as_deref()
        .filter(|path| !path.is_empty())
        .unwrap_or("/");
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let is_tls = get.scheme.as_deref() == Some("HTTPS");
    let url = format!(
        "{}://{address}:{port}{path}",
        if is_tls { "https" } else { "http" }
    );
    let failed = |error: String| format!("Get \"{url}\": {error}");
    let mut request = http::Request::get(&path).header("host", format!("{address}:{port}"));
    let headers = get.http_headers.iter().flatten();
    let mut names = Vec::new();
    for header in headers {
        names.push(header.name.to_ascii_lowercase());
        if header.name.eq_ignore_ascii_case("host")
            && let Some(headers) = request.headers_mut()
        {
            headers.remove("host");
        }
        request = request.header(&header.name, &header.value);
    }
    if !names.iter().any(|name| name == "user-agent") {
        request = request.header("user-agent", "kube-probe/1.33");
    }
    if !names.iter().any(|name| name == "accept") {
        request = request.header("accept", "*/*");
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| failed(error.to_string()))?;
    let stream = dial(prober, address, port).await.map_err(&failed)?;
    if is_tls {
        let stream = unverified_tls(stream, address).await.map_err(&failed)?;
        exchange(stream, request).await.map_err(failed)
    } else {
        exchange(stream, request).await.map_err(failed)
    }
}

async fn exchange<S>(
    stream: S,
    request: http::Request<Empty<Bytes>>,
) -> Result<(u16, String), String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let exchange = async {
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        // A body that is too long or breaks off says nothing against the status.
        let body = Limited::new(response.into_body(), LONGEST_OUTPUT as usize)
            .collect()
            .await;
        let body = body
            .map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned())
            .unwrap_or_default();
        Ok((status, body))
    };
    let answer = exchange.await;
    driver.abort();
    answer
}

/// Probes do not check certificates: pods have their own, for names that a probe does not use.
async fn unverified_tls(
    stream: TcpStream,
    host: IpAddr,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let config = unverified::config().map_err(|error| error.to_string())?;
    let name = rustls::pki_types::ServerName::from(host);
    tokio_rustls::TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())
}

async fn dial(prober: &Prober, host: IpAddr, port: u16) -> Result<TcpStream, String> {
    let refused =
        |error: &dyn std::fmt::Display| format!("dial tcp {host}:{port}: connect: {error}");
    match (&prober.network, host) {
        // Only the pod network is reached from there: a probe of another address must not become a way around the relay.
        (Some(network), IpAddr::V4(ip)) if network.layout().is_inside(ip) => network
            .dial(SocketAddrV4::new(ip, port))
            .await
            .map_err(|error| {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                refused(&cause.unwrap_or_else(|| error.to_string()))
            }),
        (Some(_), _) => Err(format!(
            "{host} is outside of the cluster, where probes do not go"
        )),
        (None, _) => TcpStream::connect(SocketAddr::new(host, port))
            .await
            .map_err(|error| refused(&error)),
    }
}

fn host(given: Option<&str>, prober: &Prober) -> Result<IpAddr, String> {
    match given.filter(|host| !host.is_empty()) {
        // The pod's own loopback is not the node's; a server that listens on all addresses answers on the pod's.
        None | Some("localhost" | "127.0.0.1") => Ok(prober.ip),
        Some(host) => host
            .parse()
            .map_err(|_| format!("{host:?} is not an address; leave the host out to ask the pod")),
    }
}

fn port_number(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => container
            .ports
            .iter()
            .flatten()
            .find(|port| port.name.as_deref() == Some(name))
            .map(|port| port.container_port)
            .or_else(|| name.parse().ok()),
    };
    number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("the container has no port {port:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    fn prober() -> Prober {
        Prober {
            ip: "127.0.0.1".parse().expect("an address"),
            network: None,
            pod: None,
        }
    }

    async fn asked(probe: Value, container: Value) -> Result<(), String> {
        let probe = serde_json::from_value(probe).expect("a probe");
        let container = serde_json::from_value(container).expect("a container");
        check(&prober(), &probe, &container, Duration::from_secs(5)).await
    }

    /// Answers one request with a status, and gives back what was asked.
    async fn answering(status: u16) -> (u16, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            let mut request = vec![0; 4096];
            let count = stream.read(&mut request).await.expect("a request");
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.expect("answered");
            String::from_utf8_lossy(&request[..count]).into_owned()
        });
        (port, asked)
    }

    #[tokio::test]
    async fn a_page_answers_with_a_status_below_400() {
        for (status, passes) in [(200, true), (302, true), (404, false), (500, false)] {
            let (port, asked_for) = answering(status).await;
            let container = json!({"name": "c", "ports": [{"name": "web", "containerPort": port}]});
            let answer = asked(
                json!({"httpGet": {"path": "healthz", "port": "web"}}),
                container,
            )
            .await;
            assert_eq!(answer.is_ok(), passes, "{status}");
            let request = asked_for.await.expect("a request");
            assert!(
                request.starts_with("GET /healthz HTTP/1.1\r\n"),
                "{request}"
            );
            assert!(request.contains("user-agent: kube-probe/"), "{request}");
        }
    }

    #[tokio::test]
    async fn a_port_accepts_or_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let probe = json!({"tcpSocket": {"port": port}});
        assert_eq!(asked(probe.clone(), json!({"name": "c"})).await, Ok(()));
        drop(listener);
        let refused = asked(probe, json!({"name": "c"}))
            .await
            .expect_err("refused");
        assert!(
            refused.starts_with(&format!("dial tcp 127.0.0.1:{port}: connect: ")),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn a_port_without_a_number_is_a_failure_in_words() {
        let answer = asked(json!({"tcpSocket": {"port": "none"}}), json!({"name": "c"})).await;
        assert!(
            answer
                .expect_err("no port")
                .contains("the container has no port")
        );
    }
}
