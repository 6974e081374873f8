//! What a component gets to know: its pod's name, address, volumes, environment, a client with the pod's own identity,
//! and when to stop. It reads nothing else.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};

use kube::Client;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::listen::{HostListeners, Listener, Peer};
use super::logging;
use crate::kubelet::services::ServiceIndex;
use crate::net::NodeNetwork;

/// The pod of a component.
#[derive(Clone)]
pub struct PodContext {
    /// The pod's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid.
    pub uid: String,
    /// The container.
    pub container: String,
    /// What follows the subcommand.
    pub args: Vec<String>,
    /// The container's environment.
    pub env: BTreeMap<String, String>,
    /// The API as the pod's service account.
    pub client: Client,
    /// Cancelled when the component is to end.
    pub shutdown: CancellationToken,
    pub(crate) ip: Ipv4Addr,
    pub(crate) volumes: BTreeMap<PathBuf, PathBuf>,
    pub(crate) host_ports: BTreeMap<u16, u16>,
    pub(crate) host_listeners: HostListeners,
    pub(crate) network: Option<NodeNetwork>,
    pub(crate) services: ServiceIndex,
}

/// Why a name inside the cluster could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// There is no such name.
    #[error("no Service or address is called {0:?}")]
    NoSuchHost(String),
    /// Connecting failed.
    #[error("connecting to {host}:{port}")]
    Connect {
        /// The name.
        host: String,
        /// The port.
        port: u16,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl PodContext {
    /// The pod's address.
    pub fn ip(&self) -> IpAddr {
        self.ip.into()
    }

    /// The folder on this machine behind a mount path.
    pub fn volume(&self, mount_path: &str) -> Option<&Path> {
        self.volumes
            .get(Path::new(mount_path))
            .map(PathBuf::as_path)
    }

    /// A variable of the container's environment.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }

    /// Listens on a port of the pod, and on the machine's own if the pod has a `hostPort` for it.
    pub async fn listen(&self, port: u16) -> io::Result<Listener> {
        let address = SocketAddrV4::new(self.ip, port);
        let pod = match &self.network {
            Some(network) => network.listen(address).await.map_err(io::Error::other)?,
            None => TcpListener::bind(address).await?,
        };
        let host = match self.host_ports.get(&port) {
            Some(host_port) => self.host_listeners.get(*host_port)?,
            None => None,
        };
        Ok(Listener { pod, host })
    }

    /// Serves HTTP on a port until shutdown, each request traced to the pod's log. Handlers learn who connected by
    /// `ConnectInfo<Peer>`.
    pub async fn serve(&self, port: u16, router: axum::Router) -> io::Result<()> {
        let listener = self.listen(port).await?;
        let router = match logging::current() {
            Some(sink) => router.layer(axum::middleware::from_fn(
                move |request, next: axum::middleware::Next| {
                    logging::scoped(sink.clone(), next.run(request))
                },
            )),
            None => router,
        };
        axum::serve(
            listener,
            router.into_make_service_with_connect_info::<Peer>(),
        )
        .with_graceful_shutdown(self.shutdown.clone().cancelled_owned())
        .await
    }

    /// Connects, as this pod, to a Service by name (`ml-pipeline.kubeflow`) or to an address.
    pub async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, DialError> {
        let failed = |source| DialError::Connect {
            host: host.to_owned(),
            port,
            source,
        };
        let ip = match host.parse::<IpAddr>() {
            Ok(ip) => ip,
            Err(_) => self
                .services
                .address(host, &self.namespace)
                .ok_or_else(|| DialError::NoSuchHost(host.to_owned()))?
                .into(),
        };
        match (&self.network, ip) {
            (Some(network), IpAddr::V4(ip)) if network.layout().is_inside(ip) => {
                let address = SocketAddrV4::new(ip, port);
                network
                    .dial_from(self.ip, address)
                    .await
                    .map_err(|error| failed(io::Error::other(error)))
            }
            _ => TcpStream::connect(SocketAddr::new(ip, port))
                .await
                .map_err(failed),
        }
    }

    /// Spawns a task whose log is the pod's too.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match logging::current() {
            Some(sink) => tokio::spawn(logging::scoped(sink, future)),
            None => tokio::spawn(future),
        }
    }
}

impl std::fmt::Debug for PodContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PodContext")
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
