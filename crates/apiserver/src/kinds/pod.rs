//! Pods.

use objects::quantity::Quantity;
use objects::{FieldError, meta};
use serde_json::{Value, json};

use super::fields::{Fields, at, at_or_new, each, fill, is_absent, list, spec};
use super::pod_spec::{CONTAINER_LISTS, default_pod_spec};
use super::{Strategy, pod_update, pod_validation};

pub(super) struct Pod;

impl Strategy for Pod {
    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = spec(object) else { return };
        for kind in CONTAINER_LISTS {
            each(spec, kind).for_each(request_what_is_limited);
        }
        fill(spec, "enableServiceLinks", true);
        if spec.get("hostNetwork") == Some(&json!(true)) {
            for kind in ["containers", "initContainers"] {
                each(spec, kind).for_each(open_ports_on_host);
            }
        }
        default_pod_spec(spec);
    }

    fn prepare_create(&self, object: &mut Value) {
        let qos = qos_class(object);
        super::start_status(object, json!({"phase": "Pending", "qosClass": qos}));
        let has_gates = !super::fields::is_empty(&object["spec"]["schedulingGates"]);
        if has_gates {
            object["status"]["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }]);
        }
    }

    fn prepare_status_update(&self, object: &mut Value, old: &Value) {
        super::keep_all_but_status(object, old);
        // Who deletes a pod, and how long it may take, is never said through its status.
        if let Some(metadata) = object.get_mut("metadata") {
            for key in ["deletionTimestamp", "ownerReferences"] {
                super::keep(metadata, &old["metadata"], key);
            }
        }
        let qos = old["status"]["qosClass"].clone();
        if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut)
            && is_absent(status, "qosClass")
            && !qos.is_null()
        {
            status.insert("qosClass".into(), qos);
        }
        if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
            list_the_address(status);
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = pod_validation::validate_pod_spec(&object["spec"], "spec");
        errors.extend(pod_validation::validate_pod_metadata(object));
        if !super::fields::is_empty(&object["spec"]["ephemeralContainers"]) {
            errors.push(FieldError::forbidden(
                "spec.ephemeralContainers",
                "cannot be set on create",
            ));
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = pod_validation::validate_pod_spec(&object["spec"], "spec");
        errors.extend(pod_validation::validate_pod_metadata(object));
        errors.extend(pod_update::validate(object, old));
        errors
    }

    fn validate_status_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let (new_node, old_node) = (
            &object["status"]["nominatedNodeName"],
            &old["status"]["nominatedNodeName"],
        );
        let mut errors = Vec::new();
        if new_node != old_node
            && let Some(node) = new_node.as_str().filter(|node| !node.is_empty())
        {
            for detail in objects::names::dns_subdomain(node) {
                errors.push(FieldError::invalid(
                    "status.nominatedNodeName",
                    node,
                    detail,
                ));
            }
        }
        errors.extend(pod_update::validate_restarts(object, old));
        errors
    }

    fn validate_view_update(&self, view: &str, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = match view {
            "resize" => pod_update::validate_resize(object, old),
            "ephemeralcontainers" => pod_update::validate_ephemeral_containers(object, old),
            _ => return Vec::new(),
        };
        errors.extend(pod_validation::validate_pod_spec(&object["spec"], "spec"));
        errors
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ]
    }

    fn selectable_field(&self, object: &Value, field: &str) -> String {
        match field {
            "status.podIPs" => {
                let ips: Vec<&str> = list(&object["status"]["podIPs"])
                    .filter_map(|entry| entry["ip"].as_str())
                    .collect();
                ips.join(",")
            }
            "spec.hostNetwork" => (object["spec"]["hostNetwork"] == true).to_string(),
            _ => super::read_path(object, field),
        }
    }
}

