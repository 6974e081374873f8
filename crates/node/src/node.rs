//! The node as one thing: network, kubelet, HTTP API and the watch of Services, started in order and stopped in order.
//! Knows the API only through the clients it is given.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::builtin::{ClientFactory, HostListeners, Table};
use crate::env::NodeFacts;
use crate::holder::network_held_by;
use crate::images::{self, Images};
use crate::kubelet::services::{self, ServiceIndex};
use crate::kubelet::{
    Capacity, Context, Folders, GpuPool, Identity, Kubelet, PodIndex, Recorder, Running,
    keep_alive, publish, register,
};
use crate::net::{self, Layout, NodeNetwork};
use crate::shim::{self, Adopted, Isolation};
use crate::volumes::{AllowList, Volumes};
use crate::{dns, http, relay};

/// How a node is set up.
#[derive(Debug)]
pub struct Config {
    /// The node's name.
    pub name: String,
    /// The data folder: pods, images, environments and the volumes of claims lie below it.
    pub data: PathBuf,
    /// This program's own file, to be executed again as holder and shim.
    pub exe: PathBuf,
    /// How pods are kept apart. As plain processes they have no network of their own.
    pub isolation: Isolation,
    /// Addresses of the pod network.
    pub layout: Layout,
    /// How names are served to pods.
    pub dns: dns::Config,
    /// Where pods may go outside of the cluster.
    pub relay: relay::Config,
    /// The owner's table of images: pattern → `host`, `python:3.x`, `root:/path` or another image.
    pub image_table: Vec<(String, String)>,
    /// Folders to search for Pythons and `uv`, as in the owner's PATH.
    pub search: Vec<PathBuf>,
    /// The owner's home folder.
    pub home: Option<PathBuf>,
    /// Proxy, package index and certificate settings for pods and installers.
    pub settings: Vec<(String, String)>,
    /// Registries, as `host:port`, that are spoken to without TLS. Those on this machine always are.
    pub insecure_registries: Vec<String>,
    /// Host folders that pods may mount.
    pub host_paths: Vec<PathBuf>,
    /// Where the API server reaches this machine, for the Node's status; none where it is in this process.
    pub address: Option<IpAddr>,
    /// Where the HTTP API listens, for the Node's status; 0 where it is only used in process.
    pub port: u16,
}

impl Config {
    /// The usual configuration over a data folder.
    pub fn new(name: impl Into<String>, data: impl Into<PathBuf>, exe: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            data: data.into(),
            exe: exe.into(),
            isolation: Isolation::Sandbox,
            layout: Layout::default(),
            dns: dns::Config::default(),
            relay: relay::Config::default(),
            image_table: Vec::new(),
            search: Vec::new(),
            home: None,
            settings: Vec::new(),
            insecure_registries: Vec::new(),
            host_paths: Vec::new(),
            address: None,
            port: 0,
        }
    }
}

/// What a node is given to work with.
pub struct Dependencies {
    /// The API as `system:node:<name>`.
    pub client: Client,
    /// The API for Services and EndpointSlices: our own server lets the node itself read them, others `system:kube-proxy`.
    pub proxy_client: Client,
    /// Clients for built-in pods, from their own tokens.
    pub client_factory: ClientFactory,
    /// Our own components.
    pub components: Table,
    /// This machine's own ports that pods may have.
    pub host_listeners: HostListeners,
}

