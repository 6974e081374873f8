//! Endpoints that somebody wrote by hand for a Service without a selector, mirrored into slices, which is where everyone
//! looks them up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use control::{Controller, Informer, Key, Queue, Writer, noted, owners, write};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointSlice};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::members;
use super::slices::{self, SERVICE_LABEL, endpoint_port, ports_of};
use crate::setup::Setup;
use crate::watches::{BY_SERVICE, Watches, index_value};

const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Addresses mirrored from one subset at most.
const MOST: usize = 1000;

struct Context {
    watches: Arc<Watches>,
    writer: Writer,
}

/// Starts the controller.
pub fn start(setup: &mut Setup) {
    let queue = Arc::new(Queue::default());
    let watches = setup.watches.clone();
    let wake = queue.clone();
    watches
        .endpoints
        .on_change(move |change| wake.add(Key::of(change.latest().as_ref())));
    let wake = queue.clone();
    watches
        .services
        .on_change(move |change| wake.add(Key::of(change.latest().as_ref())));
    let wake = queue.clone();
    watches.endpoint_slices.on_change(move |change| {
        let slice = change.latest();
        if is_mirror(slice)
            && let Some(service) = slice.labels().get(SERVICE_LABEL)
        {
            wake.add(Key::new(
                slice.namespace().unwrap_or_default(),
                service.clone(),
            ));
        }
    });
    let context = Arc::new(Context {
        writer: setup.writer("endpointslicemirroring-controller"),
        watches: watches.clone(),
    });
    let controller = Controller {
        name: "endpointslicemirroring",
        queue,
        workers: 2,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("endpointslicemirroring", async move {
        watches.services.synced().await;
        watches.endpoints.synced().await;
        watches.endpoint_slices.synced().await;
        controller
            .run(shutdown, move |key| reconcile(key, context.clone()))
            .await;
    });
}

fn is_mirror(slice: &EndpointSlice) -> bool {
    slice
        .labels()
        .get(MANAGED_BY)
        .is_some_and(|manager| manager == MANAGER)
}

/// Whether these Endpoints are to be mirrored.
fn is_mirrored(endpoints: &Endpoints, service: Option<&Service>) -> bool {
    let is_manual = service.is_some_and(|service| {
        !members::is_selected(service) && service.metadata.deletion_timestamp.is_none()
    });
    is_manual
        && endpoints.metadata.deletion_timestamp.is_none()
        && endpoints
            .labels()
            .get(SKIP)
            .is_none_or(|skip| skip != "true")
        && !endpoints.annotations().contains_key(LEADER)
}

/// Slices to create, change and delete.
#[derive(Debug, Default)]
struct Plan {
    create: Vec<Value>,
    change: Vec<(String, Value)>,
    delete: Vec<Arc<EndpointSlice>>,
}

fn plan(endpoints: Option<&Endpoints>, held: Vec<Arc<EndpointSlice>>) -> Plan {
    let mut wanted = endpoints.map(groups).unwrap_or_default();
    let mut plan = Plan::default();
    for slice in held {
        let key = (slice.address_type.clone(), ports_of(&slice));
        match wanted.remove(&key) {
            None => plan.delete.push(slice),
            Some(addresses) if slice.endpoints == addresses => {}
            Some(addresses) => {
                let metadata =
                    json!({"uid": slice.uid(), "resourceVersion": slice.resource_version()});
                plan.change.push((
                    slice.name_any(),
                    json!({"metadata": metadata, "endpoints": addresses}),
                ));
            }
        }
    }
    if let Some(endpoints) = endpoints {
        plan.create = wanted
            .into_iter()
            .map(|((family, ports), list)| body(endpoints, &family, &ports, &list))
            .collect();
    }
    plan
}

type Group = (String, BTreeSet<members::Port>);

/// Addresses by family and ports.
fn groups(endpoints: &Endpoints) -> BTreeMap<Group, Vec<Endpoint>> {
    let mut groups: BTreeMap<Group, Vec<Endpoint>> = BTreeMap::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = ports(subset);
        let ready = subset
            .addresses
            .iter()
            .flatten()
            .map(|address| (address, true));
        let unready = subset
            .not_ready_addresses
            .iter()
            .flatten()
            .map(|address| (address, false));
        for (address, is_ready) in ready.chain(unready).take(MOST) {
            let Ok(ip) = address.ip.parse::<IpAddr>() else {
                continue;
            };
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            groups
                .entry((family.to_owned(), ports.clone()))
                .or_default()
                .push(endpoint(address, is_ready));
        }
    }
    groups
}

fn ports(subset: &EndpointSubset) -> BTreeSet<members::Port> {
    let ports = subset.ports.iter().flatten();
    ports
        .map(|port| members::Port {
            name: port.name.clone().unwrap_or_default(),
            number: port.port,
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            app_protocol: port.app_protocol.clone(),
        })
        .collect()
}

