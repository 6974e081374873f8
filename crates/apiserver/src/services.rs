//! Cluster IPs and node ports of Services: handed out inside the write path, so that no two Services share one.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use objects::FieldError;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::registry::Resource;
use crate::verbs::Call;

/// Service addresses are 10.96.0.0/16, as everywhere.
const NETWORK: u32 = u32::from_be_bytes([10, 96, 0, 0]);
const MASK: u32 = 0xffff_0000;
/// The first 256 addresses are for those who name one themselves, among them the API server and the name server.
const FIRST_FREE: u32 = 256;
const LAST: u32 = 65_534;
/// The API server's own address, the first of the range.
pub const KUBERNETES: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// The name server's address.
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

/// The addresses and ports in use.
#[derive(Debug, Default)]
pub struct Allocator(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    ips: BTreeSet<u32>,
    ports: BTreeSet<u16>,
}

/// Addresses taken for a write that is not stored yet; given back unless kept.
#[derive(Debug)]
#[must_use = "what is not kept is given back"]
pub struct Claim<'a> {
    allocator: &'a Allocator,
    ips: Vec<u32>,
    ports: Vec<u16>,
}

impl Claim<'_> {
    /// The write is stored.
    pub fn keep(mut self) {
        self.ips.clear();
        self.ports.clear();
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if self.ips.is_empty() && self.ports.is_empty() {
            return;
        }
        let mut held = self.allocator.held();
        held.ips.retain(|ip| !self.ips.contains(ip));
        held.ports.retain(|port| !self.ports.contains(port));
    }
}

/// Whether a resource is the one this module cares about.
pub fn is_service(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.kind == "Service"
}

impl Allocator {
    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// Takes what a stored Service has; at start.
    pub fn adopt(&self, service: &Value) {
        let mut held = self.held();
        held.ips.extend(ips(service));
        held.ports.extend(ports(service));
    }

    /// Gives back what `before` had and `after` has not.
    pub fn release(&self, before: &Value, after: Option<&Value>) {
        let kept_ips = after.map(ips).unwrap_or_default();
        let kept_ports = after.map(ports).unwrap_or_default();
        let mut held = self.held();
        for ip in ips(before).into_iter().filter(|ip| !kept_ips.contains(ip)) {
            held.ips.remove(&ip);
        }
        for port in ports(before)
            .into_iter()
            .filter(|port| !kept_ports.contains(port))
        {
            held.ports.remove(&port);
        }
    }

