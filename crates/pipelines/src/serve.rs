//! The whole component: store, engine, pods and API, started in that order and ended together.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use artifacts::{LocalStore, Stores};
use control::lease::Candidate;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::Layer as _;

use crate::api::caller::TrustedConnection;
use crate::api::{self, AccessPolicy, Api};
use crate::engine::replicas::Replicas;
use crate::engine::{self, Engine, Inbox, Memory, Policy, Reports};
use crate::launcher_file;
use crate::pods::{Door, Pods, Settings, Target};
use crate::store::postgresql::Url;
use crate::store::{self, Store};

/// Bytes both ways.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// One accepted connection.
pub struct Connection {
    /// The bytes.
    pub io: Box<dyn Io>,
    /// True when only our own proxy or console can have made it; such a connection names its user in headers.
    pub is_trusted: bool,
}

/// Where runs are remembered.
#[derive(Clone, Debug)]
pub enum Database {
    /// In a file in this folder; for one process at a time.
    Folder(PathBuf),
    /// On a server.
    Server(Url),
}

impl Database {
    async fn open(&self) -> store::Result<Arc<Store>> {
        match self {
            Self::Folder(folder) => Store::open(&folder.join("pipelines.db")),
            Self::Server(url) => Store::connect(url.clone()).await,
        }
    }
}

/// A bucket that keeps artifacts instead of the volume.
#[derive(Clone, Debug)]
pub struct ObjectStore {
    /// Where it is.
    pub address: artifacts::s3::Address,
    /// Who we are there. Steps never see it: their artifacts go through this component.
    pub credentials: artifacts::s3::Credentials,
    /// Where step pods reach this component, `http://ADDRESS:PORT`; that of the Service `ml-pipeline` when absent.
    pub door: Option<String>,
}

/// What the component needs.
pub struct Config {
    /// The cluster, with the component's own identity.
    pub client: kube::Client,
    /// Where runs are remembered.
    pub database: Database,
    /// The artifact volume as this component sees it; steps see it through `artifacts_claim`.
    pub artifacts_dir: PathBuf,
    /// Claim of the artifact volume.
    pub artifacts_claim: String,
    /// Where new artifacts go instead; what lies on the volume stays readable.
    pub object_store: Option<ObjectStore>,
    /// Where steps run.
    pub namespace: String,
    /// Our own image, which carries the launcher.
    pub image: String,
    /// The launcher itself, to lie on the artifact volume for all steps; without it each pod has an init container for it.
    pub launcher: Option<&'static [u8]>,
    /// Service account of steps that name none.
    pub service_account: String,
    /// Storage class of claims made for runs; the cluster's default when absent.
    pub storage_class: Option<String>,
    /// How long the pod of an ended step stays to be looked at.
    pub keep_pods: Duration,
    /// Settings of the engine.
    pub policy: Policy,
    /// Who may call.
    pub access: AccessPolicy,
    /// Packages may be fetched from private addresses too.
    pub allows_private_urls: bool,
    /// Incoming connections.
    pub connections: BoxStream<'static, Connection>,
    /// Told once the component answers.
    pub ready: Option<tokio::sync::oneshot::Sender<()>>,
}

impl Config {
    /// The usual settings around what has no default.
    pub fn new(
        client: kube::Client,
        database: Database,
        artifacts_dir: PathBuf,
        image: String,
        connections: BoxStream<'static, Connection>,
    ) -> Self {
        Self {
            access: AccessPolicy::cluster(client.clone(), Vec::new()),
            client,
            database,
            artifacts_dir,
            artifacts_claim: "ferroflow-artifacts".to_owned(),
            object_store: None,
            namespace: "kubeflow".to_owned(),
            image,
            launcher: None,
            service_account: "pipeline-runner".to_owned(),
            storage_class: None,
            keep_pods: Duration::from_secs(3600),
            policy: Policy::default(),
            allows_private_urls: false,
            connections,
            ready: None,
        }
    }
}

