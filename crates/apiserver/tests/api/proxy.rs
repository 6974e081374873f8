//! Logs, exec and proxies, against a kubelet and pods that are a few lines of axum.

use std::sync::Arc;

use apiserver::backend::{Dialing, Stream};
use apiserver::{ApiServer, Backend, Config};
use axum::Router;
use axum::extract::{Path, RawQuery, Request, WebSocketUpgrade};
use axum::routing::{any, get};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use serde_json::json;
use tokio::io::AsyncReadExt;

use crate::server::{PODS, Server, pod};

/// A kubelet that says what it was asked, and whose `exec` prints its query.
fn kubelet() -> Router {
    Router::new()
        .route(
            "/containerLogs/{namespace}/{pod}/{container}",
            get(
                |Path((_, pod, container)): Path<(String, String, String)>,
                 RawQuery(query): RawQuery| async move {
                    format!("{pod}/{container}?{}\n", query.unwrap_or_default())
                },
            ),
        )
        .route(
            "/exec/{namespace}/{pod}/{container}",
            any(
                |RawQuery(query): RawQuery, upgrade: WebSocketUpgrade| async move {
                    upgrade
                        .protocols(["v5.channel.k8s.io", "v4.channel.k8s.io"])
                        .on_upgrade(|mut socket| async move {
                            use axum::extract::ws::Message;
                            let line = [b"\x01", query.unwrap_or_default().as_bytes()].concat();
                            let _ = socket.send(Message::Binary(line.into())).await;
                            let status =
                                [b"\x03".as_slice(), br#"{"metadata":{},"status":"Success"}"#]
                                    .concat();
                            let _ = socket.send(Message::Binary(status.into())).await;
                            let _ = socket.send(Message::Close(None)).await;
                        })
                },
            ),
        )
        .route("/portForward/{namespace}/{pod}", any(port_forward))
}

/// Leaves HTTP as if for SPDY, and sends back whatever comes.
async fn port_forward(mut request: Request) -> axum::response::Response {
    let asked = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    };
    if asked("upgrade").as_deref() != Some("SPDY/3.1") {
        let text = format!(
            "asked for {:?}?{:?}",
            asked("upgrade"),
            request.uri().query()
        );
        return axum::response::IntoResponse::into_response((http::StatusCode::BAD_REQUEST, text));
    }
    assert_eq!(
        asked("x-stream-protocol-version").as_deref(),
        Some("portforward.k8s.io")
    );
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let io = hyper_util::rt::TokioIo::new(upgraded.await.unwrap());
        let (mut reader, mut writer) = tokio::io::split(io);
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    });
    let response = http::Response::builder()
        .status(101)
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1");
    response.body(axum::body::Body::empty()).unwrap()
}

type Socket = tokio_tungstenite::WebSocketStream<tokio::io::DuplexStream>;

/// Opens a WebSocket to the server in one of these protocols.
async fn websocket(
    server: &Server,
    path: &str,
    protocols: &str,
) -> Result<(Socket, String), String> {
    let (near, far) = tokio::io::duplex(1 << 16);
    let service = hyper_util::service::TowerToHyperService::new(server.api.service());
    let service =
        hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            hyper::service::Service::call(&service, request.map(axum::body::Body::new))
        });
    let served = hyper::server::conn::http1::Builder::new()
        .serve_connection(hyper_util::rt::TokioIo::new(far), service);
    tokio::spawn(served.with_upgrades());
    let request = http::Request::get(format!("ws://server{path}"))
        .header("host", "server")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header(
            "sec-websocket-key",
            tokio_tungstenite::tungstenite::handshake::client::generate_key(),
        )
        .header("sec-websocket-protocol", protocols)
        .header("authorization", format!("Bearer {}", server.token));
    let opened = tokio_tungstenite::client_async(request.body(()).unwrap(), near).await;
    let (socket, response) = opened.map_err(|err| err.to_string())?;
    let chosen = response.headers().get("sec-websocket-protocol");
    let chosen = chosen
        .map_or("", |value| value.to_str().unwrap())
        .to_owned();
    Ok((socket, chosen))
}

#[tokio::test]
async fn a_tunnel_carries_the_bytes_of_a_spdy_connection_to_the_kubelet() {
    use futures::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::Message;
    let server = start().await;
    bind(&server).await;
    let path = format!("{PODS}/p/portforward");
    let (mut socket, chosen) = websocket(&server, &path, "SPDY/3.1+portforward.k8s.io")
        .await
        .unwrap();
    assert_eq!(chosen, "SPDY/3.1+portforward.k8s.io");
    let mut back = Vec::new();
    for part in [&b"one"[..], b" and two"] {
        socket
            .send(Message::Binary(part.to_vec().into()))
            .await
            .unwrap();
    }
    while back.len() < 11 {
        if let Message::Binary(bytes) = socket.next().await.unwrap().unwrap() {
            back.extend_from_slice(&bytes);
        }
    }
    assert_eq!(back, b"one and two");
    // Any other protocol is between the client and the kubelet, which is told the ports.
    let refused = websocket(
        &server,
        &format!("{path}?ports=80&ports=443"),
        "v4.channel.k8s.io",
    )
    .await;
    assert!(refused.err().unwrap().contains("400"));
}