fn endpoint(address: &EndpointAddress, is_ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(is_ready),
            ..EndpointConditions::default()
        }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn body(
    endpoints: &Endpoints,
    family: &str,
    ports: &BTreeSet<members::Port>,
    list: &[Endpoint],
) -> Value {
    let mut labels = endpoints.labels().clone();
    labels.insert(SERVICE_LABEL.to_owned(), endpoints.name_any());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    json!({
        "metadata": {
            "generateName": format!("{}-", endpoints.name_any()),
            "labels": labels,
            "annotations": endpoints.annotations(),
            "ownerReferences": [owners::controller_reference(endpoints, "v1", "Endpoints")],
        },
        "addressType": family,
        "endpoints": list,
        "ports": ports.iter().map(endpoint_port).collect::<Vec<_>>(),
    })
}

async fn reconcile(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let watches = &context.watches;
    let informer: &Informer<EndpointSlice> = &watches.endpoint_slices;
    let service = watches.services.cache().get(&key);
    let endpoints = watches
        .endpoints
        .cache()
        .get(&key)
        .filter(|endpoints| is_mirrored(endpoints, service.as_deref()));
    let held = informer
        .cache()
        .by_index(BY_SERVICE, &index_value(Some(&key.namespace), &key.name));
    let held: Vec<_> = held
        .into_iter()
        .filter(|slice| is_mirror(slice) && !slices::is_ours(slice))
        .collect();
    let plan = plan(endpoints.as_deref(), held);
    for body in plan.create {
        match context
            .writer
            .create::<EndpointSlice>(&key.namespace, body)
            .await
        {
            Ok(slice) => informer.note(slice),
            Err(error) if write::is_namespace_terminating(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    for (name, patch) in plan.change {
        noted::patch(
            &context.writer,
            informer,
            &Key::new(&key.namespace, name),
            patch,
        )
        .await?;
    }
    for slice in plan.delete {
        noted::delete(&context.writer, informer, &slice, None).await?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(addresses: Value) -> Endpoints {
        serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "ns", "uid": "e", "labels": {"app": "db"}},
            "subsets": [{"addresses": addresses, "ports": [{"name": "sql", "port": 5432}]}],
        }))
        .unwrap()
    }

    #[test]
    fn addresses_of_both_families_become_slices_of_their_own() {
        let plan = plan(
            Some(&endpoints(
                json!([{"ip": "192.0.2.7"}, {"ip": "2001:db8::7"}]),
            )),
            Vec::new(),
        );
        let families: Vec<&str> = plan
            .create
            .iter()
            .map(|body| body["addressType"].as_str().unwrap())
            .collect();
        assert_eq!(families, ["IPv4", "IPv6"]);
        assert_eq!(plan.create[0]["metadata"]["labels"]["app"], "db");
        assert_eq!(plan.create[0]["ports"][0]["port"], 5432);
        assert_eq!(
            plan.create[0]["endpoints"][0]["conditions"],
            json!({"ready": true})
        );
    }

    #[test]
    fn a_changed_address_changes_its_slice_and_vanished_endpoints_delete_it() {
        let first = plan(Some(&endpoints(json!([{"ip": "192.0.2.7"}]))), Vec::new());
        let mut body = first.create[0].clone();
        body["metadata"]["name"] = "db-1".into();
        let held: Arc<EndpointSlice> = Arc::new(serde_json::from_value(body).unwrap());
        let same = plan(
            Some(&endpoints(json!([{"ip": "192.0.2.7"}]))),
            vec![held.clone()],
        );
        assert!(same.create.is_empty() && same.change.is_empty() && same.delete.is_empty());
        let changed = plan(
            Some(&endpoints(json!([{"ip": "192.0.2.8"}]))),
            vec![held.clone()],
        );
        assert_eq!(
            changed.change[0].1["endpoints"][0]["addresses"],
            json!(["192.0.2.8"])
        );
        assert_eq!(plan(None, vec![held]).delete.len(), 1);
    }

    #[test]
    fn only_endpoints_of_a_service_without_selector_are_mirrored() {
        let service =
            |spec: Value| -> Service { serde_json::from_value(json!({"spec": spec})).unwrap() };
        let manual = endpoints(json!([]));
        assert!(is_mirrored(&manual, Some(&service(json!({})))));
        assert!(!is_mirrored(
            &manual,
            Some(&service(json!({"selector": {"a": "b"}})))
        ));
        assert!(!is_mirrored(&manual, None));
        let mut skipped = manual;
        skipped
            .labels_mut()
            .insert(SKIP.to_owned(), "true".to_owned());
        assert!(!is_mirrored(&skipped, Some(&service(json!({})))));
    }
}