/// Why the component ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database failed, or another engine has taken over.
    #[error("the pipelines store failed")]
    Store(#[from] store::Error),
    /// The artifact volume or the bucket cannot be used.
    #[error("artifacts cannot be kept")]
    Artifacts(#[from] artifacts::Error),
    /// The launcher could not be put there.
    #[error("put the launcher on the artifact volume")]
    Launcher(#[source] std::io::Error),
}

/// Runs the component until shutdown, as the only one over its database. Runs that were at work before go on.
pub async fn serve(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let identity = std::process::id().to_string();
    let component = Component::open(config, &identity).await?;
    component
        .until_ended(component.drive(shutdown.clone()), &shutdown)
        .await
}

/// Runs the component until shutdown, as one of several over a database server: it answers from the start, and drives the
/// runs while it holds the lease. `leads` is told of each change.
pub async fn replicate(
    config: Config,
    identity: &str,
    leads: impl Fn(bool),
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let (client, candidate) = (
        config.client.clone(),
        candidate(&config.namespace, identity),
    );
    let component = Component::open(config, identity).await?;
    let (failure, failed) = (Mutex::new(None), shutdown.child_token());
    let work = control::lease::lead(client, candidate, failed.clone(), |leading, _| {
        let (component, failure, failed, leads) = (&component, &failure, &failed, &leads);
        async move {
            leads(true);
            let ended = component.drive(leading).await;
            leads(false);
            if let Err(error) = ended {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                failed.cancel();
            }
        }
    });
    let led = async {
        work.await;
        let failure = failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        failure.map_or(Ok(()), Err)
    };
    component.until_ended(led, &shutdown).await
}

/// Who competes for the right to drive, where there are several. When the driver dies another has its place after the
/// lease's time and two pauses between looks at it: 10 seconds.
pub fn candidate(namespace: &str, identity: &str) -> Candidate {
    Candidate {
        lease: Duration::from_secs(8),
        renew: Duration::from_secs(5),
        retry: Duration::from_secs(1),
        ..Candidate::new(namespace, LEASE, identity)
    }
}

/// The name of the lease.
pub const LEASE: &str = "ml-pipeline";

/// Everything but the right to drive runs.
struct Component {
    memory: Arc<Store>,
    stores: Stores,
    replicas: Replicas,
    engine: Engine,
    reports: Reports,
    /// Whoever has it drives the runs, or passes on what is asked of the driver.
    inbox: tokio::sync::Mutex<Inbox>,
    drives: watch::Sender<bool>,
    settings: Settings,
    policy: Policy,
    identity: String,
    api: api::Shared,
    connections: Mutex<Option<BoxStream<'static, Connection>>>,
}

impl Component {
    async fn open(config: Config, identity: &str) -> Result<Self, Error> {
        let store = config.database.open().await?;
        let mut stores = Stores::local(LocalStore::open(&config.artifacts_dir)?);
        let mut policy = config.policy;
        let mut door = None;
        if let Some(bucket) = config.object_store {
            let kept = bucket.address.open(&bucket.credentials)?;
            bucket.address.probe(&kept).await?;
            stores = stores.with(&bucket.address.uri(), kept)?;
            policy.default_root = format!("{}/v2/artifacts", stores.first());
            tracing::info!(artifacts = stores.first(), "artifacts go to a bucket");
            door = Some(bucket.door.map(Door::at).unwrap_or_default());
        }
        store
            .write(|tx| store::experiment::default(tx, "", jiff::Timestamp::now()).map(|_| ()))
            .await?;
        let (engine, reports, inbox) = engine::channel();
        let target = Target {
            namespace: config.namespace.clone(),
            image: config.image,
            service_account: config.service_account.clone(),
            artifacts_claim: config.artifacts_claim,
            launcher: config
                .launcher
                .map(|launcher| launcher_file::share(&config.artifacts_dir, launcher))
                .transpose()
                .map_err(Error::Launcher)?,
            api: None,
        };
        let settings = Settings {
            client: config.client.clone(),
            target,
            storage_class: config.storage_class,
            shared_size: "10Gi".to_owned(),
            keep_pods: config.keep_pods,
            door,
        };
        let api = Arc::new(Api {
            store: Arc::clone(&store),
            engine: engine.clone(),
            stores: stores.clone(),
            access: config.access,
            namespace: config.namespace,
            service_account: config.service_account,
            client: Some(config.client),
            allows_private_urls: config.allows_private_urls,
            steps: api::step::Running::default(),
        });
        if let Some(ready) = config.ready {
            let _ = ready.send(());
        }
        Ok(Self {
            replicas: Replicas::new(Arc::clone(&store), engine.clone()),
            memory: store,
            stores,
            engine,
            reports,
            inbox: tokio::sync::Mutex::new(inbox),
            drives: watch::Sender::new(false),
            settings,
            policy,
            identity: identity.to_owned(),
            api,
            connections: Mutex::new(Some(config.connections)),
        })
    }

    /// Answers clients and hears other replicas, until `work` has ended.
    async fn until_ended(
        &self,
        work: impl Future<Output = Result<(), Error>>,
        shutdown: &CancellationToken,
    ) -> Result<(), Error> {
        let connections = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let answering = async {
            if let Some(connections) = connections {
                accept(connections, self.api.clone(), shutdown.clone()).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            ended = work => ended,
            () = answering => Ok(()),
            () = self.replicas.hear(self.memory.listen()) => Ok(()),
            () = self.follow() => Ok(()),
        }
    }

    /// Passes on what is asked, whenever another replica drives.
    async fn follow(&self) {
        let mut drives = self.drives.subscribe();
        loop {
            until(&mut drives, false).await;
            let mut inbox = self.inbox.lock().await;
            tokio::select! {
                () = self.replicas.follow(&mut inbox) => return std::future::pending().await,
                () = until(&mut drives, true) => {}
            }
        }
    }

    /// Drives the runs until told to stop. Runs that were at work before go on.
    async fn drive(&self, shutdown: CancellationToken) -> Result<(), Error> {
        let _drives = Drives::say(&self.drives);
        let mut inbox = self.inbox.lock().await;
        let lease = engine::take_lease(&self.memory, &self.identity).await?;
        let pods = Pods::new(
            self.settings.clone(),
            self.stores.clone(),
            self.reports.clone(),
        );
        let memory = Memory {
            store: Arc::clone(&self.memory),
            lease,
            stores: self.stores.clone(),
        };
        let watching = pods.clone().watch(shutdown.clone());
        let driving = engine::run(
            self.engine.clone(),
            &mut inbox,
            memory,
            self.policy.clone(),
            Arc::new(pods),
            shutdown,
        );
        let mut watch = tokio::task::JoinSet::new();
        watch.spawn(watching);
        Ok(driving.await?)
    }
}

/// Waits until this replica drives, or until it does not.
async fn until(drives: &mut watch::Receiver<bool>, wanted: bool) {
    while *drives.borrow_and_update() != wanted {
        if drives.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// This replica drives while it lives.
struct Drives<'a>(&'a watch::Sender<bool>);

impl<'a> Drives<'a> {
    fn say(drives: &'a watch::Sender<bool>) -> Self {
        drives.send_replace(true);
        Self(drives)
    }
}

impl Drop for Drives<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

async fn accept(
    mut connections: BoxStream<'static, Connection>,
    api: api::Shared,
    shutdown: CancellationToken,
) {
    let plain = tower::util::MapRequestLayer::new(api::router::plain_path::<axum::body::Body>);
    let service = plain.layer(api::router(api));
    let mut open = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            connection = connections.next() => match connection {
                Some(connection) => {
                    open.spawn(answer(connection, service.clone()));
                }
                None => break,
            },
            Some(_) = open.join_next() => {}
        }
    }
}

async fn answer<S>(connection: Connection, service: S)
where
    S: tower::Service<
            http::Request<axum::body::Body>,
            Response = axum::response::Response,
            Error = std::convert::Infallible,
        > + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let is_trusted = connection.is_trusted;
    let handler =
        hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let mut request = request.map(axum::body::Body::new);
            if is_trusted {
                request.extensions_mut().insert(TrustedConnection);
            }
            tower::ServiceExt::oneshot(service.clone(), request)
        });
    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    if let Err(problem) = builder
        .serve_connection_with_upgrades(TokioIo::new(connection.io), handler)
        .await
    {
        tracing::debug!(error = %problem, "a connection broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_driver_is_replaced_within_15_seconds() {
        let candidate = candidate("kubeflow", "a");
        // It died just after it renewed; that was seen one pause later, and the end of the wait another pause later.
        let longest = candidate.lease + 2 * candidate.retry;
        assert!(longest <= Duration::from_secs(15), "{longest:?}");
        assert!(candidate.renew + candidate.retry < candidate.lease);
    }
}
