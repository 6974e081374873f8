//! The node's network: pods with an address each, Services, and the way out. Raw netlink over `libc`; no helper
//! program and nothing on the host is touched. Who holds the namespace is `holder`'s concern.
//!
//! Server side: [`NodeNetwork`]. Pod side, inside a pod's network namespace: [`pod::configure`].

mod error;
mod layout;
pub(crate) mod links;
pub(crate) mod netlink;
mod network;
mod nftables;
mod node;
mod outside;
pub mod pod;
mod pool;
mod services;
pub(crate) mod trial;

pub use error::Error;
pub use layout::{Cidr, Layout};
pub use network::{Config, NodeNetwork};
pub use outside::Outside;
pub use services::{Protocol, ServiceEntry};
