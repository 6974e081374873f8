//! A Service's EndpointSlices: per address family and set of ports, at most a hundred endpoints each, changed as little
//! as possible so that watchers see little.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use control::owners;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::members::{Member, Port, is_headless};

/// The Service a slice belongs to.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// Endpoints in one slice at most.
const MOST: usize = 100;

/// Whether the slice is managed here.
pub fn is_ours(slice: &EndpointSlice) -> bool {
    slice
        .labels()
        .get(MANAGED_BY)
        .is_some_and(|manager| manager == MANAGER)
}

/// Slices to create, change and delete.
#[derive(Debug, Default)]
pub struct Plan {
    /// Bodies of new slices.
    pub create: Vec<Value>,
    /// Names and merge patches of changed slices.
    pub change: Vec<(String, Value)>,
    /// Slices no longer wanted.
    pub delete: Vec<Arc<EndpointSlice>>,
}

type Group = (String, BTreeSet<Port>);

/// Plans the slices of a Service.
pub fn plan(service: &Service, members: &[Member], held: &[Arc<EndpointSlice>]) -> Plan {
    let families = families(service);
    let mut wanted: BTreeMap<Group, Vec<Endpoint>> = BTreeMap::new();
    for (member, family) in members
        .iter()
        .flat_map(|member| families.iter().map(move |family| (member, family)))
    {
        if member.ports.is_empty() && !has_no_ports(service) {
            continue;
        }
        if let Some(endpoint) = endpoint(member, family) {
            wanted
                .entry((family.clone(), member.ports.clone()))
                .or_default()
                .push(endpoint);
        }
    }
    // A family without endpoints keeps one empty slice, so that its absence of endpoints is visible.
    for family in &families {
        if !wanted.keys().any(|(held, _)| held == family) {
            wanted.insert((family.clone(), BTreeSet::new()), Vec::new());
        }
    }
    let mut spare: Vec<Arc<EndpointSlice>> = held.to_vec();
    spare.sort_by_key(|slice| slice.name_any());
    let mut plan = Plan::default();
    for ((family, ports), endpoints) in wanted {
        let (same, rest) = spare.into_iter().partition(|slice: &Arc<EndpointSlice>| {
            slice.address_type == family && ports_of(slice) == ports
        });
        spare = rest;
        fill(
            service, &family, &ports, endpoints, same, members, &mut plan,
        );
    }
    plan.delete.extend(spare);
    reuse(&mut plan);
    plan
}

/// A slice that would go becomes one that would come, so that watchers see a slice change and none is gone for a moment.
fn reuse(plan: &mut Plan) {
    let mut made = Vec::new();
    for mut body in std::mem::take(&mut plan.create) {
        let Some(at) = plan
            .delete
            .iter()
            .position(|slice| body["addressType"] == slice.address_type.as_str())
        else {
            made.push(body);
            continue;
        };
        let slice = plan.delete.remove(at);
        let mut metadata = json!({"uid": slice.uid(), "resourceVersion": slice.resource_version()});
        let wanted = &body["metadata"];
        if let Some(labels) = control::write::merge_diff(&json!(slice.labels()), &wanted["labels"])
        {
            metadata["labels"] = labels;
        }
        if !wanted["annotations"].is_null() {
            metadata["annotations"] = wanted["annotations"].clone();
        }
        let patch = json!({
            "metadata": metadata,
            "endpoints": body["endpoints"].take(),
            "ports": body["ports"].take(),
        });
        plan.change.push((slice.name_any(), patch));
    }
    plan.create = made;
}

/// Puts endpoints into the slices there are, then into new ones.
fn fill(
    service: &Service,
    family: &str,
    ports: &BTreeSet<Port>,
    endpoints: Vec<Endpoint>,
    held: Vec<Arc<EndpointSlice>>,
    members: &[Member],
    plan: &mut Plan,
) {
    let mut missing: BTreeMap<String, Endpoint> = endpoints
        .into_iter()
        .map(|endpoint| (uid_of(&endpoint), endpoint))
        .collect();
    let mut kept: Vec<(Arc<EndpointSlice>, Vec<Endpoint>)> = Vec::new();
    for slice in held {
        let stay = slice
            .endpoints
            .iter()
            .filter_map(|endpoint| missing.remove(&uid_of(endpoint)))
            .collect();
        kept.push((slice, stay));
    }
    let mut missing = missing.into_values();
    for (_, endpoints) in &mut kept {
        let room = MOST.saturating_sub(endpoints.len());
        endpoints.extend(missing.by_ref().take(room));
    }
    let trigger = trigger_time(service, members);
    let mut any_left = false;
    let count = kept.len();
    for (position, (slice, endpoints)) in kept.into_iter().enumerate() {
        let is_last_hope = position + 1 == count && !any_left;
        if endpoints.is_empty() && !is_last_hope {
            plan.delete.push(slice);
            continue;
        }
        any_left = true;
        if let Some(patch) = change(service, &slice, &endpoints, trigger.as_deref()) {
            plan.change.push((slice.name_any(), patch));
        }
    }
    let left: Vec<Endpoint> = missing.collect();
    for chunk in left.chunks(MOST) {
        plan.create
            .push(body(service, family, ports, chunk, trigger.as_deref()));
    }
    if !any_left && left.is_empty() {
        plan.create
            .push(body(service, family, ports, &[], trigger.as_deref()));
    }
}

