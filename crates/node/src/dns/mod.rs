//! The cluster's DNS server. Answers every cluster name at once, also with "there is none"; asks the host's own
//! resolvers for the rest. Who makes the records is the kubelet's concern, who makes the sockets the holder's.

mod host;
mod message;
mod records;
mod server;
mod upstream;
mod zone;

pub use records::{EndpointRecord, PodRecord, PortRecord, Records, ServiceRecord, ServiceTarget};
pub use server::{Config, Dns};