#[tokio::test]
async fn a_log_may_be_read_over_websocket() {
    use futures::StreamExt;
    let server = start().await;
    bind(&server).await;
    let path = format!("{PODS}/p/log?container=main");
    for (protocol, expected) in [
        ("binary.k8s.io", "p/main?\n"),
        ("base64.binary.k8s.io", "cC9tYWluPwo="),
    ] {
        let (socket, chosen) = websocket(&server, &path, protocol).await.unwrap();
        assert_eq!(chosen, protocol);
        // The server hangs up after its last message; our answer to that may not reach it any more.
        let messages: Vec<_> = socket
            .take_while(|message| std::future::ready(message.is_ok()))
            .filter_map(|message| std::future::ready(message.ok()))
            .collect()
            .await;
        let text: Vec<u8> = messages
            .into_iter()
            .filter(|message| message.is_binary() || message.is_text())
            .flat_map(|message| message.into_data().to_vec())
            .collect();
        assert_eq!(String::from_utf8_lossy(&text), expected);
    }
}

/// A pod's web server that answers with what it was sent.
fn dial(_: &str, host: &str, port: u16) -> Dialing {
    let host = host.to_owned();
    Box::pin(async move {
        if host != "10.244.0.9" {
            return Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        }
        let (near, far) = tokio::io::duplex(4096);
        let router = Router::new().fallback(move |request: Request| async move {
            let header = |name: &str| {
                request
                    .headers()
                    .get(name)
                    .map(|value| value.to_str().unwrap().to_owned())
            };
            format!(
                "{} {} port={port} user={:?} authorization={:?}",
                request.method(),
                request.uri(),
                header("x-remote-user"),
                header("authorization")
            )
        });
        let service = hyper_util::service::TowerToHyperService::new(router);
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(hyper_util::rt::TokioIo::new(far), service),
        );
        Ok(Box::new(near) as Box<dyn Stream>)
    })
}

async fn start() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::new(Arc::new(dial));
    let api = ApiServer::open(Config {
        backend,
        ..Config::at(folder.path())
    })
    .await
    .unwrap();
    api.backend().register_kubelet("n1", kubelet());
    let token = api.admin_token().to_owned();
    let server = Server { api, folder, token };
    server.default_account().await;
    server.post(PODS, &pod("p")).await.expect(201);
    server
}

async fn bind(server: &Server) {
    let binding =
        json!({"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": "n1"}});
    server
        .post(&format!("{PODS}/p/binding"), &binding)
        .await
        .expect(201);
    let status = json!({"status": {"phase": "Running", "podIP": "10.244.0.9", "podIPs": [{"ip": "10.244.0.9"}]}});
    server
        .patch(&format!("{PODS}/p/status"), "merge", &status)
        .await
        .expect(200);
}

#[tokio::test]
async fn logs_come_from_the_kubelet_of_the_pods_node() {
    let server = start().await;
    let nothing = server.get(&format!("{PODS}/p/log")).await.expect(204);
    assert_eq!(nothing, "", "a pod on no node has said nothing");
    bind(&server).await;
    let logs = server
        .get(&format!("{PODS}/p/log?tailLines=5&follow=true"))
        .await
        .expect(200);
    assert_eq!(logs, json!("p/main?follow=true&tailLines=5\n"));
    let words = server
        .get(&format!("{PODS}/p/log?container=odd"))
        .await
        .refused(400);
    assert_eq!(words, "container odd is not valid for pod p");
    server
        .get(&format!("{PODS}/p/log?tailLines=-1"))
        .await
        .expect(422);
}

#[tokio::test]
async fn exec_reaches_the_container_through_the_clients_own_protocol() {
    let server = start().await;
    bind(&server).await;
    let pods: Api<Pod> = Api::default_namespaced(server.api.admin_client());
    let params = AttachParams::default().stdout(true).stderr(false);
    let mut process = pods.exec("p", ["echo", "a b"], &params).await.unwrap();
    let mut output = String::new();
    process
        .stdout()
        .unwrap()
        .read_to_string(&mut output)
        .await
        .unwrap();
    assert_eq!(output, "output=1&command=echo&command=a%20b");
    let status = process.take_status().unwrap().await.unwrap();
    assert_eq!(status.status.as_deref(), Some("Success"));
    process.join().await.unwrap();
}

#[tokio::test]
async fn the_proxy_reaches_pods_and_services_as_the_user_and_without_the_token() {
    let server = start().await;
    bind(&server).await;
    let through_pod = server
        .get(&format!("{PODS}/p:8080/proxy/a/b?c=d"))
        .await
        .expect(200);
    assert_eq!(
        through_pod,
        json!("GET /a/b?c=d port=8080 user=Some(\"kubernetes-admin\") authorization=None")
    );
    let services = "/api/v1/namespaces/default/services";
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "p"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}});
    server.post(services, &service).await.expect(201);
    let words = server
        .get(&format!("{services}/web:http/proxy/"))
        .await
        .refused(503);
    assert_eq!(words, "no endpoints available for service \"web\"");
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.244.0.9"], "conditions": {"ready": true}}],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}]});
    server
        .post(
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            &slice,
        )
        .await
        .expect(201);
    for name in ["web", "web:http", "web:80", "http:web:80"] {
        let answer = server
            .get(&format!("{services}/{name}/proxy/x"))
            .await
            .expect(200);
        assert!(
            answer.as_str().unwrap().starts_with("GET /x port=8080"),
            "{name}: {answer}"
        );
    }
    server
        .get(&format!("{services}/web:http/proxy"))
        .await
        .expect(301);
}
