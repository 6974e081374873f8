//! The control socket: how `status`, `down` and `up --detach` speak to a living server. It lies in the
//! owner's 0700 folder, so whoever can reach it is the owner.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use axum::body::Body;
use axum::extract::State as Shared;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::instance::DataFolder;
use crate::readiness::{Board, Report};

/// What the server says of itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vitals {
    /// Resident memory of the server, bytes.
    pub memory_bytes: u64,
    /// Resident memory of the pods' processes, bytes.
    pub pods_memory_bytes: u64,
    /// How far each part is.
    pub report: Report,
}

/// What the routes need.
pub struct Control {
    /// How far the start is.
    pub board: Board,
    /// Cancelled to stop the platform.
    pub stop: CancellationToken,
}

/// Serves the socket until `closed` is cancelled.
pub fn serve(
    data: &DataFolder,
    control: Arc<Control>,
    closed: CancellationToken,
) -> Result<tokio::task::JoinHandle<()>> {
    let path = data.control_socket();
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("remove the old control socket");
        }
        _ => {}
    }
    let listener =
        UnixListener::bind(&path).with_context(|| format!("listen on {}", path.display()))?;
    let router = Router::new()
        .route("/vitals", get(vitals))
        .route("/progress", get(progress))
        .route("/stop", post(stop))
        .with_state(control);
    Ok(tokio::spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(async move { closed.cancelled().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "the control socket failed");
        }
    }))
}

async fn vitals(Shared(control): Shared<Arc<Control>>) -> Json<Vitals> {
    let memory = crate::memory::Usage::read();
    Json(Vitals {
        memory_bytes: memory.own_bytes,
        pods_memory_bytes: memory.children_bytes,
        report: control.board.subscribe().borrow().clone(),
    })
}

async fn progress(Shared(control): Shared<Arc<Control>>) -> impl IntoResponse {
    let mut reader = control.board.subscribe();
    let stream = async_stream(move |sender| async move {
        loop {
            let report = reader.borrow_and_update().clone();
            let done = report.done;
            let mut line = serde_json::to_vec(&report).expect("a report is plain data");
            line.push(b'\n');
            if sender
                .send(Ok::<_, std::io::Error>(Bytes::from(line)))
                .await
                .is_err()
                || done
                || reader.changed().await.is_err()
            {
                return;
            }
        }
    });
    Body::from_stream(stream)
}

async fn stop(Shared(control): Shared<Arc<Control>>) -> Json<serde_json::Value> {
    control.stop.cancel();
    Json(serde_json::json!({}))
}

/// A stream fed by a task.
fn async_stream<T, F, Fut>(feed: F) -> impl Stream<Item = T>
where
    T: Send + 'static,
    F: FnOnce(tokio::sync::mpsc::Sender<T>) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    tokio::spawn(feed(sender));
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}

/// The asking side.
pub struct Client {
    data: DataFolder,
}

impl Client {
    /// A client of the server on `data`.
    pub fn new(data: DataFolder) -> Self {
        Self { data }
    }

    /// What the server says of itself.
    pub async fn vitals(&self) -> Result<Vitals> {
        let body = self
            .send("GET", "/vitals")
            .await?
            .collect()
            .await
            .context("read the server's answer")?
            .to_bytes();
        serde_json::from_slice(&body).context("read the server's answer")
    }

    /// Tells the server to stop. It is gone when its lock is free.
    pub async fn stop(&self) -> Result<()> {
        self.send("POST", "/stop").await.map(drop)
    }

    /// Every state of the start until it is done.
    pub async fn progress(&self) -> Result<impl Stream<Item = Result<Report>> + use<>> {
        let body = self.send("GET", "/progress").await?;
        let mut chunks = body.into_data_stream();
        Ok(async_stream(move |sender| async move {
            let mut pending = Vec::new();
            while let Some(chunk) = chunks.next().await {
                match chunk {
                    Ok(chunk) => pending.extend_from_slice(&chunk),
                    Err(error) => {
                        let _ = sender.send(Err(error.into())).await;
                        return;
                    }
                }
                while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = pending.drain(..=end).collect();
                    let report =
                        serde_json::from_slice(&line).context("read the progress of the start");
                    if sender.send(report).await.is_err() {
                        return;
                    }
                }
            }
        }))
    }

    async fn send(&self, method: &str, path: &str) -> Result<hyper::body::Incoming> {
        let socket = self.data.control_socket();
        let stream = UnixStream::connect(&socket)
            .await
            .with_context(|| format!("connect to {}", socket.display()))?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "control")
            .body(Empty::<Bytes>::new())
            .expect("the request is well formed");
        let response = sender
            .send_request(request)
            .await
            .context("ask the running platform")?;
        if !response.status().is_success() {
            bail!(
                "the running platform answered {} to {method} {path}",
                response.status()
            );
        }
        Ok(response.into_body())
    }
}
