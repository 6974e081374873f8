//! What every controller is built from: clients by identity, the shared watches, the configuration, and where its
//! tasks are spawned.

use std::future::Future;
use std::sync::Arc;

use control::metrics::Metrics;
use control::{Recorder, Writer};
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::watches::Watches;

/// Field manager of everything written here except bindings: the name kube-controller-manager writes under.
pub const MANAGER: &str = "kube-controller-manager";

/// Gives a client for the service account of this name in `kube-system`.
pub type ClientFactory = Arc<dyn Fn(&str) -> Client + Send + Sync>;

/// The parts a controller is built from.
pub struct Setup {
    clients: ClientFactory,
    /// Shared watches; handlers are attached before they start.
    pub watches: Arc<Watches>,
    /// The configuration.
    pub config: Arc<Config>,
    /// Counts of reconciles.
    pub metrics: Arc<Metrics>,
    /// Ends everything.
    pub shutdown: CancellationToken,
    tasks: JoinSet<&'static str>,
}

impl Setup {
    /// A setup without any controller yet.
    pub fn new(
        clients: ClientFactory,
        config: Config,
        metrics: Arc<Metrics>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            clients,
            watches: Arc::new(Watches::new()),
            config: Arc::new(config),
            metrics,
            shutdown,
            tasks: JoinSet::new(),
        }
    }

    /// The client of an identity.
    pub fn client(&self, identity: &str) -> Client {
        (self.clients)(identity)
    }

    /// A writer under an identity.
    pub fn writer(&self, identity: &str) -> Writer {
        Writer::new(self.client(identity), MANAGER)
    }

    /// An event recorder under an identity, which names the source of its events too.
    pub fn recorder(&self, identity: &str) -> Recorder {
        Recorder::new(self.client(identity), identity)
    }

    /// Starts a task that runs until shut down.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            task.await;
            name
        });
    }

    /// The tasks started so far.
    pub fn into_tasks(self) -> JoinSet<&'static str> {
        self.tasks
    }
}
