//! What a node writes is about itself: its own Node and Lease, pods bound to it.
//! Mirrors the meaning of Kubernetes v1.33 `plugin/pkg/admission/noderestriction`.

use objects::{Status, meta};
use serde_json::Value;

use super::{Operation, Review};
use crate::kinds::fields::is_same;
use crate::lookup::Lookup;

const MIRROR: &str = "kubernetes.io/config.mirror";

pub(super) fn validate(review: &Review<'_>, lookup: &dyn Lookup) -> Result<(), Status> {
    let Some(node) = review.user.as_node() else {
        return Ok(());
    };
    match (review.group, review.resource) {
        ("", "pods") => pods(review, lookup, node),
        ("", "nodes") => nodes(review, node),
        ("", "serviceaccounts") if review.subresource == "token" => token(review, lookup, node),
        ("coordination.k8s.io", "leases") => lease(review, node),
        _ => Ok(()),
    }
}

fn pods(review: &Review<'_>, lookup: &dyn Lookup, node: &str) -> Result<(), Status> {
    let is_on_node = |pod: &Value| pod["spec"]["nodeName"] == node;
    match (review.operation, review.subresource) {
        (Operation::Create, "") => {
            let object = &*review.object;
            if meta::annotation(object, MIRROR).is_none() {
                return Err(review.forbid(&format!(
                    "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
                )));
            }
            if !is_on_node(object) {
                return Err(review.forbid(&format!(
                    "node {node:?} can only create pods with spec.nodeName set to itself"
                )));
            }
            // A mirror pod shows what runs; it must not reach for anything through the API.
            if object["spec"]["serviceAccountName"]
                .as_str()
                .is_some_and(|name| !name.is_empty())
            {
                return Err(review.forbid(&format!(
                    "node {node:?} can not create pods that reference a service account"
                )));
            }
            Ok(())
        }
        (Operation::Delete, "") | (Operation::Update, "status") => {
            let is_own = review.old.is_some_and(is_on_node);
            is_own.then_some(()).ok_or_else(|| {
                review.forbid(&format!(
                    "node {node:?} can only {} pods with spec.nodeName set to itself",
                    if review.operation == Operation::Delete {
                        "delete"
                    } else {
                        "update pod status for"
                    }
                ))
            })
        }
        (Operation::Create, "eviction") => {
            let pod = lookup.get("", "pods", review.namespace, review.name);
            pod.is_some_and(|pod| is_on_node(&pod))
                .then_some(())
                .ok_or_else(|| {
                    review.forbid(&format!(
                        "node {node:?} can only evict pods with spec.nodeName set to itself"
                    ))
                })
        }
        (operation, _) => Err(review.forbid(&format!(
            "unexpected operation {operation:?}, node {node:?} cannot do that to pods"
        ))),
    }
}

