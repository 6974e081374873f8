//! A running API server: opened on a folder, reached in process or over TLS.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::api::{Api, Parts, Reader};
use crate::authn::{
    Authenticator, ClientCertificate, TokenSigner, User, service_account::DEFAULT_ISSUER,
};
use crate::authz::{Authorizer, Rbac};
use crate::backend::Backend;
use crate::config::Config;
use crate::http::service::handle;
use crate::registry::records;
use crate::store::{self, Store};
use crate::tls::{self, Keys};
use crate::{aggregation, bootstrap, expiry};

/// Streams that one HTTP/2 connection may hold: an informer-heavy client opens hundreds of watches.
const STREAMS_PER_CONNECTION: u32 = 2_000;
/// How long an HTTP/1.1 connection may wait for its next request; shorter than this, clients with a pool would meet
/// connections that close under them.
const IDLE: Duration = Duration::from_secs(600);
/// How long a client may take to finish the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long requests under way may go on after the end was announced.
const DRAIN: Duration = Duration::from_millis(500);

/// Why a server cannot be opened or served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] tls::Error),
    /// The folder cannot be made.
    #[error("cannot use the data folder {path}; make it writable, or name another one")]
    Folder {
        /// The folder.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The objects that are there from the start.
    #[error("making the first objects: {0}")]
    Bootstrap(String),
    /// The key that signs service-account tokens.
    #[error("reading the service-account key")]
    Signer(#[source] jsonwebtoken::errors::Error),
    /// The listener.
    #[error("listening for API requests")]
    Listen(#[source] std::io::Error),
}

/// The server. Cloning gives another handle on the same one.
#[derive(Clone, Debug)]
pub struct ApiServer {
    api: Arc<Api>,
}

impl ApiServer {
    /// Opens the store and keys in the configured folder, making what is missing.
    pub async fn open(config: Config) -> Result<Self, Error> {
        std::fs::create_dir_all(&config.data_dir).map_err(|source| Error::Folder {
            path: config.data_dir.clone(),
            source,
        })?;
        let keys = Keys::open(&config.data_dir.join("keys"), &config.names)?;
        let store = Store::open(&store::Config {
            durability: config.durability,
            ..store::Config::at(config.data_dir.join("apiserver.db"))
        })?;
        let builtins = records::builtin(&store).await?;
        let reader = Arc::new(Reader::default());
        let signer =
            TokenSigner::new(keys.service_account_key(), DEFAULT_ISSUER).map_err(Error::Signer)?;
        let authenticator =
            Authenticator::new(keys.admin_token(), Arc::new(signer), reader.clone());
        let authorizer = Arc::new(Authorizer::new(Rbac::default(), reader.clone()));
        let api = Api::new(Parts {
            store,
            builtins,
            authenticator,
            admission: Admission::new(config.admission, authorizer.clone()),
            authorizer,
            keys,
            backend: config.backend,
            reader,
        });
        let server = Self { api };
        server
            .start(config.advertise)
            .await
            .map_err(|err| Error::Bootstrap(err.to_string()))?;
        Ok(server)
    }

    async fn start(&self, advertise: std::net::SocketAddr) -> Result<(), crate::error::ApiError> {
        let api = &self.api;
        let services = api.builtin("", "services");
        for (_, entry) in
            store::snapshot::range(api.store.snapshot().map(services.stored().id), "", "")
        {
            api.services.adopt(&entry.value());
        }
        api.reload_registry().await?;
        bootstrap::run(api, advertise).await?;
        api.set_ready();
        api.reload_rbac();
        tokio::spawn(expiry::run(api.clone()));
        // Before anybody is served, so that an idle server writes nothing.
        aggregation::settle(api).await;
        tokio::spawn(aggregation::run(api.clone()));
        Ok(())
    }

    /// The keys of this installation.
    pub fn keys(&self) -> &Keys {
        &self.api.keys
    }

    /// The owner's token.
    pub fn admin_token(&self) -> &str {
        self.api.keys.admin_token()
    }

    /// A kubeconfig for the owner, for a server at this URL.
    ///
    /// # Errors
    /// When the owner's certificate cannot be made.
    pub fn kubeconfig(&self, url: &str) -> Result<String, Error> {
        let owner = User::admin();
        let groups: Vec<&str> = owner.groups.iter().map(String::as_str).collect();
        let identity = self.api.keys.client_certificate(&owner.name, &groups)?;
        Ok(tls::kubeconfig(
            url,
            self.api.keys.ca_certificate(),
            &identity,
        ))
    }

    /// A new token for an identity of this program itself; it ends with the process.
    pub fn issue(&self, user: User) -> String {
        self.api.authenticator.issue(user)
    }

    /// A new token for a service account that this program runs something as; it ends with the process.
    pub fn token_for(&self, namespace: &str, service_account: &str) -> String {
        self.issue(User::service_account(namespace, service_account))
    }

    /// How nodes, pods and Services are reached; kubelets in this process are registered here.
    pub fn backend(&self) -> &Backend {
        &self.api.backend
    }

    /// A client in this process that acts as the bearer of `token`.
    pub fn client(&self, token: &str) -> kube::Client {
        let api = self.api.clone();
        // A token that is no header value is nobody's; the empty one is refused as such.
        let authorization = http::HeaderValue::try_from(format!("Bearer {token}"))
            .unwrap_or_else(|_| http::HeaderValue::from_static("Bearer"));
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let api = api.clone();
            let authorization = authorization.clone();
            async move {
                let mut request = request.map(Body::new);
                request
                    .headers_mut()
                    .insert(http::header::AUTHORIZATION, authorization);
                if request.headers().contains_key(http::header::UPGRADE) {
                    return upgrade(api, request).await;
                }
                Ok::<_, tower::BoxError>(handle(api, request).await)
            }
        });
        kube::Client::new(service, "default")
    }

    /// A client in this process that acts as the owner.
    pub fn admin_client(&self) -> kube::Client {
        self.client(self.admin_token())
    }

    /// A tower service over the same requests as the network serves; authentication included.
    pub fn service(
        &self,
    ) -> impl tower::Service<
        axum::extract::Request,
        Response = axum::response::Response,
        Error = std::convert::Infallible,
        Future: Send,
    > + Clone
    + Send
    + 'static {
        let api = self.api.clone();
        tower::service_fn(move |request| {
            let api = api.clone();
            async move { Ok(handle(api, request).await) }
        })
    }

    /// Serves TLS on `listener` until `shutdown`.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        listener.set_nonblocking(true).map_err(Error::Listen)?;
        let listener = tokio::net::TcpListener::from_std(listener).map_err(Error::Listen)?;
        let acceptor = tokio_rustls::TlsAcceptor::from(self.api.keys.server_config()?);
        let connections = tokio_util::task::TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(err) => {
                    // Out of descriptors, or the client is gone already; neither ends the server.
                    tracing::warn!(error = %err, "accepting an API connection");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            };
            let (api, acceptor, shutdown) = (self.api.clone(), acceptor.clone(), shutdown.clone());
            connections.spawn(async move {
                if let Err(err) = connection(api, acceptor, stream, shutdown).await {
                    tracing::debug!(error = %objects::chain(err.as_ref()), "API connection ended");
                }
            });
        }
        connections.close();
        let _ = tokio::time::timeout(DRAIN * 2, connections.wait()).await;
        Ok(())
    }

    /// Waits until nothing can be stored any more; if nobody called [`ApiServer::close`], the process should end.
    pub async fn ended(&self) {
        self.api.store.ended().await;
    }

    /// Ends watches and streams, writes what is queued and closes the database.
    pub async fn close(&self) {
        self.api.shutdown.cancel();
        self.api.store.close().await;
    }
}

