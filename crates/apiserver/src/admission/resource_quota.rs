//! ResourceQuotas: a namespace holds and asks for no more than its quotas say.
//!
//! What is used is counted from the objects that exist, not from `status.used`, which a controller
//! writes later; creations take turns there (`turns`), so each counts what the one before it stored.
//! Mirrors Kubernetes v1.33 `apiserver/pkg/admission/plugin/resourcequota` and `pkg/quota/v1/evaluator/core`.

use std::collections::BTreeMap;

use objects::quantity::Quantity;
use objects::{Status, meta};
use serde_json::Value;

use super::{Operation, Review};
use crate::kinds::fields::{is_empty, list};
use crate::kinds::pod::qos_class;
use crate::lookup::Lookup;

type Amounts = BTreeMap<String, Quantity>;

pub(super) fn validate(review: &Review<'_>, lookup: &dyn Lookup) -> Result<(), Status> {
    let is_new = review.operation == Operation::Create;
    let is_write = is_new || review.operation == Operation::Update;
    if !is_write || !review.subresource.is_empty() || review.namespace.is_empty() {
        return Ok(());
    }
    for quota in lookup.list("", "resourcequotas", review.namespace) {
        if !is_in_scope(&quota, review.group, review.resource, review.object) {
            continue;
        }
        let hard = amounts(&quota["spec"]["hard"]);
        let mut asked = usage(review.group, review.resource, review.object);
        asked.retain(|name, _| hard.contains_key(name));
        if is_new && review.is(Operation::Create, "", "pods") {
            require_stated(review, &quota, &hard)?;
        }
        if asked.is_empty() {
            continue;
        }
        let before = review
            .old
            .map(|old| usage(review.group, review.resource, old))
            .unwrap_or_default();
        let used = used(&quota, review, lookup, &asked);
        refuse_excess(review, &quota, &hard, &asked, &before, &used)?;
    }
    Ok(())
}

fn refuse_excess(
    review: &Review<'_>,
    quota: &Value,
    hard: &Amounts,
    asked: &Amounts,
    before: &Amounts,
    used: &Amounts,
) -> Result<(), Status> {
    let zero = Quantity::from_units(0);
    let mut exceeded = Amounts::new();
    for (name, quantity) in asked {
        let delta = quantity.sub(before.get(name).copied().unwrap_or(zero));
        let total = used.get(name).copied().unwrap_or(zero).add(delta);
        if delta.signum() > 0 && total > hard[name] {
            exceeded.insert(name.clone(), delta);
        }
    }
    if exceeded.is_empty() {
        return Ok(());
    }
    let of = |amounts: &Amounts| -> String {
        let parts: Vec<String> = exceeded
            .keys()
            .map(|name| {
                format!(
                    "{name}={}",
                    amounts.get(name).copied().unwrap_or(zero).canonical()
                )
            })
            .collect();
        parts.join(",")
    };
    Err(review.forbid(&format!(
        "exceeded quota: {}, requested: {}, used: {}, limited: {}",
        meta::name(quota),
        of(&exceeded),
        of(used),
        of(hard)
    )))
}