fn nodes(review: &Review<'_>, node: &str) -> Result<(), Status> {
    let name = if review.name.is_empty() {
        meta::name(review.object)
    } else {
        review.name
    };
    if name != node {
        return Err(review.forbid(&format!(
            "node {node:?} is not allowed to modify node {name:?}"
        )));
    }
    let Some(old) = review.old.filter(|_| review.operation == Operation::Update) else {
        return Ok(());
    };
    // Otherwise a node could draw pods to itself that were meant to stay away.
    if !is_same(&review.object["spec"]["taints"], &old["spec"]["taints"]) {
        return Err(review.forbid(&format!("node {node:?} is not allowed to modify taints")));
    }
    let restricted = |labels: Option<&serde_json::Map<String, Value>>| -> Vec<(String, Value)> {
        labels
            .into_iter()
            .flatten()
            .filter(|(key, _)| key.contains("node-restriction.kubernetes.io/"))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    if restricted(meta::labels(review.object)) != restricted(meta::labels(old)) {
        return Err(review.forbid(&format!(
            "is not allowed to modify labels: node {node:?} may not touch node-restriction.kubernetes.io/"
        )));
    }
    if !meta::owner_references(review.object).eq(meta::owner_references(old)) {
        return Err(review.forbid(&format!(
            "node {node:?} is not allowed to modify ownerReferences"
        )));
    }
    Ok(())
}

fn token(review: &Review<'_>, lookup: &dyn Lookup, node: &str) -> Result<(), Status> {
    let bound = &review.object["spec"]["boundObjectRef"];
    let text = |key: &str| bound[key].as_str().unwrap_or_default();
    if text("kind") != "Pod" || text("apiVersion") != "v1" || text("name").is_empty() {
        return Err(review.forbid("node requested token not bound to a pod"));
    }
    if text("uid").is_empty() {
        return Err(review.forbid("node requested token with a pod binding without a uid"));
    }
    let pod = lookup.get("", "pods", review.namespace, text("name"));
    let is_right = pod.is_some_and(|pod| {
        pod["spec"]["nodeName"] == node
            && meta::uid(&pod) == text("uid")
            && pod["spec"]["serviceAccountName"] == review.name
    });
    if is_right {
        return Ok(());
    }
    Err(review.forbid(
        "node requested token bound to a pod scheduled on a different node, or to another pod",
    ))
}

fn lease(review: &Review<'_>, node: &str) -> Result<(), Status> {
    let name = if review.name.is_empty() {
        meta::name(review.object)
    } else {
        review.name
    };
    if review.namespace == "kube-node-lease" && name == node {
        return Ok(());
    }
    Err(review.forbid("can only access node lease with the same name as the requesting node"))
}

#[cfg(test)]
mod tests {
    use super::super::test_review::Write;
    use super::*;
    use crate::authn::User;
    use crate::lookup::Fixed;
    use serde_json::json;

    fn pod(node: &str) -> Value {
        json!({
            "metadata": {"name": "p", "namespace": "dev", "uid": "u"},
            "spec": {"nodeName": node, "serviceAccountName": "builder"},
        })
    }

    fn passes(write: Write) -> bool {
        let objects = Fixed::default().with("", "pods", pod("n1"));
        write
            .by(User::node("n1"))
            .pass(|review| validate(review, &objects))
            .is_ok()
    }

    #[test]
    fn a_node_reports_on_its_own_pods_and_makes_none() {
        let status = |node: &str| Write::update("", "pods", &pod(node), pod(node)).of("status");
        assert!(passes(status("n1")));
        assert!(!passes(status("n2")));
        assert!(!passes(Write::update("", "pods", &pod("n1"), pod("n1"))));
        assert!(!passes(Write::create("", "pods", pod("n1"))));
        let mut mirror = json!({"metadata": {"name": "m", "namespace": "dev", "annotations": {MIRROR: "x"}}, "spec": {"nodeName": "n1"}});
        assert!(passes(Write::create("", "pods", mirror.clone())));
        mirror["spec"]["serviceAccountName"] = json!("admin");
        assert!(!passes(Write::create("", "pods", mirror)));
    }

    #[test]
    fn a_node_changes_itself_but_not_its_taints_nor_another() {
        let node = |name: &str, extra: Value| json!({"metadata": {"name": name, "labels": extra}, "spec": {}});
        let plain = node("n1", json!({}));
        assert!(passes(Write::update(
            "",
            "nodes",
            &plain,
            node("n1", json!({"a": "b"}))
        )));
        assert!(passes(Write::create("", "nodes", plain.clone())));
        assert!(!passes(Write::create("", "nodes", node("n2", json!({})))));
        assert!(!passes(Write::update(
            "",
            "nodes",
            &plain,
            node("n1", json!({"node-restriction.kubernetes.io/x": "y"}))
        )));
        let mut tainted = plain.clone();
        tainted["spec"]["taints"] = json!([{"key": "a", "effect": "NoSchedule"}]);
        assert!(!passes(Write::update("", "nodes", &tainted, plain)));
    }

    #[test]
    fn a_node_gets_tokens_only_bound_to_a_pod_it_runs() {
        let ask = |bound: Value| {
            let mut write = Write::create(
                "",
                "serviceaccounts",
                json!({
                    "metadata": {"name": "builder", "namespace": "dev"}, "spec": {"boundObjectRef": bound},
                }),
            );
            write.subresource = "token";
            passes(write)
        };
        let reference = json!({"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "u"});
        assert!(ask(reference.clone()));
        for (field, value) in [("name", "q"), ("uid", "v"), ("uid", ""), ("kind", "Secret")] {
            let mut other = reference.clone();
            other[field] = json!(value);
            assert!(!ask(other), "{field}={value}");
        }
        assert!(!ask(Value::Null));
    }

    #[test]
    fn other_users_are_not_restricted_here() {
        let objects = Fixed::default();
        assert!(
            Write::create("", "pods", pod("n2"))
                .pass(|review| validate(review, &objects))
                .is_ok()
        );
    }
}
