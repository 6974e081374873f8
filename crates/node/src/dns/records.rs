//! What the cluster's names stand for, as the server is told it: Services with their endpoints, and pods.

use std::net::Ipv4Addr;

use crate::net::Protocol;

/// All names of the cluster domain. Replaced as a whole on each change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    /// Every Service.
    pub services: Vec<ServiceRecord>,
    /// Pods, for `a-b-c-d.<ns>.pod.<domain>` and for answering PTR of a pod's address.
    pub pods: Vec<PodRecord>,
}

/// A Service as DNS sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRecord {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where its name leads.
    pub target: ServiceTarget,
    /// Ports, for SRV answers.
    pub ports: Vec<PortRecord>,
    /// Endpoints to publish: ready ones, and the unready too if the Service says `publishNotReadyAddresses`.
    pub endpoints: Vec<EndpointRecord>,
}

/// Where a Service's name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceTarget {
    /// A Service with an address of its own.
    ClusterIp(Ipv4Addr),
    /// A headless Service: its name gives all its endpoints.
    Headless,
    /// `type: ExternalName`.
    ExternalName(String),
}

/// A named port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRecord {
    /// Its name; may be empty, then it has no SRV name of its own.
    pub name: String,
    /// Transport.
    pub protocol: Protocol,
    /// The number SRV answers give: the Service's port, or the target port of a headless one.
    pub port: u16,
}

/// An endpoint of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRecord {
    /// The pod's address.
    pub ip: Ipv4Addr,
    /// The pod's `hostname`, if its `subdomain` is this Service (then `<hostname>.<service>…` names it).
    pub hostname: Option<String>,
}

/// A pod as DNS sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRecord {
    /// Its namespace.
    pub namespace: String,
    /// Its address.
    pub ip: Ipv4Addr,
}
