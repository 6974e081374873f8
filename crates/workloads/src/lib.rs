//! The workload controllers of a small Kubernetes and its scheduler: what kube-controller-manager and kube-scheduler do,
//! through `kube::Client` alone, each controller under an identity of its own.
//! It knows no API server and no node: pods are bound here and run elsewhere.

use std::path::PathBuf;
use std::sync::Arc;

use control::metrics::Metrics;
use kube::Client;
use tokio_util::sync::CancellationToken;

mod discovery;
mod rights;
mod setup;
mod watches;

mod pods;
mod selector;
mod templated;
mod waking;

mod namespaces;
mod service_accounts;

mod expiry;
mod garbage;
mod quotas;

mod deployments;
mod replica_sets;

mod daemon_sets;
mod revisions;
mod stateful_sets;

mod disruptions;

mod cron_jobs;
mod jobs;

mod endpoints;

mod volumes;

mod nodes;
mod scheduler;

pub use rights::let_patch_what_may_update;
pub use setup::ClientFactory;
pub use volumes::{LOCAL_PROVISIONER, default_storage_class, on_node};

/// The identities (service accounts of `kube-system`) that clients are asked for. `kube-controller-manager` only
/// watches; it must be able to list and watch everything.
pub const IDENTITIES: &[&str] = &[
    "kube-controller-manager",
    "kube-scheduler",
    "namespace-controller",
    "service-account-controller",
    "root-ca-cert-publisher",
    "generic-garbage-collector",
    "resourcequota-controller",
    "ttl-after-finished-controller",
    "pod-garbage-collector",
    "deployment-controller",
    "replicaset-controller",
    "replication-controller",
    "job-controller",
    "cronjob-controller",
    "statefulset-controller",
    "daemon-set-controller",
    "disruption-controller",
    "endpoint-controller",
    "endpointslice-controller",
    "endpointslicemirroring-controller",
    "persistent-volume-binder",
    "ephemeral-volume-controller",
    "pvc-protection-controller",
    "pv-protection-controller",
    "node-controller",
];

/// What the controllers need to know of their home.
#[derive(Clone, Debug)]
pub struct Config {
    /// Run pods that ask for GPUs on a machine without enough of them on the CPU.
    pub gpu_fallback: bool,
    /// Run pods that ask for more memory than any node has with what there is.
    pub memory_fallback: bool,
    /// Folder on the node below which the local provisioner makes volumes; `None` turns it off.
    pub volumes_dir: Option<PathBuf>,
    /// PEM of the authority that signed the API server's certificate, published to every namespace.
    pub root_ca: Option<String>,
}

/// Why the controllers stopped before they were asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A task ended or panicked while it should have gone on.
    #[error("the {0} task ended unexpectedly")]
    TaskEnded(String),
}

/// Runs every controller and the scheduler until shut down, then finishes work in progress.
pub async fn run(
    clients: impl Fn(&str) -> Client + Send + Sync + 'static,
    config: Config,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    run_with_metrics(clients, config, Arc::new(Metrics::default()), shutdown).await
}

/// As [`run`], counting reconciles in the caller's metrics.
pub async fn run_with_metrics(
    clients: impl Fn(&str) -> Client + Send + Sync + 'static,
    config: Config,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let mut setup = setup::Setup::new(Arc::new(clients), config, metrics, shutdown.clone());
    namespaces::start(&mut setup);
    service_accounts::start(&mut setup);
    let known = garbage::start(&mut setup);
    quotas::start(&mut setup, &known);
    expiry::start(&mut setup);
    replica_sets::start(&mut setup);
    deployments::start(&mut setup);
    jobs::start(&mut setup);
    cron_jobs::start(&mut setup);
    stateful_sets::start(&mut setup);
    daemon_sets::start(&mut setup);
    disruptions::start(&mut setup);
    endpoints::start(&mut setup);
    volumes::start(&mut setup);
    nodes::start(&mut setup);
    scheduler::start(&mut setup);

    // Last, so that every handler sees every object.
    let watches = setup.watches.clone();
    let client = setup.client("kube-controller-manager");
    let watching = watches.run(&client, &shutdown);
    setup.spawn("watches", watching);

    let mut tasks = setup.into_tasks();
    while let Some(ended) = tasks.join_next().await {
        if !shutdown.is_cancelled() {
            shutdown.cancel();
            let name = ended.map_or_else(|error| error.to_string(), str::to_owned);
            while tasks.join_next().await.is_some() {}
            return Err(Error::TaskEnded(name));
        }
    }
    Ok(())
}
