//! The console, `dashboard`: the front door.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::extract::ConnectInfo;
use axum::middleware::{Next, from_fn};
use node::builtin::{Peer, PodContext};

use super::TOKEN_FOLDER;
use super::standalone::Process;
use crate::version;

/// The port that the console answers on.
pub const PORT: u16 = 8082;

/// How the console reaches what it leads to, when it runs as a process of its own.
#[derive(Clone, Debug, clap::Args)]
pub struct Reach {
    /// File with the token that it shows to the services behind it.
    #[arg(long, default_value = concat!("/var/run/secrets/kubernetes.io/serviceaccount", "/token"))]
    token_file: PathBuf,
    /// Outside of a cluster: where a service really is, as HOST:PORT=ADDRESS:PORT. Repeatable.
    #[arg(long = "resolve", value_name = "HOST:PORT=ADDRESS:PORT")]
    resolve: Vec<Override>,
}

/// One service whose name means nothing where this process runs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Override {
    service: String,
    address: SocketAddr,
}

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, address) = text
            .split_once('=')
            .ok_or("expected HOST:PORT=ADDRESS:PORT")?;
        let address = address
            .parse()
            .map_err(|_| format!("{address:?} is no ADDRESS:PORT"))?;
        Ok(Self {
            service: service.to_owned(),
            address,
        })
    }
}

/// As a built-in pod.
pub async fn in_pod(pod: PodContext) -> Result<()> {
    let token = pod
        .volume(TOKEN_FOLDER)
        .with_context(|| format!("the pod has no volume at {TOKEN_FOLDER}"))?
        .join("token");
    let dialing = pod.clone();
    let config = console::Config {
        client: pod.client.clone(),
        dial: Arc::new(move |host, port| {
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
        port = PORT,
        "the console starts"
    );
    pod.serve(PORT, router).await.context("serve the console")
}

/// As a process of its own. Nobody is recognised by the connection: people sign in.
pub async fn alone(process: &Process, reach: &Reach) -> Result<()> {
    let elsewhere: Arc<HashMap<String, SocketAddr>> = Arc::new(
        reach
            .resolve
            .iter()
            .map(|one| (one.service.clone(), one.address))
            .collect(),
    );
    let config = console::Config {
        client: process.cluster.client.clone(),
        dial: Arc::new(move |host, port| {
            let elsewhere = elsewhere.clone();
            Box::pin(async move {
                let service = format!("{host}:{port}");
                let stream = match elsewhere.get(&service) {
                    Some(address) => tokio::net::TcpStream::connect(address).await?,
                    None => tokio::net::TcpStream::connect(service).await?,
                };
                stream.set_nodelay(true)?;
                Ok(stream)
            })
        }),
        token_file: reach.token_file.clone(),
        namespace: process.namespace.clone(),
        owner: None,
        version: version::FERROFLOW.to_owned(),
    };
    let listener = process.surface.listen(PORT).await?;
    let router = console::router(config)
        .await
        .context("open the front door")?;
    process.surface.vitals.ready(true);
    axum::serve(listener, router)
        .with_graceful_shutdown(process.surface.shutdown.clone().cancelled_owned())
        .await
        .context("serve the console")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_names_a_service_and_an_address() {
        let one: Override = "ml-pipeline.kubeflow:8888=127.0.0.1:9"
            .parse()
            .expect("valid");
        assert_eq!(one.service, "ml-pipeline.kubeflow:8888");
        assert_eq!(one.address.port(), 9);
        for wrong in ["", "a:1", "a:1=b", "a:1=b:2"] {
            assert!(wrong.parse::<Override>().is_err(), "{wrong}");
        }
    }
}
