//! What the API server itself says over WebSocket: a tunnel in which clients speak SPDY to the kubelet, and logs.

use axum::body::Body;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use futures::{SinkExt, StreamExt};
use http::header::{CONNECTION, HOST, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderMap, Method, StatusCode};
use hyper_util::rt::TokioIo;
use objects::Status;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::forward;
use crate::backend::Stream;
use crate::error::ApiError;

/// The protocol of the tunnel; what follows the plus is spoken inside.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// What is spoken inside of the tunnel, as its own handshake names it.
const INSIDE: &str = "portforward.k8s.io";
/// Logs as bytes, and as text for who cannot have bytes.
const LOGS: [&str; 2] = ["binary.k8s.io", "base64.binary.k8s.io"];

/// Whether a request wants WebSocket.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    forward::is_upgrade(headers)
        && headers
            .get(UPGRADE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Whether a request wants the tunnel.
pub(super) fn is_tunnel_wanted(headers: &HeaderMap) -> bool {
    let offered = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok());
    is_wanted(headers)
        && offered
            .flat_map(|value| value.split(','))
            .any(|word| word.trim() == TUNNEL)
}

/// Opens SPDY to the kubelet at `target`, and then the tunnel to the client. A refusal of the kubelet is the answer.
pub(super) async fn tunnel(
    connection: Box<dyn Stream>,
    request: Request,
    target: &str,
    host: &str,
) -> Result<Response, ApiError> {
    let upgrade = upgrade(request, &[TUNNEL]).await?;
    let onward = http::Request::builder()
        .method(Method::POST)
        .uri(target)
        .header(HOST, host)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "SPDY/3.1")
        .header("x-stream-protocol-version", INSIDE)
        .body(Body::empty())
        .map_err(ApiError::internal)?;
    let mut response = forward::exchange(connection, onward).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    let kubelet = hyper::upgrade::on(&mut response);
    Ok(upgrade.on_upgrade(move |socket| async move {
        match kubelet.await {
            Ok(kubelet) => carry(socket, TokioIo::new(kubelet)).await,
            Err(err) => tracing::debug!(error = %err, "upgrading the kubelet's end of a tunnel"),
        }
    }))
}

async fn upgrade(
    request: Request,
    protocols: &[&'static str],
) -> Result<WebSocketUpgrade, ApiError> {
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let upgrade = upgrade.map_err(|err| ApiError::from(Status::bad_request(err.to_string())))?;
    Ok(upgrade.protocols(protocols.iter().copied()))
}

/// Carries bytes between messages and a stream until either side ends.
async fn carry(socket: WebSocket, stream: impl AsyncRead + AsyncWrite) {
    let (mut sink, mut messages) = socket.split();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let up = async {
        while let Some(Ok(message)) = messages.next().await {
            match message {
                Message::Binary(bytes) => match writer.write_all(&bytes).await {
                    Ok(()) => {}
                    Err(_) => return,
                },
                Message::Close(_) => break,
                _ => {}
            }
        }
        let _ = writer.shutdown().await;
    };
    let down = async {
        let mut buffer = vec![0; 32 << 10];
        while let Ok(count @ 1..) = reader.read(&mut buffer).await {
            let bytes = buffer[..count].to_vec().into();
            if sink.send(Message::Binary(bytes)).await.is_err() {
                return;
            }
        }
        let _ = sink.send(normal_close()).await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// Sends a log as messages.
pub(super) async fn log(request: Request, log: Response) -> Result<Response, ApiError> {
    let upgrade = upgrade(request, &LOGS).await?;
    let is_text = upgrade
        .selected_protocol()
        .is_some_and(|chosen| chosen == LOGS[1]);
    let upgraded = upgrade.on_upgrade(move |mut socket| async move {
        let mut lines = log.into_body().into_data_stream();
        while let Some(Ok(bytes)) = lines.next().await {
            let message = if is_text {
                Message::Text(
                    base64::engine::general_purpose::STANDARD
                        .encode(&bytes)
                        .into(),
                )
            } else {
                Message::Binary(bytes)
            };
            if socket.send(message).await.is_err() {
                return;
            }
        }
        let _ = socket.send(normal_close()).await;
    });
    Ok(upgraded.into_response())
}

fn normal_close() -> Message {
    Message::Close(Some(CloseFrame {
        code: close_code::NORMAL,
        reason: "".into(),
    }))
}