/// A pod's address is the first of its addresses, whichever of the two fields a node sends.
fn list_the_address(status: &mut Fields) {
    let single = status.get("podIP").cloned().filter(|ip| *ip != "");
    let first = status.get("podIPs").map(|ips| ips[0]["ip"].clone());
    match (single, first.filter(|ip| !ip.is_null())) {
        (Some(ip), first) if first.as_ref() != Some(&ip) => {
            status.insert("podIPs".into(), json!([{"ip": ip}]));
        }
        (None, Some(first)) => {
            status.insert("podIP".into(), first);
        }
        _ => {}
    }
}

/// Gives a pod its node: what the `binding` subresource does. The mark of built-in pods and every
/// other annotation of ours stay as they are, whatever the binding carries.
pub fn bind(pod: &mut Value, binding: &Value, now: &str) -> Result<(), String> {
    let node = binding["target"]["name"].as_str().unwrap_or_default();
    if node.is_empty() {
        return Err("target.name: Required value".into());
    }
    if meta::is_being_deleted(pod) {
        return Err(format!(
            "pod {} is being deleted, cannot be assigned to a host",
            meta::name(pod)
        ));
    }
    let assigned = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if !assigned.is_empty() {
        return Err(format!(
            "pod {} is already assigned to node {assigned:?}",
            meta::name(pod)
        ));
    }
    if !super::fields::is_empty(&pod["spec"]["schedulingGates"]) {
        return Err(format!(
            "pod {} has non-empty .spec.schedulingGates, cannot be assigned to a host",
            meta::name(pod)
        ));
    }
    if let Some(spec) = spec(pod) {
        spec.insert("nodeName".into(), node.into());
    }
    let annotations = meta::annotations(binding).cloned().unwrap_or_default();
    for (key, value) in annotations {
        if key != crate::admission::BUILT_IN {
            meta::annotations_mut(pod).insert(key, value);
        }
    }
    let fields = pod.as_object_mut().expect("a stored pod is an object");
    let Some(status) = at_or_new(fields, "status") else {
        return Ok(());
    };
    fill(status, "conditions", json!([]));
    if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        conditions.retain(|condition| condition["type"] != "PodScheduled");
        conditions.push(json!({
            "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
        }));
    }
    Ok(())
}

/// Limits without a request are the request.
fn request_what_is_limited(container: &mut Fields) {
    let Some(resources) = at(container, "resources") else {
        return;
    };
    let Some(limits) = at(resources, "limits").cloned() else {
        return;
    };
    if let Some(requests) = at_or_new(resources, "requests") {
        for (name, quantity) in limits {
            fill(requests, &name, quantity);
        }
    }
}

fn open_ports_on_host(container: &mut Fields) {
    for port in each(container, "ports") {
        let number = port.get("containerPort").cloned().unwrap_or_default();
        if (is_absent(port, "hostPort") || port["hostPort"] == 0) && !number.is_null() {
            port.insert("hostPort".into(), number);
        }
    }
}

