//! Our own components, as built-in pods run them. Each arm turns what a pod offers into what its crate needs.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::ConnectInfo;
use axum::middleware::{Next, from_fn};
use futures::stream;
use node::builtin::{Peer, PodContext, Table};
use node::net::Layout;

use crate::version;

/// The port that `ml-pipeline` answers on.
const PIPELINES_PORT: u16 = 8888;
/// The port that the console answers on.
const CONSOLE_PORT: u16 = 8082;
/// Where every pod finds its service-account token.
const TOKEN_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Every component, by the subcommand that the installed Deployments name.
pub fn table() -> Table {
    Table::default()
        .with("controller pipelines", |pod| async {
            pipelines(pod)
                .await
                .map_err(Into::<node::builtin::Failure>::into)
        })
        .with("controller console", |pod| async {
            console(pod)
                .await
                .map_err(Into::<node::builtin::Failure>::into)
        })
}

async fn pipelines(pod: PodContext) -> Result<()> {
    let folder = |path: &str| {
        pod.volume(path)
            .map(std::path::Path::to_owned)
            .with_context(|| format!("the pod has no volume at {path}"))
    };
    let listener = pod
        .listen(PIPELINES_PORT)
        .await
        .with_context(|| format!("listen on port {PIPELINES_PORT}"))?;
    let connections = stream::unfold(listener, |mut listener| async {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let connection = pipelines::serve::Connection {
                        io: Box::new(stream),
                        is_trusted: is_the_proxy(peer),
                    };
                    return Some((connection, listener));
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    });
    let mut config = pipelines::serve::Config::new(
        pod.client.clone(),
        folder("/var/lib/ferroflow")?,
        folder("/artifacts")?,
        version::IMAGE.to_owned(),
        Box::pin(connections),
    );
    config.namespace.clone_from(&pod.namespace);
    config.launcher = Some(crate::commands::launcher::LAUNCHER);
    tracing::info!(
        version = version::FERROFLOW,
        port = PIPELINES_PORT,
        "the engine and the API of pipelines start"
    );
    pipelines::serve::serve(config, pod.shutdown.clone())
        .await
        .context("serve pipelines")
}

/// Only the API server's proxy, which says who asks, connects from this address. Pods cannot send with another's, and
/// what users can shape (probes, forwarded ports) comes from elsewhere.
fn is_the_proxy(peer: Peer) -> bool {
    !peer.is_from_host && peer.address.ip() == Layout::default().proxy
}

async fn console(pod: PodContext) -> Result<()> {
    let token = pod
        .volume(TOKEN_FOLDER)
        .with_context(|| format!("the pod has no volume at {TOKEN_FOLDER}"))?
        .join("token");
    let dialing = pod.clone();
    let config = console::Config {
        client: pod.client.clone(),
        dial: std::sync::Arc::new(move |host, port| {
            let pod = dialing.clone();
            Box::pin(async move { pod.dial(&host, port).await.map_err(std::io::Error::other) })
        }),
        token_file: token,
        namespace: pod.namespace.clone(),
        owner: pod.env("FERROFLOW_OWNER").map(str::to_owned),
        version: version::FERROFLOW.to_owned(),
    };
    let router = console::router(config)
        .await
        .context("open the front door")?;
    let router =
        router.layer(from_fn(
            |ConnectInfo(peer): ConnectInfo<Peer>,
             mut request: axum::extract::Request,
             next: Next| async move {
                request.extensions_mut().insert(console::peer::Connection {
                    peer: peer.address,
                    is_from_host: peer.is_from_host,
                });
                Ok::<_, Infallible>(next.run(request).await)
            },
        ));
    tracing::info!(
        version = version::FERROFLOW,
        port = CONSOLE_PORT,
        "the console starts"
    );
    pod.serve(CONSOLE_PORT, router)
        .await
        .context("serve the console")
}
