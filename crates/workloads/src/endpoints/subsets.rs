//! The Endpoints object of a Service: the older form of its slices, one object with all addresses.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service,
};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::members::{Member, Port, is_headless};
use super::slices;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Whether the object was made by this controller.
pub fn is_ours(endpoints: &Endpoints) -> bool {
    endpoints
        .labels()
        .get(MANAGED_BY)
        .is_some_and(|manager| manager == MANAGER)
}

/// What to do about the Endpoints object.
#[derive(Debug, PartialEq)]
pub enum Plan {
    /// It says what it should.
    Keep,
    /// There is none.
    Create(Value),
    /// It has to be changed by this merge patch.
    Change(Value),
}

/// Plans the Endpoints object of a Service.
pub fn plan(service: &Service, members: &[Member], held: Option<&Endpoints>) -> Plan {
    let subsets = subsets(service, members);
    let mut labels = service.labels().clone();
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    } else {
        labels.remove(HEADLESS);
    }
    let notes = slices::trigger_time(service, members).map(|time| json!({TRIGGER_TIME: time}));
    let Some(held) = held else {
        let metadata = json!({"name": service.name_any(), "labels": labels, "annotations": notes});
        return Plan::Create(json!({"metadata": metadata, "subsets": subsets}));
    };
    let same_subsets = held.subsets.as_deref().unwrap_or_default() == subsets;
    if same_subsets && *held.labels() == labels {
        return Plan::Keep;
    }
    let mut metadata = json!({"uid": held.uid(), "resourceVersion": held.resource_version()});
    if let Some(change) = control::write::merge_diff(&json!(held.labels()), &json!(labels)) {
        metadata["labels"] = change;
    }
    if let Some(notes) = notes {
        metadata["annotations"] = notes;
    }
    Plan::Change(
        json!({"metadata": metadata, "subsets": if subsets.is_empty() { Value::Null } else { json!(subsets) }}),
    )
}

/// Addresses grouped by the ports they serve; within a group, ready ones apart from others.
fn subsets(service: &Service, members: &[Member]) -> Vec<EndpointSubset> {
    let publishes_all = service
        .spec
        .as_ref()
        .is_some_and(|spec| spec.publish_not_ready_addresses == Some(true));
    let is_v6 = service
        .spec
        .as_ref()
        .and_then(|spec| spec.ip_families.as_ref())
        .is_some_and(|families| families.first().is_some_and(|family| family == "IPv6"));
    let has_ports = service
        .spec
        .as_ref()
        .is_some_and(|spec| spec.ports.as_ref().is_some_and(|ports| !ports.is_empty()));
    let mut groups: BTreeMap<Vec<&Port>, (Vec<EndpointAddress>, Vec<EndpointAddress>)> =
        BTreeMap::new();
    for member in members {
        if (member.is_terminating && !publishes_all) || (has_ports && member.ports.is_empty()) {
            continue;
        }
        let Some(address) = member
            .addresses
            .iter()
            .find(|address| address.is_ipv6() == is_v6)
        else {
            continue;
        };
        let address = EndpointAddress {
            ip: address.to_string(),
            hostname: member.hostname.clone(),
            node_name: member.node.clone(),
            target_ref: Some(member.target.clone()),
        };
        let (ready, unready) = groups.entry(member.ports.iter().collect()).or_default();
        if member.is_ready {
            ready.push(address)
        } else {
            unready.push(address)
        }
    }
    let some = |mut addresses: Vec<EndpointAddress>| {
        addresses.sort_by(|a, b| a.ip.cmp(&b.ip));
        (!addresses.is_empty()).then_some(addresses)
    };
    groups
        .into_iter()
        .map(|(ports, (ready, unready))| EndpointSubset {
            addresses: some(ready),
            not_ready_addresses: some(unready),
            ports: (!ports.is_empty()).then(|| ports.into_iter().map(endpoint_port).collect()),
        })
        .collect()
}

fn endpoint_port(port: &Port) -> EndpointPort {
    EndpointPort {
        name: (!port.name.is_empty()).then(|| port.name.clone()),
        port: port.number,
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::members::members;
    use super::super::members::tests::{pod, service};
    use super::*;

    #[test]
    fn ready_and_unready_addresses_of_one_port_share_a_subset() {
        let service = service(json!({}));
        let pods = [pod("a", "10.1.0.1", true), pod("b", "10.1.0.2", false)];
        let Plan::Create(body) = plan(&service, &members(&service, &pods, |_| None), None) else {
            panic!("expected a create")
        };
        let subsets = body["subsets"].as_array().unwrap();
        assert_eq!(subsets.len(), 1);
        assert_eq!(subsets[0]["addresses"][0]["ip"], "10.1.0.1");
        assert_eq!(subsets[0]["notReadyAddresses"][0]["ip"], "10.1.0.2");
        assert_eq!(
            subsets[0]["ports"],
            json!([{"name": "http", "port": 8080, "protocol": "TCP"}])
        );
        let held: Endpoints = serde_json::from_value(body).unwrap();
        assert_eq!(
            plan(&service, &members(&service, &pods, |_| None), Some(&held)),
            Plan::Keep
        );
    }

    #[test]
    fn the_last_address_to_go_clears_the_subsets() {
        let service = service(json!({}));
        let pods = [pod("a", "10.1.0.1", true)];
        let Plan::Create(body) = plan(&service, &members(&service, &pods, |_| None), None) else {
            panic!("expected a create")
        };
        let held: Endpoints = serde_json::from_value(body).unwrap();
        let Plan::Change(patch) = plan(&service, &[], Some(&held)) else {
            panic!("expected a change")
        };
        assert_eq!(patch["subsets"], Value::Null);
    }
}
