//! LimitRanges of the namespace: what containers get that ask for nothing, and how much or little anybody may ask for.
//! Mirrors Kubernetes v1.33 `plugin/pkg/admission/limitranger`.

use std::sync::Arc;

use objects::quantity::Quantity;
use objects::{Status, meta};
use serde_json::{Value, json};

use super::{Operation, Review};
use crate::kinds::fields::{at, at_or_new, each, list, spec};
use crate::lookup::Lookup;

const NOTE: &str = "kubernetes.io/limit-ranger";
const REQUESTS: &str = "requests";
const LIMITS: &str = "limits";

/// Gives containers the default requests and limits; says so in an annotation.
pub(super) fn fill(review: &mut Review<'_>, lookup: &dyn Lookup) {
    if !review.is(Operation::Create, "", "pods") {
        return;
    }
    let mut notes: Vec<String> = Vec::new();
    for range in ranges(review.namespace, lookup) {
        for limit in list(&range["spec"]["limits"]).filter(|limit| limit["type"] == "Container") {
            let Some(spec) = spec(review.object) else {
                return;
            };
            for (kind, what) in [
                ("containers", "container"),
                ("initContainers", "init container"),
            ] {
                for container in each(spec, kind) {
                    let name = container
                        .get("name")
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned();
                    for (from, to) in [("defaultRequest", REQUESTS), ("default", LIMITS)] {
                        let added = fill_amounts(container, to, &limit[from]);
                        if !added.is_empty() {
                            let kind = to.trim_end_matches('s');
                            notes.push(format!("{} {kind} for {what} {name}", added.join(", ")));
                        }
                    }
                }
            }
        }
    }
    if !notes.is_empty() {
        let text = format!("LimitRanger plugin set: {}", notes.join("; "));
        meta::annotations_mut(review.object).insert(NOTE.into(), text.into());
    }
}

fn fill_amounts(
    container: &mut crate::kinds::fields::Fields,
    to: &str,
    from: &Value,
) -> Vec<String> {
    let mut added = Vec::new();
    let Some(defaults) = from.as_object().filter(|map| !map.is_empty()) else {
        return added;
    };
    let Some(amounts) =
        at_or_new(container, "resources").and_then(|resources| at_or_new(resources, to))
    else {
        return added;
    };
    for (name, quantity) in defaults {
        if !amounts.contains_key(name) {
            amounts.insert(name.clone(), quantity.clone());
            added.push(name.clone());
        }
    }
    if amounts.is_empty()
        && let Some(resources) = at(container, "resources")
    {
        resources.remove(to);
    }
    added
}

/// Refuses pods and claims that ask for more or less than the namespace allows.
pub(super) fn validate(review: &Review<'_>, lookup: &dyn Lookup) -> Result<(), Status> {
    let is_pod = review.is(Operation::Create, "", "pods");
    let is_claim = review.is(Operation::Create, "", "persistentvolumeclaims")
        || review.is(Operation::Update, "", "persistentvolumeclaims");
    if !is_pod && !is_claim {
        return Ok(());
    }
    let mut errors = Vec::new();
    for range in ranges(review.namespace, lookup) {
        for limit in list(&range["spec"]["limits"]) {
            let kind = limit["type"].as_str().unwrap_or_default();
            match kind {
                "Container" if is_pod => {
                    for container in ["containers", "initContainers"]
                        .into_iter()
                        .flat_map(|kind| list(&review.object["spec"][kind]))
                    {
                        check(limit, kind, &container["resources"], &mut errors);
                    }
                }
                "Pod" if is_pod => check(limit, kind, &pod_total(review.object), &mut errors),
                "PersistentVolumeClaim" if is_claim => {
                    let storage = &review.object["spec"]["resources"]["requests"]["storage"];
                    let resources =
                        json!({"requests": {"storage": storage}, "limits": {"storage": storage}});
                    check(limit, kind, &resources, &mut errors);
                }
                _ => {}
            }
        }
    }
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(review.forbid(one)),
        many => Err(review.forbid(&format!("[{}]", many.join(", ")))),
    }
}

