//! The gateway, `istio-ingressgateway`: the address that people forward to. It passes bytes to the console and back,
//! and knows nothing about them; it has no rights in the cluster.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::routing::get;
use futures::future::BoxFuture;
use node::builtin::PodContext;
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
    let health = pod.serve(HEALTH_PORT, health(dial.clone()));
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
    let health = axum::serve(probes, health(dial.clone()))
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

/// Ready means that the console can be reached from here.
fn health(dial: Dial) -> axum::Router {
    axum::Router::new()
        .route("/healthz", get(async || "ok"))
        .route(
            "/healthz/ready",
            get(async move || match dial().await {
                Ok(_) => (http::StatusCode::OK, "ok".to_owned()),
                Err(error) => (
                    http::StatusCode::SERVICE_UNAVAILABLE,
                    format!("{} does not answer: {error}", TARGET.0),
                ),
            }),
        )
}

/// Both directions until both have ended. A console that is away closes the connection at once.
async fn pass(mut client: TcpStream, dial: Dial, shutdown: CancellationToken) {
    let _ = client.set_nodelay(true);
    let mut console = match dial().await {
        Ok(console) => console,
        Err(error) => {
            tracing::warn!(%error, "{} does not answer", TARGET.0);
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
