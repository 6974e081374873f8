//! The whole component: store, engine, pods and API, started in that order and ended together.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use artifacts::{LocalStore, Stores};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tower::Layer as _;

use crate::api::caller::TrustedConnection;
use crate::api::{self, AccessPolicy, Api};
use crate::engine::{self, Memory, Policy};
use crate::launcher_file;
use crate::pods::{Pods, Settings, Target};
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
    /// The artifact volume cannot be used.
    #[error("the artifact volume cannot be used")]
    Artifacts(#[from] artifacts::Error),
    /// The launcher could not be put there.
    #[error("put the launcher on the artifact volume")]
    Launcher(#[source] std::io::Error),
}

/// Runs the component until shutdown. Runs that were at work before go on.
pub async fn serve(config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let store = config.database.open().await?;
    let stores = Stores::local(LocalStore::open(&config.artifacts_dir)?);
    let lease = engine::take_lease(&store, &format!("{}", std::process::id())).await?;
    store
        .write(|tx| store::experiment::default(tx, "", jiff::Timestamp::now()).map(|_| ()))
        .await?;
    let (engine, reports, inbox) = engine::channel();
    let service_account = config.service_account.clone();
    let target = Target {
        namespace: config.namespace.clone(),
        image: config.image,
        service_account: config.service_account,
        artifacts_claim: config.artifacts_claim,
        launcher: config
            .launcher
            .map(|launcher| launcher_file::share(&config.artifacts_dir, launcher))
            .transpose()
            .map_err(Error::Launcher)?,
    };
    let settings = Settings {
        client: config.client.clone(),
        target,
        storage_class: config.storage_class,
        shared_size: "10Gi".to_owned(),
        keep_pods: config.keep_pods,
    };
    let pods = Pods::new(settings, stores.clone(), reports);
    let memory = Memory {
        store: Arc::clone(&store),
        lease,
        stores: stores.clone(),
    };
    let api = Arc::new(Api {
        store,
        engine: engine.clone(),
        stores,
        access: config.access,
        namespace: config.namespace,
        service_account,
        client: Some(config.client),
        allows_private_urls: config.allows_private_urls,
    });
    let watch = tokio::spawn(pods.clone().watch(shutdown.clone()));
    let connections = tokio::spawn(accept(config.connections, api, shutdown.clone()));
    if let Some(ready) = config.ready {
        let _ = ready.send(());
    }
    let ended = engine::run(
        engine,
        inbox,
        memory,
        config.policy,
        Arc::new(pods),
        shutdown.clone(),
    )
    .await;
    watch.abort();
    connections.abort();
    Ok(ended?)
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