/// `Guaranteed` when every container limits cpu and memory to exactly its requests, `BestEffort` when
/// none asks for anything, else `Burstable`.
pub fn qos_class(pod: &Value) -> &'static str {
    let containers: Vec<&Value> = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|kind| list(&pod["spec"][kind]))
        .collect();
    let amount = |container: &Value, kind: &str, resource: &str| {
        container["resources"][kind][resource]
            .as_str()
            .map(ToOwned::to_owned)
            .or_else(|| {
                container["resources"][kind][resource]
                    .as_number()
                    .map(ToString::to_string)
            })
            .and_then(|text| Quantity::parse(&text).ok())
            .filter(|quantity| !quantity.is_zero())
    };
    let mut asks = false;
    let mut is_guaranteed = !containers.is_empty();
    for container in &containers {
        for resource in ["cpu", "memory"] {
            let (request, limit) = (
                amount(container, "requests", resource),
                amount(container, "limits", resource),
            );
            asks |= request.is_some() || limit.is_some();
            is_guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (asks, is_guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: Value) -> Value {
        let mut pod = json!({"metadata": {"name": "p", "namespace": "default"}, "spec": spec});
        Pod.default(&mut pod);
        pod
    }

    #[test]
    fn a_limit_without_a_request_becomes_the_request() {
        let pod = pod(
            json!({"containers": [{"name": "a", "image": "a:1", "resources": {
                "limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"},
            }}]}),
        );
        assert_eq!(
            pod["spec"]["containers"][0]["resources"]["requests"],
            json!({"cpu": "500m", "memory": "1Gi"})
        );
    }

    #[test]
    fn a_pod_on_the_host_network_opens_its_ports_on_the_host() {
        let pod = pod(
            json!({"hostNetwork": true, "containers": [{"name": "a", "image": "a:1", "ports": [{"containerPort": 80}]}]}),
        );
        assert_eq!(pod["spec"]["containers"][0]["ports"][0]["hostPort"], 80);
    }

    #[test]
    fn a_new_pod_is_pending_and_shows_its_quality_of_service() {
        let classes = [
            (json!({}), "BestEffort"),
            (json!({"requests": {"cpu": "1"}}), "Burstable"),
            (
                json!({"limits": {"cpu": "1", "memory": "1Gi"}}),
                "Guaranteed",
            ),
            (
                json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "0.5"}}),
                "Burstable",
            ),
            (
                json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1000m"}}),
                "Burstable",
            ),
        ];
        for (resources, class) in classes {
            let mut pod =
                pod(json!({"containers": [{"name": "a", "image": "a:1", "resources": resources}]}));
            pod["status"] = json!({"phase": "Running"});
            Pod.prepare_create(&mut pod);
            assert_eq!(
                pod["status"],
                json!({"phase": "Pending", "qosClass": class})
            );
        }
    }

    #[test]
    fn a_status_write_changes_neither_spec_nor_labels() {
        let old = pod(json!({"containers": [{"name": "a", "image": "a:1"}]}));
        let mut new = old.clone();
        new["spec"]["nodeName"] = json!("other");
        new["metadata"]["labels"] = json!({"a": "b"});
        new["status"] = json!({"phase": "Running"});
        Pod.prepare_status_update(&mut new, &old);
        assert_eq!(new["spec"], old["spec"]);
        assert!(new["metadata"].get("labels").is_none());
        assert_eq!(new["status"]["phase"], "Running");
    }

    #[test]
    fn a_bound_pod_has_its_node_and_is_scheduled() {
        let mut pod = pod(json!({"containers": []}));
        let binding = json!({
            "metadata": {"annotations": {"ferroflow.io/built-in": "true", "note": "x"}},
            "target": {"kind": "Node", "name": "n1"},
        });
        bind(&mut pod, &binding, "2026-01-01T00:00:00Z").unwrap();
        assert_eq!(pod["spec"]["nodeName"], "n1");
        assert_eq!(pod["status"]["conditions"][0]["type"], "PodScheduled");
        assert_eq!(pod["metadata"]["annotations"], json!({"note": "x"}));
        let again = bind(&mut pod, &binding, "2026-01-01T00:00:00Z").unwrap_err();
        assert_eq!(again, r#"pod p is already assigned to node "n1""#);
    }

    #[test]
    fn a_field_selector_sees_what_kubernetes_lets_it_see() {
        let mut pod = pod(json!({"containers": [], "nodeName": "n1"}));
        pod["status"] = json!({"phase": "Running", "podIP": "10.0.0.1"});
        let fields = super::super::selectable_fields(&Pod, &pod);
        let value = |name| {
            fields
                .iter()
                .find(|(field, _)| *field == name)
                .unwrap()
                .1
                .as_str()
        };
        assert_eq!(value("metadata.name"), "p");
        assert_eq!(value("spec.nodeName"), "n1");
        assert_eq!(value("spec.hostNetwork"), "false");
        assert_eq!(value("status.nominatedNodeName"), "");
        assert_eq!(value("status.podIP"), "10.0.0.1");
    }
}
