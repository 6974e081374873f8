//! The workload controllers and the scheduler, for an API server that has none: what `kfctl up` runs inside itself.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use kube::api::{ListParams, PostParams};
use tokio_util::sync::CancellationToken;

use super::standalone::Process;
use crate::cluster;
use crate::config::{GpuFallback, MemoryFallback};

/// Settings of the controllers.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Folder on the node below which the local provisioner makes volumes [default: it makes none].
    #[arg(long)]
    volumes: Option<PathBuf>,
    /// File with the certificate of the authority that signed the API server's, published to every namespace.
    #[arg(long)]
    root_ca: Option<PathBuf>,
    /// Where there is no GPU: leave pods that ask for one Pending, or run them on the CPU. Only nodes of ours can.
    #[arg(long, value_enum, default_value_t)]
    gpu_fallback: GpuFallback,
    /// Where memory is short: leave pods that ask for more Pending, or cut their request. Only nodes of ours can.
    #[arg(long, value_enum, default_value_t)]
    memory_fallback: MemoryFallback,
}

/// The lease, in `kube-system`: kube-controller-manager's own, so that the two never work side by side.
const LEASE: &str = "kube-controller-manager";

/// As a process of its own, each controller under its own identity by impersonation.
pub async fn alone(process: &Process, settings: &Settings) -> Result<()> {
    let root_ca = match &settings.root_ca {
        Some(file) => Some(
            std::fs::read_to_string(file)
                .with_context(|| format!("read the certificate {}", file.display()))?,
        ),
        None => None,
    };
    let clients: HashMap<&str, kube::Client> = workloads::IDENTITIES
        .iter()
        .map(|identity| Ok((*identity, client_of(process, identity)?)))
        .collect::<Result<_>>()?;
    workloads::let_patch_what_may_update(&process.cluster.client)
        .await
        .map_err(|error| cluster::refusal(&process.cluster, &error))
        .context("let the controllers patch what Kubernetes' own may update")?;
    if settings.volumes.is_some() {
        offer_storage(&process.cluster.client)
            .await
            .map_err(|error| cluster::refusal(&process.cluster, &error))?;
    }
    let candidate = control::lease::Candidate::new("kube-system", LEASE, &process.identity);
    process.surface.vitals.follows(LEASE);
    let leader = process.cluster.client.clone();
    let (clients, settings) = (&clients, &settings);
    control::lease::lead(
        leader,
        candidate,
        process.surface.shutdown.clone(),
        |leading, _| {
            let config = workloads::Config {
                gpu_fallback: settings.gpu_fallback == GpuFallback::Cpu,
                memory_fallback: settings.memory_fallback == MemoryFallback::Clamp,
                volumes_dir: settings.volumes.clone(),
                root_ca: root_ca.clone(),
            };
            async move {
                process.surface.vitals.leads(true);
                process.surface.vitals.ready(true);
                run(clients.clone(), config, leading).await;
                process.surface.vitals.ready(false);
                process.surface.vitals.leads(false);
            }
        },
    )
    .await;
    Ok(())
}

/// The class of the volumes that are made here, where the cluster has none at all.
async fn offer_storage(client: &kube::Client) -> kube::Result<()> {
    let classes: Api<StorageClass> = Api::all(client.clone());
    if !classes.list(&ListParams::default()).await?.items.is_empty() {
        return Ok(());
    }
    let class = serde_json::from_value(workloads::default_storage_class())
        .map_err(kube::Error::SerdeError)?;
    match classes.create(&PostParams::default(), &class).await {
        Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(()),
        made => made.map(drop),
    }
}

async fn run(
    clients: HashMap<&'static str, kube::Client>,
    config: workloads::Config,
    leading: CancellationToken,
) {
    let anyone = clients["kube-controller-manager"].clone();
    let factory = move |name: &str| clients.get(name).cloned().unwrap_or_else(|| anyone.clone());
    if let Err(error) = workloads::run(factory, config, leading).await {
        tracing::error!(%error, "the controllers ended by themselves");
    }
}

fn client_of(process: &Process, identity: &str) -> Result<kube::Client> {
    match identity {
        "kube-controller-manager" | "kube-scheduler" => process
            .cluster
            .client_as(&format!("system:{identity}"), &["system:authenticated"]),
        account => process.cluster.client_as(
            &format!("system:serviceaccount:kube-system:{account}"),
            &[
                "system:serviceaccounts",
                "system:serviceaccounts:kube-system",
                "system:authenticated",
            ],
        ),
    }
}