/// Why a node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The pod network.
    #[error("starting the pod network")]
    Network(#[from] net::Error),
    /// The API refused the node's own objects.
    #[error("registering node {name}")]
    Register {
        /// The node.
        name: String,
        /// The cause.
        #[source]
        source: Box<register::Error>,
    },
    /// The port of the HTTP API.
    #[error("serving the node's port")]
    Port(#[from] http::Error),
}

/// A running node.
pub struct Node {
    identity: Identity,
    client: Client,
    network: Option<NodeNetwork>,
    images: Images,
    pods: PodIndex,
    services: ServiceIndex,
    kubelet: Running,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// The images of a data folder, for commands that run while no node does.
pub fn images(config: &Config) -> Images {
    Images::new(images::Config {
        folder: config.data.clone(),
        exe: config.exe.clone(),
        table: config.image_table.clone(),
        search: config.search.clone(),
        home: config.home.clone(),
        settings: config.settings.clone(),
        insecure_registries: config.insecure_registries.clone(),
    })
}

impl Node {
    /// Starts a node: its network first, its own objects next, pods last.
    pub async fn start(config: Config, dependencies: Dependencies) -> Result<Self, Error> {
        let Dependencies {
            client,
            proxy_client,
            client_factory,
            components,
            host_listeners,
        } = dependencies;
        let name = config.name.clone();
        let refused = |source| Error::Register {
            name: name.clone(),
            source: Box::new(source),
        };
        register::is_free(&client, &name).await.map_err(refused)?;
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let images = images(&config);
        let domain = config.dns.domain.clone();
        let network = match config.isolation {
            Isolation::Sandbox => {
                let network = NodeNetwork::start(net::Config {
                    folder: config.data.join("node").join("network"),
                    executable: config.exe.clone(),
                    layout: config.layout.clone(),
                    dns: config.dns,
                    relay: config.relay,
                    rejoin: network_of_living_pods(&Folders::new(&config.data)),
                })
                .await?;
                tasks.spawn(network.serve(stop.clone()).await?);
                Some(network)
            }
            Isolation::HostProcess => None,
        };
        let capacity = Capacity::of_this_machine(&config.data);
        let address = config.address.unwrap_or(if network.is_some() {
            IpAddr::V4(config.layout.gateway)
        } else {
            IpAddr::V4(Ipv4Addr::LOCALHOST)
        });
        let identity = Identity {
            name: config.name.clone(),
            address,
            port: config.port,
            resources: capacity.resources(),
            isolation: if network.is_some() {
                "sandbox"
            } else {
                "process"
            },
        };
        register::register(&client, &identity)
            .await
            .map_err(|source| refused(source.into()))?;
        let (events, writing) = Recorder::new(client.clone(), &config.name);
        tasks.spawn(writing);
        tasks.spawn(keep_alive(client.clone(), identity.clone(), stop.clone()));
        let services = ServiceIndex::default();
        tasks.spawn(services::watch(
            proxy_client,
            services.clone(),
            network.clone(),
            stop.clone(),
        ));
        let pods = PodIndex::default();
        let allowed = config.data.join("allowed-host-paths");
        let context = Context {
            client: client.clone(),
            client_factory,
            node: NodeFacts {
                name: config.name,
                host_ip: Some(address),
                allocatable: identity.resources.clone(),
            },
            folders: Folders::new(&config.data),
            images: images.clone(),
            volumes: Volumes {
                client: client.clone(),
                allow_list: AllowList::new(config.host_paths, Some(allowed)),
                claims_folder: config.data.join("volumes"),
            },
            network: network.clone(),
            events,
            services: services.clone(),
            components,
            host_listeners,
            exe: config.exe,
            isolation: config.isolation,
            gpus: GpuPool::new(&capacity.gpus),
            domain,
            pods: pods.clone(),
        };
        let (kubelet, working) = Kubelet::new(Arc::new(context)).run(stop.clone());
        tasks.spawn(working);
        // The first images should not wait for the search for Pythons.
        let warm = images.clone();
        tasks.spawn(async move {
            warm.interpreters().await;
        });
        tasks.spawn(keep_within(
            images.clone(),
            Folders::new(&config.data),
            stop.clone(),
        ));
        Ok(Self {
            identity,
            client,
            network,
            images,
            pods,
            services,
            kubelet,
            stop,
            tasks,
        })
    }

    /// The node's name.
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// The pod network, if there is one.
    pub fn network(&self) -> Option<&NodeNetwork> {
        self.network.as_ref()
    }

    /// The node's images.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// The kubelet's HTTP API.
    pub fn http(&self) -> axum::Router {
        http::router(http::Server {
            pods: self.pods.clone(),
            identity: self.identity.clone(),
            network: self.network.clone(),
        })
    }

    /// Serves the HTTP API on a port, to callers whom the API server lets use this node, until the node stops.
    pub fn serve(
        &mut self,
        listener: tokio::net::TcpListener,
        keys: &http::Keys,
    ) -> Result<(), Error> {
        let guard = http::Guard::new(self.client.clone(), &self.identity.name);
        let served = http::serve(listener, keys, guard, self.http(), self.stop.clone())?;
        self.tasks.spawn(served);
        Ok(())
    }

    /// A handle that connects to pods and Services as the API server's proxy, which says for whom it asks.
    pub fn dialer(&self) -> Dialer {
        Dialer {
            network: self.network.clone(),
            services: self.services.clone(),
        }
    }

    /// Ends all pods in order, our own components last. What can run again does so when the node is started next.
    pub async fn drain(&self) {
        if let Err(error) = publish(&self.client, &self.identity, false).await {
            tracing::debug!(error = %error, "saying that the node stops failed");
        }
        self.kubelet.drain().await;
    }

    /// Stops serving. With `end_network` the holder ends too, which only makes sense after [`Node::drain`]; without it
    /// pods live on and are found again.
    pub async fn stop(mut self, end_network: bool) -> Result<(), Error> {
        self.stop.cancel();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // Events that nobody takes any more must not hold the end up.
        let _ = tokio::time::timeout(Duration::from_secs(2), all).await;
        self.tasks.abort_all();
        match self.network.take() {
            Some(network) if end_network => Ok(network.shutdown().await?),
            _ => Ok(()),
        }
    }
}

/// The node's network as a living pod's shim holds it. Where holder and server have both died it is all that is left,
/// and the pods' links lead nowhere else.
fn network_of_living_pods(folders: &Folders) -> Option<OwnedFd> {
    folders.all().into_iter().find_map(|(_, folder)| {
        let Ok(Adopted::Alive(pod)) = shim::adopt(&folder.shim()) else {
            return None;
        };
        let pid = u32::try_from(pod.shim_pid()).ok()?;
        network_held_by(pid).ok().flatten()
    })
}

/// Python environments that nobody uses are removed beyond this.
const KEPT_ENVIRONMENTS_BYTES: u64 = 20 << 30;
const BETWEEN_PRUNES: Duration = Duration::from_secs(3600);

async fn keep_within(images: Images, folders: Folders, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(BETWEEN_PRUNES))
        .await
        .is_some()
    {
        let (images, folders) = (images.clone(), folders.clone());
        let pruned = tokio::task::spawn_blocking(move || {
            images.prune_downloads()?;
            images.prune(KEPT_ENVIRONMENTS_BYTES, &folders.environments_in_use())
        });
        match pruned.await {
            Ok(Ok(removed)) if !removed.is_empty() => {
                tracing::info!(count = removed.len(), "removed unused Python environments");
            }
            Ok(Err(error)) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "removing unused Python environments failed"
            ),
            _ => {}
        }
    }
}

/// Connects to pods and Services by address or name, for the API server's proxy alone. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dialer {
    network: Option<NodeNetwork>,
    services: ServiceIndex,
}

impl Dialer {
    /// Opens a connection as the proxy. Only addresses of the cluster are reached.
    pub async fn dial(&self, namespace: &str, host: &str, port: u16) -> io::Result<TcpStream> {
        let address: Ipv4Addr = match host.parse() {
            Ok(ip) => ip,
            Err(_) => self.services.address(host, namespace).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("no Service is called {host:?}"),
                )
            })?,
        };
        match &self.network {
            Some(network) if network.layout().is_inside(address) => network
                .dial_as_proxy(SocketAddrV4::new(address, port))
                .await
                .map_err(io::Error::other),
            Some(_) => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("{address} is not in the cluster"),
            )),
            None => TcpStream::connect(SocketAddr::from((address, port))).await,
        }
    }
}