/// Where a quota counts cpu or memory, every container must say how much it wants.
fn require_stated(review: &Review<'_>, quota: &Value, hard: &Amounts) -> Result<(), Status> {
    let mut missing: Vec<String> = Vec::new();
    for name in hard.keys() {
        let Some((kind, resource)) =
            container_amount(name).filter(|(_, resource)| matches!(*resource, "cpu" | "memory"))
        else {
            continue;
        };
        let silent: Vec<&str> = ["containers", "initContainers"]
            .into_iter()
            .flat_map(|list_of| list(&review.object["spec"][list_of]))
            .filter(|container| is_empty(&container["resources"][kind][resource]))
            .map(|container| container["name"].as_str().unwrap_or_default())
            .collect();
        if !silent.is_empty() {
            missing.push(format!("{name} for: {}", silent.join(",")));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(review.forbid(&format!(
        "failed quota: {}: must specify {}",
        meta::name(quota),
        missing.join("; ")
    )))
}

/// `requests.cpu` and `cpu` are the same; `limits.cpu` is the other.
fn container_amount(name: &str) -> Option<(&'static str, &str)> {
    match name.split_once('.') {
        Some(("requests", resource)) => Some(("requests", resource)),
        Some(("limits", resource)) => Some(("limits", resource)),
        _ if matches!(name, "cpu" | "memory" | "ephemeral-storage") => Some(("requests", name)),
        _ => None,
    }
}

/// What the objects that exist use of what is asked for.
fn used(quota: &Value, review: &Review<'_>, lookup: &dyn Lookup, asked: &Amounts) -> Amounts {
    let mut used = Amounts::new();
    for object in lookup.list(review.group, review.resource, review.namespace) {
        if !is_in_scope(quota, review.group, review.resource, &object) {
            continue;
        }
        for (name, quantity) in usage(review.group, review.resource, &object) {
            if asked.contains_key(&name) {
                add(&mut used, &name, quantity);
            }
        }
    }
    used
}

/// What one object counts for, by the names quotas use.
fn usage(group: &str, resource: &str, object: &Value) -> Amounts {
    let one = Quantity::from_units(1);
    let mut usage = Amounts::new();
    let counted = if group.is_empty() {
        format!("count/{resource}")
    } else {
        format!("count/{resource}.{group}")
    };
    usage.insert(counted, one);
    match (group, resource) {
        ("", "pods") => {
            if is_over(object) {
                return BTreeMap::from([("count/pods".to_owned(), one)]);
            }
            usage.insert("pods".into(), one);
            for kind in ["requests", "limits"] {
                for (name, quantity) in pod_amounts(object, kind) {
                    if kind == "requests"
                        && matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage")
                    {
                        usage.insert(name.clone(), quantity);
                    }
                    usage.insert(format!("{kind}.{name}"), quantity);
                }
            }
        }
        ("", "services") => service_usage(object, &mut usage),
        ("", "persistentvolumeclaims") => {
            usage.insert("persistentvolumeclaims".into(), one);
            let class = object["spec"]["storageClassName"]
                .as_str()
                .unwrap_or_default();
            if let Ok(size) =
                Quantity::from_json(&object["spec"]["resources"]["requests"]["storage"])
            {
                usage.insert("requests.storage".into(), size);
                let of_class = format!("{class}.storageclass.storage.k8s.io");
                usage.insert(format!("{of_class}/requests.storage"), size);
                usage.insert(format!("{of_class}/persistentvolumeclaims"), one);
            }
        }
        ("", "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas") => {
            usage.insert(resource.to_owned(), one);
        }
        _ => {}
    }
    usage
}

fn service_usage(service: &Value, usage: &mut Amounts) {
    let ports = i64::try_from(list(&service["spec"]["ports"]).count()).unwrap_or(i64::MAX);
    usage.insert("services".into(), Quantity::from_units(1));
    match service["spec"]["type"].as_str() {
        Some("NodePort") => {
            usage.insert("services.nodeports".into(), Quantity::from_units(ports));
        }
        Some("LoadBalancer") => {
            usage.insert("services.loadbalancers".into(), Quantity::from_units(1));
            if service["spec"]["allocateLoadBalancerNodePorts"] != false {
                usage.insert("services.nodeports".into(), Quantity::from_units(ports));
            }
        }
        _ => {}
    }
}

/// What a pod asks for: its containers together, or its largest init container if that is more.
/// An init container that goes on running counts with the containers.
pub(super) fn pod_amounts(pod: &Value, kind: &str) -> Amounts {
    let mut total = Amounts::new();
    for container in list(&pod["spec"]["containers"]) {
        add_all(&mut total, &container["resources"][kind]);
    }
    let mut running = Amounts::new();
    let mut peak = Amounts::new();
    for container in list(&pod["spec"]["initContainers"]) {
        if container["restartPolicy"] == "Always" {
            add_all(&mut total, &container["resources"][kind]);
            add_all(&mut running, &container["resources"][kind]);
        } else {
            for (name, quantity) in amounts(&container["resources"][kind]) {
                let beside = running
                    .get(&name)
                    .copied()
                    .unwrap_or_else(|| Quantity::from_units(0));
                raise(&mut peak, &name, quantity.add(beside));
            }
        }
    }
    for (name, quantity) in peak {
        raise(&mut total, &name, quantity);
    }
    total
}

fn is_over(pod: &Value) -> bool {
    matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    )
}

/// Whether a quota speaks about this object. Scopes are about pods alone.
fn is_in_scope(quota: &Value, group: &str, resource: &str, object: &Value) -> bool {
    let (scopes, selector) = (
        &quota["spec"]["scopes"],
        &quota["spec"]["scopeSelector"]["matchExpressions"],
    );
    if is_empty(scopes) && is_empty(selector) {
        return true;
    }
    if (group, resource) != ("", "pods") {
        return false;
    }
    let has = |scope: &str| match scope {
        "Terminating" => object["spec"]["activeDeadlineSeconds"].is_number(),
        "NotTerminating" => !object["spec"]["activeDeadlineSeconds"].is_number(),
        "BestEffort" => qos_class(object) == "BestEffort",
        "NotBestEffort" => qos_class(object) != "BestEffort",
        _ => false,
    };
    let is_named = list(scopes).all(|scope| has(scope.as_str().unwrap_or_default()));
    let is_selected = list(selector).all(|term| {
        let scope = term["scopeName"].as_str().unwrap_or_default();
        if scope != "PriorityClass" {
            return has(scope);
        }
        let class = &object["spec"]["priorityClassName"];
        let is_listed = list(&term["values"]).any(|value| value == class);
        match term["operator"].as_str() {
            Some("In") => is_listed,
            Some("NotIn") => !is_listed,
            Some("Exists") => !is_empty(class),
            Some("DoesNotExist") => is_empty(class),
            _ => false,
        }
    });
    is_named && is_selected
}

fn amounts(list: &Value) -> Amounts {
    list.as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), Quantity::from_json(value).ok()?)))
        .collect()
}