fn uid_of(endpoint: &Endpoint) -> String {
    endpoint
        .target_ref
        .as_ref()
        .and_then(|target| target.uid.clone())
        .unwrap_or_default()
}

fn change(
    service: &Service,
    slice: &EndpointSlice,
    endpoints: &[Endpoint],
    trigger: Option<&str>,
) -> Option<Value> {
    let labels = labels(service);
    let same = slice.endpoints == endpoints && *slice.labels() == labels;
    if same {
        return None;
    }
    let mut metadata = json!({"uid": slice.uid(), "resourceVersion": slice.resource_version()});
    if let Some(change) = control::write::merge_diff(&json!(slice.labels()), &json!(labels)) {
        metadata["labels"] = change;
    }
    if let Some(trigger) = trigger {
        metadata["annotations"] = json!({TRIGGER_TIME: trigger});
    }
    Some(json!({"metadata": metadata, "endpoints": endpoints}))
}

fn body(
    service: &Service,
    family: &str,
    ports: &BTreeSet<Port>,
    endpoints: &[Endpoint],
    trigger: Option<&str>,
) -> Value {
    let mut body = json!({
        "metadata": {
            "generateName": format!("{}-", service.name_any()),
            "labels": labels(service),
            "ownerReferences": [owners::controller_reference(service, "v1", "Service")],
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": ports.iter().map(endpoint_port).collect::<Vec<_>>(),
    });
    if let Some(trigger) = trigger {
        body["metadata"]["annotations"] = json!({TRIGGER_TIME: trigger});
    }
    body
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.insert(SERVICE_LABEL.to_owned(), service.name_any());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    labels
}

/// The last change this set of members goes back to.
pub fn trigger_time(service: &Service, members: &[Member]) -> Option<String> {
    let created = service.creation_timestamp().map(|time| time.0);
    let latest = members
        .iter()
        .filter_map(|member| member.changed)
        .chain(created)
        .max()?;
    Some(
        json!(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(latest))
            .as_str()?
            .to_owned(),
    )
}

fn families(service: &Service) -> Vec<String> {
    let families = service
        .spec
        .as_ref()
        .and_then(|spec| spec.ip_families.clone())
        .unwrap_or_default();
    if families.is_empty() {
        vec!["IPv4".to_owned()]
    } else {
        families
    }
}

fn has_no_ports(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .is_some_and(|spec| spec.ports.as_ref().is_none_or(Vec::is_empty))
}

fn endpoint(member: &Member, family: &str) -> Option<Endpoint> {
    let address = member
        .addresses
        .iter()
        .find(|address| address.is_ipv4() == (family == "IPv4"))?;
    Some(Endpoint {
        addresses: vec![address.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(member.is_ready),
            serving: Some(member.is_serving),
            terminating: Some(member.is_terminating),
        }),
        hostname: member.hostname.clone(),
        node_name: member.node.clone(),
        target_ref: Some(member.target.clone()),
        zone: member.zone.clone(),
        ..Endpoint::default()
    })
}

/// A port as slices spell it.
pub fn endpoint_port(port: &Port) -> EndpointPort {
    EndpointPort {
        name: Some(port.name.clone()),
        port: Some(port.number),
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
    }
}

