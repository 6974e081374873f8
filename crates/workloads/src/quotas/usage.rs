//! What the objects of a namespace use of a quota, by the names quotas use.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuotaSpec, Service};
use objects::quantity::Quantity;

use crate::pods::state;
use crate::scheduler::requests_of;

/// Amounts by name.
pub type Usage = BTreeMap<String, Quantity>;

fn add(usage: &mut Usage, name: &str, amount: Quantity) {
    let held = usage.get(name).copied().unwrap_or(Quantity::ZERO);
    usage.insert(name.to_owned(), held.add(amount));
}

/// Adds a pod.
pub fn add_pod(usage: &mut Usage, pod: &Pod) {
    let one = Quantity::from_units(1);
    add(usage, "count/pods", one);
    if state::is_terminal(pod) {
        return;
    }
    add(usage, "pods", one);
    for (kind, amounts) in [("requests", requests_of(pod)), ("limits", limits(pod))] {
        for (name, amount) in amounts {
            if kind == "requests" && matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage")
            {
                add(usage, &name, amount);
            }
            add(usage, &format!("{kind}.{name}"), amount);
        }
    }
}

/// Limits of all containers together, or of the largest init container if that is more.
fn limits(pod: &Pod) -> Usage {
    let Some(spec) = &pod.spec else {
        return Usage::new();
    };
    let mut total = Usage::new();
    let read = |container: &k8s_openapi::api::core::v1::Container| -> Usage {
        let limits = container
            .resources
            .as_ref()
            .and_then(|resources| resources.limits.clone())
            .unwrap_or_default();
        limits
            .into_iter()
            .filter_map(|(name, text)| Some((name, Quantity::parse(&text.0).ok()?)))
            .collect()
    };
    for container in &spec.containers {
        for (name, amount) in read(container) {
            add(&mut total, &name, amount);
        }
    }
    for container in spec.init_containers.iter().flatten() {
        for (name, amount) in read(container) {
            if container.restart_policy.as_deref() == Some("Always") {
                add(&mut total, &name, amount);
            } else if total.get(&name).is_none_or(|held| *held < amount) {
                total.insert(name, amount);
            }
        }
    }
    total
}

/// Adds a Service.
pub fn add_service(usage: &mut Usage, service: &Service) {
    let one = Quantity::from_units(1);
    add(usage, "count/services", one);
    add(usage, "services", one);
    let Some(spec) = &service.spec else { return };
    let ports = i64::try_from(spec.ports.as_ref().map_or(0, Vec::len)).unwrap_or(i64::MAX);
    let balances = spec.type_.as_deref() == Some("LoadBalancer");
    if balances {
        add(usage, "services.loadbalancers", one);
    }
    let takes_ports = spec.type_.as_deref() == Some("NodePort")
        || (balances && spec.allocate_load_balancer_node_ports != Some(false));
    if takes_ports {
        add(usage, "services.nodeports", Quantity::from_units(ports));
    }
}

/// Adds a claim.
pub fn add_claim(usage: &mut Usage, claim: &PersistentVolumeClaim) {
    let one = Quantity::from_units(1);
    add(usage, "count/persistentvolumeclaims", one);
    add(usage, "persistentvolumeclaims", one);
    let Some(spec) = &claim.spec else { return };
    let of_class = format!(
        "{}.storageclass.storage.k8s.io",
        spec.storage_class_name.as_deref().unwrap_or_default()
    );
    add(usage, &format!("{of_class}/persistentvolumeclaims"), one);
    let requests = spec
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref());
    let size = requests
        .and_then(|requests| requests.get("storage"))
        .and_then(|size| Quantity::parse(&size.0).ok());
    if let Some(size) = size {
        add(usage, "requests.storage", size);
        add(usage, &format!("{of_class}/requests.storage"), size);
    }
}

/// Whether the quota speaks about pods like this one.
pub fn is_in_scope(spec: &ResourceQuotaSpec, pod: &Pod) -> bool {
    let has = |scope: &str| match scope {
        "Terminating" => pod
            .spec
            .as_ref()
            .is_some_and(|spec| spec.active_deadline_seconds.is_some()),
        "NotTerminating" => pod
            .spec
            .as_ref()
            .is_none_or(|spec| spec.active_deadline_seconds.is_none()),
        "BestEffort" => is_best_effort(pod),
        "NotBestEffort" => !is_best_effort(pod),
        _ => false,
    };
    let named = spec.scopes.iter().flatten().all(|scope| has(scope));
    let terms = spec
        .scope_selector
        .as_ref()
        .and_then(|selector| selector.match_expressions.as_ref());
    named
        && terms.into_iter().flatten().all(|term| {
            if term.scope_name != "PriorityClass" {
                return has(&term.scope_name);
            }
            let class = pod
                .spec
                .as_ref()
                .and_then(|spec| spec.priority_class_name.clone())
                .unwrap_or_default();
            let is_listed = term.values.iter().flatten().any(|value| *value == class);
            match term.operator.as_str() {
                "In" => is_listed,
                "NotIn" => !is_listed,
                "Exists" => !class.is_empty(),
                "DoesNotExist" => class.is_empty(),
                _ => false,
            }
        })
}