fn add_all(total: &mut Amounts, list: &Value) {
    for (name, quantity) in amounts(list) {
        add(total, &name, quantity);
    }
}

fn add(total: &mut Amounts, name: &str, quantity: Quantity) {
    let sum = total
        .get(name)
        .map_or(quantity, |before| before.add(quantity));
    total.insert(name.to_owned(), sum);
}

fn raise(total: &mut Amounts, name: &str, quantity: Quantity) {
    if total.get(name).is_none_or(|before| *before < quantity) {
        total.insert(name.to_owned(), quantity);
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_review::Write;
    use super::*;
    use crate::lookup::Fixed;
    use serde_json::json;

    fn quota(spec: Value) -> Fixed {
        Fixed::default().with(
            "",
            "resourcequotas",
            json!({"metadata": {"name": "q", "namespace": "dev"}, "spec": spec}),
        )
    }

    fn pod(name: &str, cpu: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "dev"}, "spec": {"containers": [
            {"name": "a", "resources": {"requests": {"cpu": cpu}}},
        ]}})
    }

    fn create(resource: &'static str, object: Value, objects: &Fixed) -> Result<(), Status> {
        Write::create("", resource, object).pass(|review| validate(review, objects))
    }

    #[test]
    fn one_pod_too_many_is_refused_with_the_sums() {
        let objects = quota(json!({"hard": {"pods": "2", "requests.cpu": "1"}}))
            .with("", "pods", pod("a", "400m"))
            .with("", "pods", pod("b", "400m"));
        assert_eq!(
            create("pods", pod("c", "300m"), &objects)
                .unwrap_err()
                .message,
            "pods \"c\" is forbidden: exceeded quota: q, requested: pods=1,requests.cpu=300m, used: pods=2,requests.cpu=800m, limited: pods=2,requests.cpu=1"
        );
    }

    #[test]
    fn pods_that_are_over_no_longer_count() {
        let mut done = pod("a", "1");
        done["status"] = json!({"phase": "Succeeded"});
        let objects = quota(json!({"hard": {"pods": "1"}})).with("", "pods", done);
        assert!(create("pods", pod("b", "1"), &objects).is_ok());
    }

    #[test]
    fn where_cpu_is_counted_every_container_says_how_much() {
        let objects = quota(json!({"hard": {"requests.cpu": "1", "limits.memory": "1Gi"}}));
        let silent = json!({"metadata": {"name": "p", "namespace": "dev"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]}});
        assert_eq!(
            create("pods", silent, &objects).unwrap_err().message,
            "pods \"p\" is forbidden: failed quota: q: must specify limits.memory for: a,b; requests.cpu for: a,b"
        );
    }

    #[test]
    fn any_kind_can_be_counted() {
        let objects = quota(json!({"hard": {"count/configmaps": "0", "services.nodeports": "1"}}));
        let map = json!({"metadata": {"name": "m", "namespace": "dev"}});
        assert!(create("configmaps", map.clone(), &objects).is_err());
        assert!(create("secrets", map, &objects).is_ok());
        let service = json!({"metadata": {"name": "s", "namespace": "dev"}, "spec": {"type": "NodePort", "ports": [{}, {}]}});
        assert!(create("services", service, &objects).is_err());
    }

    #[test]
    fn a_claim_counts_by_its_class_and_only_what_it_grows_by() {
        let claim = |size: &str| {
            json!({"metadata": {"name": "c", "namespace": "dev"}, "spec": {
                "storageClassName": "fast", "resources": {"requests": {"storage": size}},
            }})
        };
        let objects =
            quota(json!({"hard": {"fast.storageclass.storage.k8s.io/requests.storage": "3Gi"}}))
                .with("", "persistentvolumeclaims", claim("2Gi"));
        let grow = |size: &str| {
            Write::update("", "persistentvolumeclaims", &claim("2Gi"), claim(size))
                .pass(|review| validate(review, &objects))
        };
        assert!(grow("3Gi").is_ok());
        assert!(grow("4Gi").is_err());
    }

    #[test]
    fn a_quota_with_a_scope_counts_only_such_pods() {
        let objects = quota(json!({"hard": {"pods": "0"}, "scopes": ["BestEffort"]}));
        assert!(create("pods", pod("a", "1"), &objects).is_ok());
        let best_effort = json!({"metadata": {"name": "b", "namespace": "dev"}, "spec": {"containers": [{"name": "a"}]}});
        assert!(create("pods", best_effort, &objects).is_err());
    }

    #[test]
    fn an_init_container_counts_as_far_as_it_is_larger_than_the_rest() {
        let resources = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let pod = json!({"spec": {
            "containers": [{"resources": resources("1")}, {"resources": resources("1")}],
            "initContainers": [
                {"resources": resources("500m"), "restartPolicy": "Always"},
                {"resources": resources("3")},
            ],
        }});
        assert_eq!(pod_amounts(&pod, "requests")["cpu"].canonical(), "3500m");
    }
}