    /// Completes a Service about to be written with addresses of its own. Other kinds pass through.
    pub fn claim(
        &self,
        call: &Call,
        old: Option<&Value>,
        service: &mut Value,
    ) -> Result<Claim<'_>, ApiError> {
        let mut claim = Claim {
            allocator: self,
            ips: Vec::new(),
            ports: Vec::new(),
        };
        if !is_service(&call.resource) || !call.subresource.is_empty() {
            return Ok(claim);
        }
        let name = objects::meta::name(service).to_owned();
        let result = self
            .claim_ip(old, service, &mut claim)
            .and_then(|()| self.claim_ports(old, service, &mut claim));
        match result {
            Ok(()) => Ok(claim),
            Err(error) => Err(call.invalid(&name, vec![error])),
        }
    }

    fn claim_ip(
        &self,
        old: Option<&Value>,
        service: &mut Value,
        claim: &mut Claim<'_>,
    ) -> Result<(), FieldError> {
        let spec = &mut service["spec"];
        if spec["type"] == "ExternalName" {
            if let Some(spec) = spec.as_object_mut() {
                spec.remove("clusterIP");
                spec.remove("clusterIPs");
            }
            return Ok(());
        }
        let wanted = spec["clusterIP"].as_str().unwrap_or_default().to_owned();
        let present = old
            .and_then(|old| old["spec"]["clusterIP"].as_str())
            .unwrap_or_default();
        let address = match (wanted.as_str(), present) {
            ("None", _) => "None".to_owned(),
            ("", present) if !present.is_empty() => present.to_owned(),
            ("", _) => {
                let ip = self.free_ip().ok_or_else(|| {
                    FieldError::internal(
                        "spec.clusterIP",
                        "every address of 10.96.0.0/16 is in use",
                    )
                })?;
                claim.ips.push(ip);
                Ipv4Addr::from(ip).to_string()
            }
            (wanted, present) if wanted == present => wanted.to_owned(),
            (wanted, _) => {
                claim.ips.push(self.take_ip(wanted)?);
                wanted.to_owned()
            }
        };
        spec["clusterIP"] = address.clone().into();
        spec["clusterIPs"] = json!([address]);
        Ok(())
    }

    fn take_ip(&self, wanted: &str) -> Result<u32, FieldError> {
        let refuse = |why: String| FieldError::invalid("spec.clusterIPs", json!([wanted]), why);
        let ip: u32 = wanted.parse::<Ipv4Addr>().map(u32::from).map_err(|_| {
            FieldError::invalid(
                "spec.clusterIP",
                wanted,
                "must be a valid IPv4 address, \"None\" or empty",
            )
        })?;
        if ip & MASK != NETWORK {
            return Err(refuse(format!(
                "failed to allocate IP {wanted}: the provided IP ({wanted}) is not in the valid range. The range of valid \
                 IPs is 10.96.0.0/16"
            )));
        }
        if !self.held().ips.insert(ip) {
            return Err(refuse(format!(
                "failed to allocate IP {wanted}: provided IP is already allocated"
            )));
        }
        Ok(ip)
    }

    fn free_ip(&self) -> Option<u32> {
        let mut held = self.held();
        let span = LAST - FIRST_FREE;
        let from = rand::random_range(0..span);
        let ip = (0..span)
            .map(|step| NETWORK + FIRST_FREE + (from + step) % span)
            .find(|ip| !held.ips.contains(ip))?;
        held.ips.insert(ip);
        Some(ip)
    }

    fn claim_ports(
        &self,
        old: Option<&Value>,
        service: &mut Value,
        claim: &mut Claim<'_>,
    ) -> Result<(), FieldError> {
        let kind = service["spec"]["type"].as_str().unwrap_or("ClusterIP");
        let is_wanted = kind == "NodePort"
            || (kind == "LoadBalancer"
                && service["spec"]["allocateLoadBalancerNodePorts"] != false);
        let before = old.map(ports).unwrap_or_default();
        let old_ports = old
            .and_then(|old| old["spec"]["ports"].as_array().cloned())
            .unwrap_or_default();
        let Some(wanted) = service["spec"]["ports"].as_array_mut() else {
            return Ok(());
        };
        for (index, port) in wanted.iter_mut().enumerate() {
            if !is_wanted {
                if let Some(port) = port.as_object_mut() {
                    port.remove("nodePort");
                }
                continue;
            }
            let field = format!("spec.ports[{index}].nodePort");
            let carried = old_ports
                .iter()
                .find(|old| old["port"] == port["port"] && old["protocol"] == port["protocol"])
                .and_then(|old| old["nodePort"].as_u64())
                .unwrap_or(0);
            let chosen = match port["nodePort"].as_u64().unwrap_or(0) {
                0 if carried != 0 => carried as u16,
                0 => {
                    let free = self
                        .free_port()
                        .ok_or_else(|| FieldError::internal(field, "every node port is in use"))?;
                    claim.ports.push(free);
                    free
                }
                given => {
                    let given = u16::try_from(given).unwrap_or(0);
                    if !before.contains(&given) && !claim.ports.contains(&given) {
                        self.take_port(given, &field)?;
                        claim.ports.push(given);
                    }
                    given
                }
            };
            port["nodePort"] = chosen.into();
        }
        Ok(())
    }

    fn take_port(&self, given: u16, field: &str) -> Result<(), FieldError> {
        if !NODE_PORTS.contains(&given) {
            let why =
                "provided port is not in the valid range. The range of valid ports is 30000-32767";
            return Err(FieldError::invalid(field, given, why));
        }
        if !self.held().ports.insert(given) {
            return Err(FieldError::invalid(
                field,
                given,
                "provided port is already allocated",
            ));
        }
        Ok(())
    }

    fn free_port(&self) -> Option<u16> {
        let mut held = self.held();
        let span = NODE_PORTS.end() - NODE_PORTS.start() + 1;
        let from = rand::random_range(0..span);
        let port = (0..span)
            .map(|step| NODE_PORTS.start() + (from + step) % span)
            .find(|port| !held.ports.contains(port))?;
        held.ports.insert(port);
        Some(port)
    }
}

fn ips(service: &Value) -> Vec<u32> {
    let ip = service["spec"]["clusterIP"]
        .as_str()
        .and_then(|text| text.parse::<Ipv4Addr>().ok());
    ip.map(u32::from).into_iter().collect()
}

fn ports(service: &Value) -> Vec<u16> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    ports
        .filter_map(|port| u16::try_from(port["nodePort"].as_u64()?).ok())
        .filter(|port| *port != 0)
        .collect()
}
