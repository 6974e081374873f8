//! The node's network: pods with an address each, Services, and the way out. Raw netlink over `libc`; no helper
//! program and nothing on the host is touched. Who holds the namespace is `holder`'s concern.
//!
//! Interface (being filled in; signatures stand):
//! - server side, all on [`NodeNetwork`] (cheap to clone, `Send + Sync`):
//!   `NodeNetwork::start(Config { dir, exe, layout, egress, rejoin }, shutdown: CancellationToken) -> Result<NodeNetwork, Error>`
//!   (starts or adopts the holder, sets up rules, serves DNS and relay);
//!   `holder() -> &Holder`; `set_services(Vec<ServiceEntry>) -> Result<()>`; `set_records(dns::Records)`;
//!   `allocate(&self) -> Result<Ipv4Addr>`, `reserve(Ipv4Addr) -> Result<()>`, `release(Ipv4Addr)`;
//!   `attach_pod(netns: OwnedFd, ip) -> Result<()>` (or `attach_pid(pid, ip)`), `detach_pod(ip)`, idempotent;
//!   `add_builtin(ip)`, `remove_builtin(ip)`: a /32 on the node's own `lo`;
//!   `listen(SocketAddrV4) -> tokio TcpListener`, `udp(SocketAddrV4) -> tokio UdpSocket`,
//!   `dial(SocketAddrV4) -> tokio TcpStream`, `dial_from(Ipv4Addr, SocketAddrV4)`;
//!   `namespaces() -> holder::NodeNamespaces { user: OwnedFd, net: OwnedFd, ids: IdMap }` (dup of descriptors);
//!   `shutdown(self)`: ends the holder too (`kfctl down`); dropping it leaves the holder alive.
//! - pod side, called by the shim inside the pod's new network namespace, single-threaded, after the server has
//!   attached it: `net::pod::configure(&net::pod::PodLink { address, gateway }) -> Result<Vec<Warning>, Error>`.
//! - `net::probe(exe) -> Result<(), Refused { step, errno, cause, remedy }>`.

mod layout;
mod services;

pub use layout::{Cidr, Layout};
pub use services::{Protocol, ServiceEntry};
