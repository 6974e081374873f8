//! The Services of the cluster as this node acts on them: variables for containers, the map of Service addresses and
//! the names that DNS answers, recomputed as a whole on each change.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::dns::{EndpointRecord, PodRecord, PortRecord, Records, ServiceRecord, ServiceTarget};
use crate::net::{NodeNetwork, Protocol, ServiceEntry};

/// All Services, for whoever needs to look one up. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct ServiceIndex {
    services: Arc<ArcSwap<Vec<Service>>>,
    pods: Arc<Mutex<BTreeMap<Ipv4Addr, String>>>,
    changed: Arc<Notify>,
    /// Cancelled, for good, when the first list is complete.
    complete: CancellationToken,
}

impl ServiceIndex {
    /// All Services as last seen.
    pub fn all(&self) -> Arc<Vec<Service>> {
        self.services.load_full()
    }

    /// The address of a Service by a name such as `web`, `web.ns`, `web.ns.svc` or `web.ns.svc.cluster.local`.
    pub fn address(&self, host: &str, own_namespace: &str) -> Option<Ipv4Addr> {
        let host = host.trim_end_matches('.');
        let host = host.strip_suffix(".cluster.local").unwrap_or(host);
        let host = host.strip_suffix(".svc").unwrap_or(host);
        let (name, namespace) = host.split_once('.').unwrap_or((host, own_namespace));
        let all = self.services.load();
        let found = all.iter().find(|service| {
            service.name_any() == name && service.namespace().as_deref() == Some(namespace)
        })?;
        found.spec.as_ref()?.cluster_ip.as_deref()?.parse().ok()
    }

    /// Waits until all Services have been seen once.
    pub async fn complete(&self) {
        self.complete.cancelled().await;
    }

    /// Notes the address of a pod of this node, for DNS.
    pub fn add_pod(&self, ip: Ipv4Addr, namespace: &str) {
        self.lock_pods().insert(ip, namespace.to_owned());
        self.changed.notify_one();
    }

    /// Forgets the address of a pod.
    pub fn remove_pod(&self, ip: Ipv4Addr) {
        self.lock_pods().remove(&ip);
        self.changed.notify_one();
    }

    fn lock_pods(&self) -> std::sync::MutexGuard<'_, BTreeMap<Ipv4Addr, String>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches Services and EndpointSlices until `shutdown` and tells the network about them.
pub async fn watch(
    client: Client,
    index: ServiceIndex,
    network: Option<NodeNetwork>,
    shutdown: CancellationToken,
) {
    let (service_reader, service_writer) = reflector::store();
    let (slice_reader, slice_writer) = reflector::store();
    let config = watcher::Config::default();
    let services = watcher(Api::<Service>::all(client.clone()), config.clone())
        .default_backoff()
        .reflect(service_writer)
        .map_ok(|_| ())
        .boxed();
    let slices = watcher(Api::<EndpointSlice>::all(client), config)
        .default_backoff()
        .reflect(slice_writer)
        .map_ok(|_| ())
        .boxed();
    let mut changes = futures::stream::select(services, slices);
    loop {
        let change = tokio::select! {
            () = shutdown.cancelled() => return,
            () = index.changed.notified() => Some(Ok(())),
            change = changes.next() => change,
        };
        match change {
            None => return,
            Some(Err(error)) => tracing::warn!(error = %error, "watching Services was interrupted"),
            Some(Ok(())) => {
                // What else is already here belongs to the same picture.
                while let Some(Some(_)) = futures::FutureExt::now_or_never(changes.next()) {}
                let mut all: Vec<Service> = service_reader
                    .state()
                    .iter()
                    .map(|service| (**service).clone())
                    .collect();
                all.sort_by_key(|service| (service.namespace(), service.name_any()));
                let slices: Vec<EndpointSlice> = slice_reader
                    .state()
                    .iter()
                    .map(|slice| (**slice).clone())
                    .collect();
                index.services.store(Arc::new(all.clone()));
                if matches!(
                    futures::FutureExt::now_or_never(service_reader.wait_until_ready()),
                    Some(Ok(()))
                ) {
                    index.complete.cancel();
                }
                if let Some(network) = &network {
                    let pods = index.lock_pods().clone();
                    network.set_records(&records(&all, &slices, &pods));
                    if let Err(error) = network.set_services(entries(&all, &slices)).await {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "telling the network about Services failed"
                        );
                    }
                }
            }
        }
    }
}