/// An upgrade in process: the request travels through a pipe, so that hyper has a connection to hand over.
async fn upgrade(
    api: Arc<Api>,
    request: http::Request<Body>,
) -> Result<http::Response<Body>, tower::BoxError> {
    let (near, far) = tokio::io::duplex(64 << 10);
    let service = hyper::service::service_fn(
        move |request: http::Request<hyper::body::Incoming>| {
            let api = api.clone();
            async move { Ok::<_, std::convert::Infallible>(handle(api, request.map(Body::new)).await) }
        },
    );
    tokio::spawn(async move {
        let served = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(far), service)
            .with_upgrades()
            .await;
        if let Err(err) = served {
            tracing::debug!(error = %err, "in-process connection ended");
        }
    });
    let (mut sender, driver) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await?;
    tokio::spawn(async move {
        if let Err(err) = driver.with_upgrades().await {
            tracing::debug!(error = %err, "in-process connection ended");
        }
    });
    let (mut parts, body) = request.into_parts();
    // HTTP/1.1 wants the path alone and a host.
    let path = parts
        .uri
        .path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned();
    parts.uri = path.parse()?;
    parts
        .headers
        .entry(http::header::HOST)
        .or_insert(http::HeaderValue::from_static("kubernetes"));
    Ok(sender
        .send_request(http::Request::from_parts(parts, body))
        .await?
        .map(Body::new))
}

async fn connection(
    api: Arc<Api>,
    acceptor: tokio_rustls::TlsAcceptor,
    stream: tokio::net::TcpStream,
    shutdown: CancellationToken,
) -> Result<(), tower::BoxError> {
    stream.set_nodelay(true)?;
    let stream = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await??;
    let peers = stream.get_ref().1.peer_certificates();
    let certificate = peers
        .and_then(|peers| peers.first())
        .and_then(|peer| ClientCertificate::from_der(peer));
    let stops = api.shutdown.clone();
    let service = hyper::service::service_fn(
        move |mut request: http::Request<hyper::body::Incoming>| {
            let api = api.clone();
            if let Some(certificate) = certificate.clone() {
                request.extensions_mut().insert(certificate);
            }
            async move { Ok::<_, std::convert::Infallible>(handle(api, request.map(Body::new)).await) }
        },
    );
    let mut builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    let served = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(served);
    tokio::select! {
        result = served.as_mut() => result,
        () = async { tokio::select! { () = shutdown.cancelled() => {}, () = stops.cancelled() => {} } } => {
            served.as_mut().graceful_shutdown();
            // Requests under way may finish; watches and streams would go on for an hour.
            tokio::time::timeout(DRAIN, served).await.unwrap_or(Ok(()))
        }
    }
}
