//! The pods behind a Service and the ports they answer on.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::pods::state;

/// A port as a Service names it and a pod serves it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The port's name in the Service, empty if it has none.
    pub name: String,
    /// The number the pod listens on.
    pub number: i32,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The application protocol, where the Service tells.
    pub app_protocol: Option<String>,
}

/// A pod that answers for a Service.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The ports it answers on.
    pub ports: BTreeSet<Port>,
    /// Whether traffic may be sent to it.
    pub is_ready: bool,
    /// Whether it could take traffic, were it not for its end.
    pub is_serving: bool,
    /// Whether it is being deleted.
    pub is_terminating: bool,
    /// The name it has in the DNS of a headless Service.
    pub hostname: Option<String>,
    /// Its node.
    pub node: Option<String>,
    /// The zone of its node.
    pub zone: Option<String>,
    /// The pod itself.
    pub target: ObjectReference,
    /// When it last became ready or unready.
    pub changed: Option<Timestamp>,
}

/// Whether this controller finds the Service's pods.
pub fn is_selected(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    spec.is_some_and(|spec| {
        spec.type_.as_deref() != Some("ExternalName")
            && spec
                .selector
                .as_ref()
                .is_some_and(|wanted| !wanted.is_empty())
    })
}

/// Whether the Service selects the pod by its labels.
pub fn selects(service: &Service, pod: &Pod) -> bool {
    let wanted = service
        .spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref());
    wanted.is_some_and(|wanted| {
        !wanted.is_empty()
            && wanted
                .iter()
                .all(|(name, value)| pod.labels().get(name) == Some(value))
    })
}

/// Whether the Service has no address of its own.
pub fn is_headless(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .and_then(|spec| spec.cluster_ip.as_deref())
        == Some("None")
}

/// The members of a Service among the pods of its namespace.
pub fn members(
    service: &Service,
    pods: &[Arc<Pod>],
    zone: impl Fn(&str) -> Option<String>,
) -> Vec<Member> {
    let selected = pods
        .iter()
        .filter(|pod| selects(service, pod) && !state::is_terminal(pod));
    selected
        .filter_map(|pod| member(service, pod, &zone))
        .collect()
}

fn member(service: &Service, pod: &Pod, zone: &impl Fn(&str) -> Option<String>) -> Option<Member> {
    let status = pod.status.as_ref()?;
    let mut addresses: Vec<IpAddr> = status
        .pod_ips
        .iter()
        .flatten()
        .filter_map(|address| address.ip.parse().ok())
        .collect();
    if addresses.is_empty() {
        addresses.extend(
            status
                .pod_ip
                .as_ref()
                .and_then(|address| address.parse::<IpAddr>().ok()),
        );
    }
    if addresses.is_empty() {
        return None;
    }
    let spec = service.spec.as_ref()?;
    let is_serving = state::is_ready(pod);
    let is_terminating = state::is_terminating(pod);
    let node = state::node(pod).map(str::to_owned);
    let pod_spec = pod.spec.as_ref()?;
    let belongs = pod_spec.subdomain.as_deref() == service.metadata.name.as_deref();
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        Some(Port {
            name: port.name.clone().unwrap_or_default(),
            number: target_port(
                port.target_port.as_ref(),
                port.port,
                port.protocol.as_deref(),
                pod,
            )?,
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            app_protocol: port.app_protocol.clone(),
        })
    });
    Some(Member {
        ports: ports.collect(),
        is_ready: spec.publish_not_ready_addresses == Some(true) || (is_serving && !is_terminating),
        is_serving,
        is_terminating,
        hostname: pod_spec
            .hostname
            .clone()
            .filter(|name| !name.is_empty() && belongs),
        zone: node.as_deref().and_then(zone),
        node,
        target: ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: pod.namespace(),
            name: Some(pod.name_any()),
            uid: pod.uid(),
            ..ObjectReference::default()
        },
        changed: state::condition(pod, "Ready")
            .and_then(|ready| ready.last_transition_time.as_ref())
            .map(|time| time.0),
        addresses,
    })
}

/// The number a service port leads to on a pod; `None` if the pod has no port of that name.
fn target_port(
    target: Option<&IntOrString>,
    port: i32,
    protocol: Option<&str>,
    pod: &Pod,
) -> Option<i32> {
    let name = match target {
        None => return Some(port),
        Some(IntOrString::Int(0)) => return Some(port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let protocol = protocol.unwrap_or("TCP");
    let spec = pod.spec.as_ref()?;
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|init| init.restart_policy.as_deref() == Some("Always"));
    let ports = spec
        .containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten());
    ports
        .into_iter()
        .find(|held| {
            held.name.as_ref() == Some(name)
                && held.protocol.as_deref().unwrap_or("TCP") == protocol
        })
        .map(|held| held.container_port)
}

#[cfg(test)]
pub mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub fn service(change: Value) -> Service {
        let mut spec = json!({
            "clusterIP": "10.0.0.1",
            "ipFamilies": ["IPv4"],
            "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}],
        });
        for (field, value) in change.as_object().unwrap() {
            spec[field] = value.clone();
        }
        serde_json::from_value(
            json!({"metadata": {"name": "web", "namespace": "ns", "uid": "s"}, "spec": spec}),
        )
        .unwrap()
    }

    pub fn pod(name: &str, ip: &str, ready: bool) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": "web"}},
                "spec": {
                    "nodeName": "n1", "hostname": "host-1", "subdomain": "web",
                    "containers": [{"name": "m", "ports": [{"name": "web", "containerPort": 8080}]}],
                },
                "status": {
                    "phase": "Running", "podIP": ip,
                    "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
                },
            }))
            .unwrap(),
        )
    }

    fn of(service: &Service, pods: &[Arc<Pod>]) -> Vec<Member> {
        members(service, pods, |_| None)
    }

    #[test]
    fn a_named_port_is_found_in_the_pods_containers() {
        let members = of(&service(json!({})), &[pod("a", "10.1.0.1", true)]);
        let port = members[0].ports.first().unwrap();
        assert_eq!((port.name.as_str(), port.number), ("http", 8080));
        assert_eq!(members[0].hostname.as_deref(), Some("host-1"));
        let missing = service(json!({"ports": [{"port": 80, "targetPort": "nope"}]}));
        assert!(
            of(&missing, &[pod("a", "10.1.0.1", true)])[0]
                .ports
                .is_empty()
        );
    }

    #[test]
    fn an_unready_pod_is_listed_as_such_unless_the_service_publishes_it() {
        let pods = [pod("a", "10.1.0.1", false)];
        assert!(!of(&service(json!({})), &pods)[0].is_ready);
        let published = of(&service(json!({"publishNotReadyAddresses": true})), &pods);
        assert!(published[0].is_ready && !published[0].is_serving);
    }

    #[test]
    fn a_terminating_pod_serves_but_is_not_ready() {
        let mut going = pod("a", "10.1.0.1", true).as_ref().clone();
        going.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let member = &of(&service(json!({})), &[Arc::new(going)])[0];
        assert!(!member.is_ready && member.is_serving && member.is_terminating);
    }

    #[test]
    fn pods_without_an_address_or_at_their_end_do_not_count() {
        let mut waiting = pod("a", "", false).as_ref().clone();
        waiting.status.as_mut().unwrap().pod_ip = None;
        let mut done = pod("b", "10.1.0.2", false).as_ref().clone();
        done.status.as_mut().unwrap().phase = Some("Succeeded".to_owned());
        assert!(of(&service(json!({})), &[Arc::new(waiting), Arc::new(done)]).is_empty());
    }
}