fn check(limit: &Value, kind: &str, resources: &Value, errors: &mut Vec<String>) {
    let amount = |list: &str, name: &str| Quantity::from_json(&resources[list][name]).ok();
    for (name, min) in amounts(&limit["min"]) {
        match (amount(REQUESTS, &name), amount(LIMITS, &name)) {
            (None, _) => errors.push(format!(
                "minimum {name} usage per {kind} is {}.  No request is specified",
                min.canonical()
            )),
            (Some(request), _) if request < min => errors.push(format!(
                "minimum {name} usage per {kind} is {}, but request is {}",
                min.canonical(),
                request.canonical()
            )),
            (_, Some(most)) if most < min => errors.push(format!(
                "minimum {name} usage per {kind} is {}, but limit is {}",
                min.canonical(),
                most.canonical()
            )),
            _ => {}
        }
    }
    for (name, max) in amounts(&limit["max"]) {
        match (amount(REQUESTS, &name), amount(LIMITS, &name)) {
            (_, None) => errors.push(format!(
                "maximum {name} usage per {kind} is {}.  No limit is specified",
                max.canonical()
            )),
            (_, Some(most)) if most > max => errors.push(format!(
                "maximum {name} usage per {kind} is {}, but limit is {}",
                max.canonical(),
                most.canonical()
            )),
            (Some(request), _) if request > max => errors.push(format!(
                "maximum {name} usage per {kind} is {}, but request is {}",
                max.canonical(),
                request.canonical()
            )),
            _ => {}
        }
    }
    for (name, ratio) in amounts(&limit["maxLimitRequestRatio"]) {
        let (request, most) = (amount(REQUESTS, &name), amount(LIMITS, &name));
        let observed = match (request, most) {
            (Some(request), Some(most)) if !request.is_zero() => most.to_f64() / request.to_f64(),
            _ => {
                errors.push(format!(
                    "{name} max limit to request ratio per {kind} is {}, but no request is specified or request is 0",
                    ratio.canonical()
                ));
                continue;
            }
        };
        if observed > ratio.to_f64() {
            errors.push(format!(
                "{name} max limit to request ratio per {kind} is {}, but provided ratio is {observed:.6}",
                ratio.canonical()
            ));
        }
    }
}

/// What all containers of a pod ask for together; init containers run before, so the largest of them counts.
fn pod_total(pod: &Value) -> Value {
    let mut total = json!({REQUESTS: {}, LIMITS: {}});
    for kind in [REQUESTS, LIMITS] {
        for (name, quantity) in super::resource_quota::pod_amounts(pod, kind) {
            total[kind][name] = json!(quantity.canonical());
        }
    }
    total
}

fn amounts(list: &Value) -> Vec<(String, Quantity)> {
    list.as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), Quantity::from_json(value).ok()?)))
        .collect()
}

fn ranges(namespace: &str, lookup: &dyn Lookup) -> Vec<Arc<Value>> {
    lookup.list("", "limitranges", namespace)
}

#[cfg(test)]
mod tests {
    use super::super::test_review::Write;
    use super::*;
    use crate::lookup::Fixed;

    fn range(limits: Value) -> Fixed {
        Fixed::default().with(
            "",
            "limitranges",
            json!({"metadata": {"name": "l", "namespace": "dev"}, "spec": {"limits": limits}}),
        )
    }

    fn pod(resources: Value) -> Write {
        Write::create(
            "",
            "pods",
            json!({"metadata": {"name": "p", "namespace": "dev"}, "spec": {"containers": [{"name": "a", "resources": resources}]}}),
        )
    }

    #[test]
    fn a_container_that_asks_for_nothing_gets_the_defaults_and_the_pod_says_so() {
        let range = range(
            json!([{"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "100m", "memory": "1Gi"}}]),
        );
        let mut write = pod(json!({"requests": {"cpu": "50m"}}));
        write.pass(|review| fill(review, &range));
        assert_eq!(
            write.object["spec"]["containers"][0]["resources"],
            json!({"requests": {"cpu": "50m", "memory": "1Gi"}, "limits": {"cpu": "1"}})
        );
        assert_eq!(
            meta::annotation(&write.object, NOTE),
            Some(
                "LimitRanger plugin set: memory request for container a; cpu limit for container a"
            )
        );
    }

    #[test]
    fn too_much_too_little_and_too_far_apart_are_refused() {
        let refusal = |limits: Value, resources: Value| {
            pod(resources)
                .pass(|review| validate(review, &range(limits)))
                .unwrap_err()
                .message
        };
        assert_eq!(
            refusal(
                json!([{"type": "Container", "max": {"cpu": "1"}}]),
                json!({"limits": {"cpu": "2"}})
            ),
            "pods \"p\" is forbidden: maximum cpu usage per Container is 1, but limit is 2"
        );
        assert_eq!(
            refusal(
                json!([{"type": "Pod", "min": {"memory": "1Gi"}}]),
                json!({"requests": {"memory": "1Mi"}})
            ),
            "pods \"p\" is forbidden: minimum memory usage per Pod is 1Gi, but request is 1Mi"
        );
        assert_eq!(
            refusal(
                json!([{"type": "Container", "max": {"cpu": "1", "memory": "1Gi"}}]),
                json!({"limits": {"cpu": "2"}})
            ),
            "pods \"p\" is forbidden: [maximum cpu usage per Container is 1, but limit is 2, maximum memory usage per Container is 1Gi.  No limit is specified]"
        );
        assert!(
            refusal(
                json!([{"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}]),
                json!({"limits": {"cpu": "4"}, "requests": {"cpu": "1"}})
            )
            .contains("max limit to request ratio per Container is 2")
        );
    }

    #[test]
    fn a_claim_has_its_own_limits() {
        let range = range(json!([{"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}]));
        let claim = json!({"metadata": {"name": "c", "namespace": "dev"}, "spec": {"resources": {"requests": {"storage": "2Gi"}}}});
        let mut write = Write::create("", "persistentvolumeclaims", claim);
        assert!(write.pass(|review| validate(review, &range)).is_err());
    }
}