fn is_best_effort(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| {
        spec.containers
            .iter()
            .chain(spec.init_containers.iter().flatten())
    });
    containers.into_iter().all(|container| {
        let resources = container.resources.clone().unwrap_or_default();
        let asks = |list: Option<BTreeMap<String, _>>| {
            list.is_some_and(
                |list: BTreeMap<
                    String,
                    k8s_openapi::apimachinery::pkg::api::resource::Quantity,
                >| { list.contains_key("cpu") || list.contains_key("memory") },
            )
        };
        !asks(resources.requests) && !asks(resources.limits)
    })
}

/// The resource that a name counts objects of, as `(plural, group)`; `None` for amounts that pods, Services and claims
/// add up to.
pub fn counted(name: &str) -> Option<(&str, &str)> {
    if let Some(resource) = name.strip_prefix("count/") {
        let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
        let is_added_up =
            group.is_empty() && matches!(plural, "pods" | "services" | "persistentvolumeclaims");
        return (!is_added_up).then_some((plural, group));
    }
    matches!(
        name,
        "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas"
    )
    .then_some((name, ""))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value, phase: &str) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "p"}, "spec": spec, "status": {"phase": phase}}),
        )
        .unwrap()
    }

    fn text(usage: &Usage, name: &str) -> String {
        usage.get(name).map(Quantity::canonical).unwrap_or_default()
    }

    #[test]
    fn pods_add_up_under_both_of_their_names_until_they_are_over() {
        let spec = json!({"containers": [{"name": "m", "resources": {
            "requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "1"},
        }}]});
        let mut usage = Usage::new();
        add_pod(&mut usage, &pod(spec.clone(), "Running"));
        add_pod(&mut usage, &pod(spec.clone(), "Pending"));
        add_pod(&mut usage, &pod(spec, "Succeeded"));
        assert_eq!(
            (text(&usage, "pods"), text(&usage, "count/pods")),
            ("2".into(), "3".into())
        );
        assert_eq!(
            (text(&usage, "cpu"), text(&usage, "requests.cpu")),
            ("1".into(), "1".into())
        );
        assert_eq!(
            (text(&usage, "requests.memory"), text(&usage, "limits.cpu")),
            ("2Gi".into(), "2".into())
        );
    }

    #[test]
    fn a_service_counts_its_ports_and_a_claim_its_size_and_class() {
        let mut usage = Usage::new();
        let service = json!({"spec": {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}});
        add_service(&mut usage, &serde_json::from_value(service).unwrap());
        let claim = json!({"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "5Gi"}}}});
        add_claim(&mut usage, &serde_json::from_value(claim).unwrap());
        assert_eq!(
            (text(&usage, "services"), text(&usage, "services.nodeports")),
            ("1".into(), "2".into())
        );
        assert_eq!(
            text(&usage, "fast.storageclass.storage.k8s.io/requests.storage"),
            "5Gi"
        );
    }

    #[test]
    fn scopes_leave_other_pods_out() {
        let spec = |scope: &str| -> ResourceQuotaSpec {
            serde_json::from_value(json!({"scopes": [scope]})).unwrap()
        };
        let bounded = pod(
            json!({"containers": [], "activeDeadlineSeconds": 5}),
            "Running",
        );
        assert!(
            is_in_scope(&spec("Terminating"), &bounded)
                && !is_in_scope(&spec("NotTerminating"), &bounded)
        );
        assert!(is_in_scope(&spec("BestEffort"), &bounded));
    }

    #[test]
    fn names_that_count_objects_are_told_from_those_that_add_up() {
        assert_eq!(
            counted("count/deployments.apps"),
            Some(("deployments", "apps"))
        );
        assert_eq!(counted("secrets"), Some(("secrets", "")));
        assert_eq!(counted("count/pods"), None);
        assert_eq!(counted("requests.cpu"), None);
    }
}
