//! The gateway, `istio-ingressgateway`: the address that people forward to. It passes bytes to the console and back,
//! and knows nothing about them; it has no rights in the cluster.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::routing::get;
use futures::future::BoxFuture;
use node::builtin::PodContext;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::standalone::Surface;

/// The port that people reach.
pub const PORT: u16 = 8080;
/// The port that the kubelet asks.
const HEALTH_PORT: u16 = 15021;
/// Where everything goes.
const TARGET: (&str, u16) = ("dashboard.kubeflow", 80);

type Dial = Arc<dyn Fn() -> BoxFuture<'static, std::io::Result<TcpStream>> + Send + Sync>;

/// As a built-in pod.
pub async fn in_pod(pod: PodContext) -> Result<()> {
    let mut listener = pod
        .listen(PORT)
        .await
        .with_context(|| format!("listen on port {PORT}"))?;
    let dialing = pod.clone();
    let dial: Dial = Arc::new(move || {
        let pod = dialing.clone();
        Box::pin(async move {
            pod.dial(TARGET.0, TARGET.1)
                .await
                .map_err(std::io::Error::other)
        })
    });
    let health = pod.serve(HEALTH_PORT, health());
    let relay = async {
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        pod.spawn(pass(stream, dial.clone(), pod.shutdown.clone()));
                    }
                    Err(error) => pause(&error).await,
                },
                () = pod.shutdown.cancelled() => return,
            }
        }
    };
    let (served, ()) = tokio::join!(health, relay);
    served.context("answer the kubelet")
}

/// As a process of its own.
pub async fn alone(surface: &Surface) -> Result<()> {
    let listener = surface.listen(PORT).await?;
    let dial: Dial = Arc::new(|| Box::pin(TcpStream::connect(TARGET)));
    let probes = tokio::net::TcpListener::bind(("0.0.0.0", HEALTH_PORT))
        .await
        .with_context(|| format!("listen on port {HEALTH_PORT}"))?;
    let health = axum::serve(probes, health())
        .with_graceful_shutdown(surface.shutdown.clone().cancelled_owned());
    surface.vitals.ready(true);
    let relay = async {
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        tokio::spawn(pass(stream, dial.clone(), surface.shutdown.clone()));
                    }
                    Err(error) => pause(&error).await,
                },
                () = surface.shutdown.cancelled() => return,
            }
        }
    };
    let (served, ()) = tokio::join!(health.into_future(), relay);
    served.context("answer the kubelet")
}

/// It is ready while it listens: the console's own readiness is the console's to tell.
fn health() -> axum::Router {
    axum::Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/healthz/ready", get(async || "ok"))
}

/// Both directions until both have ended. Where the console is away, a browser is told so.
async fn pass(mut client: TcpStream, dial: Dial, shutdown: CancellationToken) {
    let _ = client.set_nodelay(true);
    let mut console = match dial().await {
        Ok(console) => console,
        Err(error) => {
            tracing::warn!(%error, "{} does not answer", TARGET.0);
            // Closing with a request unread would throw the answer away.
            let mut request = [0; 4096];
            let asked = client.read(&mut request);
            let _ = tokio::time::timeout(std::time::Duration::from_secs(2), asked).await;
            let text = "The console does not answer; see: kubectl get pods -n kubeflow\n";
            let answer = format!(
                "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/plain\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
                text.len()
            );
            let _ = client.write_all(answer.as_bytes()).await;
            return;
        }
    };
    let _ = console.set_nodelay(true);
    tokio::select! {
        // A peer that breaks off is no event.
        _ = tokio::io::copy_bidirectional(&mut client, &mut console) => {}
        () = shutdown.cancelled() => {}
    }
}

async fn pause(error: &std::io::Error) {
    tracing::warn!(%error, "accepting a connection failed");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
}