/// The ports of a slice.
pub fn ports_of(slice: &EndpointSlice) -> BTreeSet<Port> {
    let ports = slice.ports.iter().flatten();
    ports
        .map(|port| Port {
            name: port.name.clone().unwrap_or_default(),
            number: port.port.unwrap_or(0),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            app_protocol: port.app_protocol.clone(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::members::members;
    use super::super::members::tests::{pod, service};
    use super::*;

    fn plan_for(
        service: &Service,
        ips: &[(&str, &str, bool)],
        held: &[Arc<EndpointSlice>],
    ) -> Plan {
        let pods: Vec<_> = ips
            .iter()
            .map(|(name, ip, ready)| pod(name, ip, *ready))
            .collect();
        plan(service, &members(service, &pods, |_| None), held)
    }

    fn stored(body: &Value, name: &str) -> Arc<EndpointSlice> {
        let mut body = body.clone();
        body["metadata"]["name"] = name.into();
        body["metadata"]["uid"] = name.into();
        Arc::new(serde_json::from_value(body).unwrap())
    }

    #[test]
    fn a_service_without_pods_has_one_empty_slice() {
        let service = service(json!({}));
        let first = plan_for(&service, &[], &[]);
        assert_eq!(first.create.len(), 1);
        assert_eq!(first.create[0]["endpoints"], json!([]));
        assert_eq!(first.create[0]["metadata"]["labels"][SERVICE_LABEL], "web");
        let again = plan_for(&service, &[], &[stored(&first.create[0], "web-1")]);
        assert!(again.create.is_empty() && again.change.is_empty() && again.delete.is_empty());
    }

    #[test]
    fn a_ready_pod_becomes_an_endpoint_with_port_node_and_target() {
        let plan = plan_for(&service(json!({})), &[("a", "10.1.0.1", true)], &[]);
        let body = &plan.create[0];
        assert_eq!(
            body["ports"],
            json!([{"name": "http", "port": 8080, "protocol": "TCP"}])
        );
        assert_eq!(
            body["endpoints"],
            json!([{
                "addresses": ["10.1.0.1"],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "hostname": "host-1",
                "nodeName": "n1",
                "targetRef": {"kind": "Pod", "namespace": "ns", "name": "a", "uid": "a"},
            }])
        );
    }

    #[test]
    fn a_pod_that_turns_unready_changes_its_slice_only() {
        let service = service(json!({}));
        let first = plan_for(
            &service,
            &[("a", "10.1.0.1", true), ("b", "10.1.0.2", true)],
            &[],
        );
        let held = [stored(&first.create[0], "web-1")];
        let second = plan_for(
            &service,
            &[("a", "10.1.0.1", true), ("b", "10.1.0.2", false)],
            &held,
        );
        assert!(second.create.is_empty() && second.delete.is_empty());
        assert_eq!(second.change[0].0, "web-1");
        assert_eq!(
            second.change[0].1["endpoints"][1]["conditions"]["ready"],
            false
        );
    }

    #[test]
    fn a_slice_holds_a_hundred_and_the_rest_goes_to_the_next() {
        let pods: Vec<(String, String, bool)> = (0..130)
            .map(|i| (format!("p{i:03}"), format!("10.1.1.{i}"), true))
            .collect();
        let pods: Vec<(&str, &str, bool)> = pods
            .iter()
            .map(|(n, ip, r)| (n.as_str(), ip.as_str(), *r))
            .collect();
        let service = service(json!({}));
        let first = plan_for(&service, &pods, &[]);
        let sizes: Vec<usize> = first
            .create
            .iter()
            .map(|body| body["endpoints"].as_array().unwrap().len())
            .collect();
        assert_eq!(sizes, [100, 30]);
        let held = [
            stored(&first.create[0], "web-1"),
            stored(&first.create[1], "web-2"),
        ];
        let shrunk = plan_for(&service, &pods[..100], &held);
        assert_eq!(
            shrunk.delete.len(),
            1,
            "the slice that lost all its pods goes"
        );
        assert!(shrunk.change.is_empty());
    }

    #[test]
    fn a_headless_service_is_marked() {
        let plan = plan_for(
            &service(json!({"clusterIP": "None"})),
            &[("a", "10.1.0.1", true)],
            &[],
        );
        assert_eq!(plan.create[0]["metadata"]["labels"][HEADLESS], "");
    }

    #[test]
    fn new_ports_are_given_to_the_slice_there_is() {
        let first = plan_for(&service(json!({})), &[("a", "10.1.0.1", true)], &[]);
        let held = [stored(&first.create[0], "web-1")];
        let moved = service(json!({"ports": [{"name": "http", "port": 80, "targetPort": 9090}]}));
        let second = plan_for(&moved, &[("a", "10.1.0.1", true)], &held);
        assert_eq!(second.change[0].0, "web-1");
        assert_eq!(second.change[0].1["ports"][0]["port"], 9090);
        assert!(second.create.is_empty() && second.delete.is_empty());
    }
}
