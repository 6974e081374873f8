//! Where pods may connect outside the cluster. The relay dials with the owner's rights, so whatever would let a pod
//! in where only the owner may go is refused here. Pure: what the host calls its own is asked by `relay::host`.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use crate::net::Cidr;

/// A pod's wish to connect outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The pod's address.
    pub pod: Ipv4Addr,
    /// Where it wants to go.
    pub target: SocketAddrV4,
}

/// Why an attempt was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 127.0.0.0/8.
    #[error("loopback addresses are the host's own")]
    Loopback,
    /// 169.254.0.0/16 and the addresses where clouds serve a machine's credentials.
    #[error("link-local and cloud metadata addresses give away the machine's credentials")]
    Metadata,
    /// An address of the host itself.
    #[error("this is an address of the host itself")]
    Host,
    /// Unspecified, multicast, broadcast or reserved.
    #[error("not an address one can connect to")]
    NotUnicast,
    /// Inside the cluster's own ranges, yet nobody has it.
    #[error("nobody has this cluster address")]
    Cluster,
    /// Blocked by configuration.
    #[error("blocked by the node's configuration ({0})")]
    Blocked(Cidr),
    /// Refused by a rule of the policy hook.
    #[error("{0}")]
    Rule(String),
}

/// A further rule, asked after the fixed ones: `Err(why)` refuses.
pub type Rule = Arc<dyn Fn(&Attempt) -> Result<(), String> + Send + Sync>;
