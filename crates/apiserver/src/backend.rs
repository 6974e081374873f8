//! How nodes, pods and Services are reached: in process where they live in this one, over TCP and TLS otherwise.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, RwLock};

use axum::body::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use tower::util::BoxCloneSyncService;

/// A connection to a pod or Service.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The answer of a dial.
pub type Dialing = Pin<Box<dyn Future<Output = std::io::Result<Box<dyn Stream>>> + Send>>;

/// Opens a connection to `host:port` on behalf of a namespace.
pub type Dial = Arc<dyn Fn(&str, &str, u16) -> Dialing + Send + Sync>;

/// A kubelet's HTTP API as a service in this process; upgraded connections work through hyper's `OnUpgrade`.
pub type KubeletService = BoxCloneSyncService<
    http::Request<Body>,
    http::Response<Body>,
    Box<dyn std::error::Error + Send + Sync>,
>;

/// Ways to the outside.
#[derive(Clone)]
pub struct Backend {
    dial: Dial,
    kubelets: Arc<RwLock<HashMap<String, KubeletService>>>,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").finish_non_exhaustive()
    }
}

impl Default for Backend {
    /// Pods and Services by plain TCP from this host, kubelets by the address in their Node's status.
    fn default() -> Self {
        Self::new(Arc::new(|_, host, port| {
            let address = (host.to_owned(), port);
            Box::pin(async move {
                let stream = tokio::net::TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream) as Box<dyn Stream>)
            })
        }))
    }
}

impl Backend {
    /// Pods and Services by `dial`.
    pub fn new(dial: Dial) -> Self {
        Self {
            dial,
            kubelets: Arc::default(),
        }
    }

    /// Opens a connection.
    pub async fn dial(
        &self,
        namespace: &str,
        host: &str,
        port: u16,
    ) -> std::io::Result<Box<dyn Stream>> {
        (self.dial)(namespace, host, port).await
    }

    /// Makes a kubelet in this process known; an axum router will do.
    pub fn register_kubelet<S>(&self, node: impl Into<String>, kubelet: S)
    where
        S: tower::Service<http::Request<Body>, Response = http::Response<Body>>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Error: Into<tower::BoxError>,
        S::Future: Send + 'static,
    {
        let service = KubeletService::new(tower::ServiceExt::map_err(kubelet, Into::into));
        self.kubelets
            .write()
            .expect("no holder of this lock panics")
            .insert(node.into(), service);
    }

    /// The kubelet of a node, when it lives in this process.
    pub fn kubelet(&self, node: &str) -> Option<KubeletService> {
        self.kubelets
            .read()
            .expect("no holder of this lock panics")
            .get(node)
            .cloned()
    }
}