/// What each port of each Service leads to.
pub fn entries(services: &[Service], slices: &[EndpointSlice]) -> Vec<ServiceEntry> {
    let mut entries = Vec::new();
    for service in services {
        let Some(spec) = &service.spec else { continue };
        let addresses = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
        let mut addresses: Vec<Ipv4Addr> = addresses.filter_map(|ip| ip.parse().ok()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let all = spec.publish_not_ready_addresses == Some(true);
        for port in spec.ports.iter().flatten() {
            let Some(protocol) = protocol(port.protocol.as_deref()) else {
                continue;
            };
            let Ok(number) = u16::try_from(port.port) else {
                continue;
            };
            let name = port.name.as_deref().unwrap_or_default();
            let mut endpoints = Vec::new();
            for slice in of_service(slices, service) {
                let target = slice
                    .ports
                    .iter()
                    .flatten()
                    .find(|p| p.name.as_deref().unwrap_or_default() == name);
                let Some(target) = target.and_then(|p| u16::try_from(p.port?).ok()) else {
                    continue;
                };
                for endpoint in slice
                    .endpoints
                    .iter()
                    .filter(|endpoint| all || is_ready(endpoint))
                {
                    let ips = endpoint
                        .addresses
                        .iter()
                        .filter_map(|ip| ip.parse::<Ipv4Addr>().ok());
                    endpoints.extend(ips.map(|ip| SocketAddrV4::new(ip, target)));
                }
            }
            endpoints.sort_unstable();
            endpoints.dedup();
            entries.extend(addresses.iter().map(|cluster_ip| ServiceEntry {
                cluster_ip: *cluster_ip,
                protocol,
                port: number,
                endpoints: endpoints.clone(),
            }));
        }
    }
    entries
}

/// The names that DNS answers.
pub fn records(
    services: &[Service],
    slices: &[EndpointSlice],
    pods: &BTreeMap<Ipv4Addr, String>,
) -> Records {
    let services = services
        .iter()
        .filter_map(|service| {
            let spec = service.spec.as_ref()?;
            let target = match spec.cluster_ip.as_deref() {
                _ if spec.type_.as_deref() == Some("ExternalName") => {
                    ServiceTarget::ExternalName(spec.external_name.clone()?)
                }
                Some("None") => ServiceTarget::Headless,
                Some(ip) => ServiceTarget::ClusterIp(ip.parse().ok()?),
                None => return None,
            };
            let all = spec.publish_not_ready_addresses == Some(true);
            let endpoints = of_service(slices, service)
                .flat_map(|slice| slice.endpoints.iter())
                .filter(|endpoint| all || is_ready(endpoint))
                .flat_map(|endpoint| {
                    endpoint.addresses.iter().filter_map(|ip| {
                        Some(EndpointRecord {
                            ip: ip.parse().ok()?,
                            hostname: endpoint.hostname.clone(),
                        })
                    })
                })
                .collect();
            let headless_port = |name: &str| {
                of_service(slices, service)
                    .flat_map(|slice| slice.ports.iter().flatten())
                    .find(|port| port.name.as_deref().unwrap_or_default() == name)
                    .and_then(|port| port.port)
            };
            let ports = spec
                .ports
                .iter()
                .flatten()
                .filter_map(|port| {
                    let name = port.name.clone().unwrap_or_default();
                    let number = match target {
                        ServiceTarget::Headless => headless_port(&name).unwrap_or(port.port),
                        _ => port.port,
                    };
                    Some(PortRecord {
                        protocol: protocol(port.protocol.as_deref())?,
                        port: u16::try_from(number).ok()?,
                        name,
                    })
                })
                .collect();
            Some(ServiceRecord {
                namespace: service.namespace()?,
                name: service.name_any(),
                target,
                ports,
                endpoints,
            })
        })
        .collect();
    let pods = pods
        .iter()
        .map(|(ip, namespace)| PodRecord {
            namespace: namespace.clone(),
            ip: *ip,
        })
        .collect();
    Records { services, pods }
}

fn of_service<'a>(
    slices: &'a [EndpointSlice],
    service: &'a Service,
) -> impl Iterator<Item = &'a EndpointSlice> {
    slices.iter().filter(|slice| {
        let name = slice.labels().get("kubernetes.io/service-name");
        slice.namespace() == service.namespace() && name == service.metadata.name.as_ref()
    })
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint
        .conditions
        .as_ref()
        .and_then(|conditions| conditions.ready)
        != Some(false)
}

fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn service(name: &str, spec: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"namespace": "ns", "name": name}, "spec": spec}))
            .expect("a service")
    }

    fn slice(service: &str, ports: Value, endpoints: Value) -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"namespace": "ns", "name": "s", "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
        }))
        .expect("a slice")
    }

    fn web() -> (Service, EndpointSlice) {
        let spec = json!({"clusterIP": "10.96.0.9", "ports": [{"name": "http", "port": 80}, {"name": "x", "port": 81}]});
        let endpoints = json!([
            {"addresses": ["10.1.0.3"], "conditions": {"ready": true}},
            {"addresses": ["10.1.0.4"], "conditions": {"ready": false}},
        ]);
        (
            service("web", spec),
            slice("web", json!([{"name": "http", "port": 8080}]), endpoints),
        )
    }

    #[test]
    fn a_service_port_leads_to_the_ready_endpoints_under_their_own_port() {
        let (service, slice) = web();
        let entries = entries(&[service], &[slice]);
        assert_eq!(
            entries[0].endpoints,
            ["10.1.0.3:8080".parse().expect("an address")]
        );
        assert_eq!(
            (entries[1].port, entries[1].endpoints.len()),
            (81, 0),
            "no endpoint serves this port"
        );
    }

    #[test]
    fn a_headless_service_has_names_but_no_address() {
        let headless = service(
            "db",
            json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 1}]}),
        );
        let slice = slice(
            "db",
            json!([{"name": "sql", "port": 5432}]),
            json!([{"addresses": ["10.1.0.5"], "hostname": "db-0"}]),
        );
        assert_eq!(
            entries(
                std::slice::from_ref(&headless),
                std::slice::from_ref(&slice)
            ),
            []
        );
        let records = records(&[headless], &[slice], &BTreeMap::new());
        assert_eq!(records.services[0].target, ServiceTarget::Headless);
        assert_eq!(records.services[0].ports[0].port, 5432);
        assert_eq!(
            records.services[0].endpoints[0].hostname.as_deref(),
            Some("db-0")
        );
    }

    #[test]
    fn a_service_is_found_by_every_form_of_its_name() {
        let index = ServiceIndex::default();
        index.services.store(Arc::new(vec![web().0]));
        for host in ["web", "web.ns", "web.ns.svc", "web.ns.svc.cluster.local."] {
            assert_eq!(
                index.address(host, "ns"),
                "10.96.0.9".parse().ok(),
                "{host}"
            );
        }
        assert_eq!(index.address("web", "other"), None);
    }
}
