//! `kfctl controller NAME`: a component as a process of its own, in a cluster's pod or outside of it.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::telemetry::Vitals;
use super::{console, gateway, local_storage, node, pipelines, workloads};
use crate::cli::Global;
use crate::cluster::{Cluster, Target};

/// `kfctl controller`.
#[derive(Clone, Debug, clap::Args)]
pub struct Controller {
    /// Which component.
    #[command(subcommand)]
    pub component: Component,
    /// The cluster to work for.
    #[command(flatten)]
    pub target: Target,
    /// Namespace of the platform.
    #[arg(long, env = "POD_NAMESPACE", default_value = "kubeflow", global = true)]
    pub namespace: String,
    /// Address to serve on [default: the component's own port on every address].
    #[arg(long, global = true)]
    pub listen: Option<SocketAddr>,
    /// Address of /healthz, /readyz and /metrics; port 0 for none in particular.
    #[arg(
        long,
        env = "FERROFLOW_HEALTH",
        default_value = "0.0.0.0:9090",
        global = true
    )]
    pub health: SocketAddr,
    /// Name of the pod that this process runs in, where it runs in one.
    #[arg(long, env = "POD_NAME", global = true)]
    pub pod: Option<String>,
}

/// Components, by the name that their Deployments call.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Component {
    /// Pipelines: engine and API.
    Pipelines(pipelines::Folders),
    /// The front door.
    Console(console::Reach),
    /// The address that people forward to; passes everything to the front door.
    Gateway,
    /// Volumes as folders on one node, for a cluster without storage of its own.
    LocalStorage(local_storage::Settings),
    /// Workload controllers and scheduler, for an API server that has none.
    Workloads(workloads::Settings),
    /// This machine as a node of the cluster.
    Node(node::Settings),
}

/// What every component of its own has.
pub struct Surface {
    /// What it tells about itself.
    pub vitals: Arc<Vitals>,
    /// Cancelled when it is to end.
    pub shutdown: CancellationToken,
    listen: Option<SocketAddr>,
}

/// What a component has that works for a cluster.
pub struct Process {
    /// What every component has.
    pub surface: Surface,
    /// The cluster, with the component's own identity.
    pub cluster: Cluster,
    /// Namespace of the platform.
    pub namespace: String,
    /// This process, unlike any other; the same after a restart in the same pod.
    pub identity: String,
    /// Its pod.
    pub pod: Option<String>,
}

impl Surface {
    /// Listens where it was told to, or on the component's own port.
    pub async fn listen(&self, port: u16) -> Result<TcpListener> {
        let address = self
            .listen
            .unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], port)));
        TcpListener::bind(address).await.map_err(|error| {
            anyhow!("cannot listen on {address}: {error}; choose another with --listen")
        })
    }
}

/// Runs the component until it is told to stop.
pub async fn run(
    global: &Global,
    controller: Controller,
    shutdown: CancellationToken,
) -> Result<()> {
    let vitals = Arc::new(Vitals::default());
    let name = match controller.component {
        Component::Pipelines(_) => "pipelines",
        Component::Console(_) => "console",
        Component::Gateway => "gateway",
        Component::LocalStorage(_) => "local-storage",
        Component::Workloads(_) => "workloads",
        Component::Node(_) => "node",
    };
    let health = TcpListener::bind(controller.health)
        .await
        .map_err(|error| {
            anyhow!(
                "cannot listen on {} for health and metrics: {error}; choose another with --health",
                controller.health
            )
        })?;
    tracing::info!(
        component = name,
        health = %health.local_addr().context("find the health address")?,
        "starting"
    );
    let served = axum::serve(health, vitals.clone().router(name))
        .with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let health = tokio::spawn(served.into_future());
    let surface = Surface {
        vitals,
        shutdown,
        listen: controller.listen,
    };
    let ended = component(global, controller, surface).await;
    health.abort();
    ended
}

async fn component(global: &Global, controller: Controller, surface: Surface) -> Result<()> {
    if matches!(controller.component, Component::Gateway) {
        // It has no rights anywhere, and so no cluster.
        return gateway::alone(&surface).await;
    }
    let cluster = controller.target.cluster().await?;
    tracing::info!(server = cluster.server(), "working for");
    let process = Process {
        surface,
        cluster,
        namespace: controller.namespace,
        identity: controller.pod.clone().unwrap_or_else(unlike_any_other),
        pod: controller.pod,
    };
    match &controller.component {
        Component::Pipelines(folders) => pipelines::alone(&process, folders).await,
        Component::Console(reach) => console::alone(&process, reach).await,
        Component::LocalStorage(settings) => local_storage::alone(&process, settings).await,
        Component::Workloads(settings) => workloads::alone(&process, settings).await,
        Component::Node(settings) => node::alone(&process, global, settings).await,
        Component::Gateway => Ok(()),
    }
}

fn unlike_any_other() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}_{}", host.trim(), uuid::Uuid::new_v4())
}
