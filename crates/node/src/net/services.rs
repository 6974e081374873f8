//! What the Service map must hold and how to get there from what it holds. Pure: the sending is `net::node`'s.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Transport of a Service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// The number in the IP header.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

/// One port of one Service and where its connections go. Entries without endpoints are refused at once, like
/// addresses nobody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// The Service's own address.
    pub cluster_ip: Ipv4Addr,
    /// Transport.
    pub protocol: Protocol,
    /// The Service's port.
    pub port: u16,
    /// Ready endpoints with the port they listen on.
    pub endpoints: Vec<SocketAddrV4>,
}
