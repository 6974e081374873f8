//! The node's network as the kubelet uses it: one handle that starts or finds the holder, keeps rules and links,
//! and has DNS and the relay served. Calls to the kernel are made off the event loop, one at a time.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::layout::Layout;
use super::netlink::Socket;
use super::node::{Node, remove_link};
use super::outside::Outside;
use super::pool::Pool;
use super::services::ServiceEntry;
use crate::dns::{self, Dns};
use crate::holder::{self, Holder, SocketKind};
use crate::relay::{self, Relay};

const DNS_PORT: u16 = 53;

/// How the node's network is started.
#[derive(Debug)]
pub struct Config {
    /// The holder's own folder, such as `<data>/node/network`.
    pub folder: PathBuf,
    /// The program re-executed as holder, usually `/proc/self/exe`.
    pub executable: PathBuf,
    /// Addresses.
    pub layout: Layout,
    /// How names are served.
    pub dns: dns::Config,
    /// Where pods may go outside the cluster.
    pub relay: relay::Config,
    /// The node's network namespace as a shim of a living pod holds it: used only if no holder lives.
    pub rejoin: Option<OwnedFd>,
}

/// The node's network. Cheap to clone; dropping it leaves pods connected.
#[derive(Clone, Debug)]
pub struct NodeNetwork(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    layout: Layout,
    holder: Holder,
    node: Mutex<Node>,
    /// Links are removed through a socket of their own, so that no pod waits to be attached while the kernel does so.
    removing: Mutex<Socket>,
    pool: Mutex<Pool>,
    dns: Dns,
    relay: Relay,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic half-way leaves the kernel's state, which the next call corrects, as unsure as any refusal does.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NodeNetwork {
    /// Starts the node's network, or takes over what an earlier server left.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let Config {
            folder,
            executable,
            layout,
            dns,
            relay,
            rejoin,
        } = config;
        let dns = Dns::new(layout.clone(), &dns);
        let relay = Relay::new(layout.clone(), relay);
        tokio::task::spawn_blocking(move || {
            let holder = Holder::start(holder::Options {
                folder,
                executable,
                rejoin,
            })?;
            let route = netlink(&holder, SocketKind::Route)?;
            let removing = netlink(&holder, SocketKind::Route)?;
            let filter = netlink(&holder, SocketKind::Netfilter)?;
            let node = Node::set_up(layout.clone(), route, filter)?;
            let mut pool = Pool::new(layout.clone());
            for address in node.attached() {
                pool.reserve(address);
            }
            let (node, pool) = (Mutex::new(node), Mutex::new(pool));
            Ok(Self(Arc::new(Shared {
                layout,
                holder,
                node,
                removing: Mutex::new(removing),
                pool,
                dns,
                relay,
            })))
        })
        .await?
    }

    /// Addresses.
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }

    /// The process that holds the network, and its namespaces.
    pub fn holder(&self) -> &Holder {
        &self.0.holder
    }

    /// Takes a free pod address.
    pub fn allocate(&self) -> Result<Ipv4Addr, Error> {
        lock(&self.0.pool)
            .allocate()
            .ok_or(Error::NoAddress(self.0.layout.pods))
    }

    /// Marks the address of a pod found again as taken.
    pub fn reserve(&self, address: Ipv4Addr) -> Result<(), Error> {
        let is_ours = lock(&self.0.pool).reserve(address);
        if is_ours {
            Ok(())
        } else {
            Err(Error::NotAPodAddress(address))
        }
    }

    /// Gives a pod address back, after the pod was detached.
    pub fn release(&self, address: Ipv4Addr) {
        lock(&self.0.pool).release(address);
    }

    async fn kernel<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Node) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || work(&mut lock(&this.0.node))).await?
    }

    /// Pods that are attached, also by an earlier server.
    pub async fn attached(&self) -> Result<Vec<Ipv4Addr>, Error> {
        self.kernel(|node| Ok(node.attached().collect())).await
    }

    /// Links a pod's network namespace to the node: it gets `eth0`, which `net::pod::configure` then sets up from
    /// inside. Attaching again replaces the link.
    pub async fn attach_pod(&self, address: Ipv4Addr, namespace: OwnedFd) -> Result<(), Error> {
        self.reserve(address)?;
        self.kernel(move |node| node.attach(address, namespace.as_fd()))
            .await
    }

    /// The same by the number of a process in the pod's network namespace.
    pub async fn attach_process(&self, address: Ipv4Addr, pid: u32) -> Result<(), Error> {
        let path = format!("/proc/{pid}/ns/net");
        let namespace = std::fs::File::open(&path)
            .map_err(|error| Error::refused(format!("open {path}"), error))?;
        self.attach_pod(address, namespace.into()).await
    }

    /// Unlinks a pod, gone or not. Its address stays taken until `release`.
    pub async fn detach_pod(&self, address: Ipv4Addr) -> Result<(), Error> {
        let Some(device) = self.kernel(move |node| node.forget(address)).await? else {
            return Ok(());
        };
        let this = self.clone();
        let remove = move || remove_link(&mut lock(&this.0.removing), address, device);
        tokio::task::spawn_blocking(remove).await?
    }

    /// Gives a pod that runs in this process its address, on the node itself; `listen` and `dial_from` can use it.
    pub async fn add_builtin(&self, address: Ipv4Addr) -> Result<(), Error> {
        self.reserve(address)?;
        self.kernel(move |node| node.add_builtin(address)).await
    }

    /// Takes a built-in pod's address away. It stays taken until `release`.
    pub async fn remove_builtin(&self, address: Ipv4Addr) -> Result<(), Error> {
        self.kernel(move |node| node.remove_builtin(address)).await
    }

    /// Says what all Services are; only differences reach the kernel.
    pub async fn set_services(&self, mut entries: Vec<ServiceEntry>) -> Result<(), Error> {
        // The relay first: it must know where to when the first connection comes.
        let outside = Outside::leave(&mut entries, &self.0.layout);
        self.0.relay.set_outside(outside);
        self.kernel(move |node| node.set_services(&entries)).await
    }

    /// Listens on the gateway's or a built-in pod's address.
    pub async fn listen(&self, address: SocketAddrV4) -> Result<TcpListener, Error> {
        Ok(self.0.holder.listen(address).await?)
    }

    /// The endpoint of the `kubernetes` Service: the API server serves TLS on it.
    pub async fn api_listener(&self) -> Result<TcpListener, Error> {
        let Layout {
            gateway, api_port, ..
        } = self.0.layout;
        self.listen(SocketAddrV4::new(gateway, api_port)).await
    }

    /// Binds UDP on the gateway's or a built-in pod's address.
    pub async fn udp(&self, address: SocketAddrV4) -> Result<UdpSocket, Error> {
        Ok(self.0.holder.udp(address).await?)
    }

    /// Connects to a pod or Service as the node: always from the gateway's address, also to built-in pods, whose
    /// addresses are the node's own (the kernel would otherwise take the target's address as the source).
    pub async fn dial(&self, address: SocketAddrV4) -> Result<TcpStream, Error> {
        let source = self.0.layout.gateway;
        Ok(self.0.holder.dial_from(Some(source), address).await?)
    }

    /// Connects to a pod or Service as the API server's proxy.
    pub async fn dial_as_proxy(&self, address: SocketAddrV4) -> Result<TcpStream, Error> {
        let source = self.0.layout.proxy;
        Ok(self.0.holder.dial_from(Some(source), address).await?)
    }

    /// Connects to a pod or Service as a built-in pod.
    pub async fn dial_from(
        &self,
        source: Ipv4Addr,
        address: SocketAddrV4,
    ) -> Result<TcpStream, Error> {
        Ok(self.0.holder.dial_from(Some(source), address).await?)
    }

    /// Replaces all names of the cluster domain.
    pub fn set_records(&self, records: &dns::Records) {
        self.0.dns.set_records(records);
    }

    /// What leaves the cluster, by pod.
    pub fn relay(&self) -> &Relay {
        &self.0.relay
    }

    /// Takes the sockets of DNS and relay; the future then serves them, and replaces the holder should it end, until
    /// `shutdown`.
    pub async fn serve(
        &self,
        shutdown: CancellationToken,
    ) -> Result<impl Future<Output = ()> + Send + use<>, Error> {
        let Layout {
            gateway,
            dns,
            relay_port,
            ..
        } = self.0.layout;
        let names = SocketAddrV4::new(dns, DNS_PORT);
        let udp = self.udp(names).await?;
        let tcp = self.listen(names).await?;
        let leaving = self.listen(SocketAddrV4::new(gateway, relay_port)).await?;
        let this = self.clone();
        Ok(async move {
            tokio::join!(
                this.0.dns.clone().serve(udp, tcp, shutdown.clone()),
                this.0.relay.clone().serve(leaving, shutdown.clone()),
                this.keep_holder(shutdown.clone()),
            );
        })
    }

    /// Watches the holder until `shutdown` and puts a new one in place when it ends.
    async fn keep_holder(&self, shutdown: CancellationToken) {
        while let Some(ended) = shutdown.run_until_cancelled(self.0.holder.ended()).await {
            if let Err(error) = ended {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot watch the node's holder"
                );
                return;
            }
            if shutdown.is_cancelled() || self.0.holder.is_ending() {
                return;
            }
            tracing::warn!("the node's holder ended; a new one takes its place");
            let holder = self.0.holder.clone();
            let recovered = tokio::task::spawn_blocking(move || holder.recover()).await;
            if let Ok(Err(error)) = recovered {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot replace the node's holder"
                );
                let pause = tokio::time::sleep(std::time::Duration::from_secs(1));
                shutdown.run_until_cancelled(pause).await;
            }
        }
    }

    /// Ends the holder too: `kfctl down`. Pods must have ended.
    pub async fn shutdown(self) -> Result<(), Error> {
        let holder = self.0.holder.clone();
        tokio::task::spawn_blocking(move || holder.shutdown()).await??;
        Ok(())
    }
}

fn netlink(holder: &Holder, kind: SocketKind) -> Result<Socket, Error> {
    let fd = holder
        .sockets(kind, 1)?
        .pop()
        .ok_or(holder::Error::Nonsense)?;
    Socket::from_fd(fd).map_err(|e| Error::refused("prepare a netlink socket", e))
}
