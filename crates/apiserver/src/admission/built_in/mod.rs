//! The mark of built-in pods: which pods run as tasks inside our own process.
//!
//! The node runs a pod in process, with the rights of the owner of this program, exactly when the
//! pod carries the annotation [`BUILT_IN`]. So the annotation is never believed; it is always
//! computed here, along a chain that starts at the one identity nobody can assume:
//!
//! 1. **Deployment**: only [`INSTALLER`] puts the mark on, only in the installer's namespaces. Whoever
//!    else changes the pod template (its annotations apart: `kubectl rollout restart`) takes the mark off.
//! 2. **ReplicaSet**: gets the mark when the deployment controller writes it, its controller is a
//!    marked Deployment (same uid, same namespace) and its template is that Deployment's. Whoever
//!    changes the template or the owner takes it off.
//! 3. **Pod**: gets the mark when the replicaset controller creates it, its controller is a marked
//!    ReplicaSet whose controller is a marked Deployment, and its spec, labels and annotations are
//!    exactly the template's. Nothing later adds or removes it, whatever subresource is written.
//!
//! Every link compares *content*, so to act as one of the controllers (impersonation, a stolen
//! token) wins nothing: one can only make the very pod the controller would have made. A pod
//! without the mark that uses our image runs the same binary in the ordinary sandbox.

use objects::Status;
use objects::meta::{self, OwnerReference};
use serde_json::{Map, Value, json};

use super::{Operation, Review};
use crate::authn::INSTALLER;
use crate::kinds;
use crate::kinds::fields::{is_same, list};
use crate::lookup::Lookup;

/// The annotation by which the node knows a built-in pod; its value is `true`.
pub const BUILT_IN: &str = "ferroflow.io/built-in";

const DEPLOYMENT_CONTROLLERS: [&str; 2] = [
    "system:serviceaccount:kube-system:deployment-controller",
    "system:kube-controller-manager",
];
const REPLICA_SET_CONTROLLERS: [&str; 2] = [
    "system:serviceaccount:kube-system:replicaset-controller",
    "system:kube-controller-manager",
];
/// The label that tells the ReplicaSets of one Deployment apart; the Deployment's template lacks it.
const TEMPLATE_HASH: &str = "pod-template-hash";

pub(super) fn admit(
    review: &mut Review<'_>,
    lookup: &dyn Lookup,
    installer_namespaces: &[String],
) -> Result<(), Status> {
    if !matches!(review.operation, Operation::Create | Operation::Update) {
        return Ok(());
    }
    let is_installers = installer_namespaces
        .iter()
        .any(|own| own == review.namespace);
    let deserves = match (review.group, review.resource) {
        ("apps", "deployments") if is_object_itself(review) => {
            is_installers && deployment_deserves(review)
        }
        ("apps", "replicasets") if is_object_itself(review) => {
            is_installers && replica_set_deserves(review, lookup)
        }
        ("", "pods") if is_object_itself(review) => match review.old {
            Some(old) => is_marked(old),
            None => is_installers && pod_deserves(review, lookup),
        },
        _ => return Ok(()),
    };
    let asked = is_marked(review.object);
    set_mark(review.object, deserves);
    let had = review.old.is_some_and(is_marked);
    if (asked || had) && !deserves && is_told(review) {
        review.warnings.push(format!(
            "annotation {BUILT_IN} was taken off: only the installer's own Deployments, unchanged, run inside the platform's process; these pods run in the ordinary sandbox"
        ));
    }
    Ok(())
}

/// What the mark forbids to those who may otherwise write the pod.
pub(super) fn validate(review: &Review<'_>) -> Result<(), Status> {
    let Some(old) = review.old.filter(|old| is_marked(old)) else {
        return Ok(());
    };
    if !review.group.is_empty()
        || review.resource != "pods"
        || review.operation != Operation::Update
    {
        return Ok(());
    }
    let images = |pod: &Value| -> Vec<Value> {
        ["containers", "initContainers"]
            .into_iter()
            .flat_map(|kind| list(&pod["spec"][kind]))
            .map(|container| container["image"].clone())
            .collect()
    };
    let is_object = review.object.is_object() && review.object["spec"].is_object();
    if is_object && images(review.object) != images(old) {
        return Err(
            review.forbid("the image of a built-in component changes only through its Deployment")
        );
    }
    if review.subresource == "ephemeralcontainers" {
        return Err(review.forbid("a built-in component runs inside the platform's process and takes no ephemeral containers"));
    }
    Ok(())
}

/// Subresources that carry an object of another kind, from which the server itself changes the object
/// in one named place. On every other path the object under review is the whole object, and is judged.
const OTHER_KINDS: [&str; 3] = ["binding", "eviction", "scale"];

fn is_object_itself(review: &Review<'_>) -> bool {
    !OTHER_KINDS.contains(&review.subresource)
}

/// The controllers write marks as a matter of course; people want to know.
fn is_told(review: &Review<'_>) -> bool {
    let name = review.user.name.as_str();
    !DEPLOYMENT_CONTROLLERS.contains(&name) && !REPLICA_SET_CONTROLLERS.contains(&name)
}

fn deployment_deserves(review: &Review<'_>) -> bool {
    if review.user.name == INSTALLER {
        return is_marked(review.object);
    }
    // Others may keep the mark by leaving the template alone, or take it off.
    review.old.is_some_and(|old| {
        is_marked(old)
            && is_marked(review.object)
            && is_same_template(
                &without_annotations(&review.object["spec"]["template"]),
                &without_annotations(&old["spec"]["template"]),
            )
    })
}

fn replica_set_deserves(review: &Review<'_>, lookup: &dyn Lookup) -> bool {
    let object = &*review.object;
    let was_vetted = review.old.is_some_and(|old| {
        is_marked(old)
            && is_same(&object["spec"]["template"], &old["spec"]["template"])
            && meta::controller(object) == meta::controller(old)
    });
    if was_vetted {
        return true;
    }
    if !DEPLOYMENT_CONTROLLERS.contains(&review.user.name.as_str()) {
        return false;
    }
    marked_owner(
        object,
        review.namespace,
        "Deployment",
        "deployments",
        lookup,
    )
    .is_some_and(|deployment| {
        is_same_template(
            &without_hash(&object["spec"]["template"]),
            &without_hash(&deployment["spec"]["template"]),
        )
    })
}

fn pod_deserves(review: &Review<'_>, lookup: &dyn Lookup) -> bool {
    if !REPLICA_SET_CONTROLLERS.contains(&review.user.name.as_str()) {
        return false;
    }
    let pod = &*review.object;
    let namespace = review.namespace;
    let Some(replica_set) = marked_owner(pod, namespace, "ReplicaSet", "replicasets", lookup)
    else {
        return false;
    };
    if marked_owner(&replica_set, namespace, "Deployment", "deployments", lookup).is_none() {
        return false;
    }
    is_made_from(pod, &replica_set["spec"]["template"])
}

/// The marked object that controls this one, by uid.
fn marked_owner(
    object: &Value,
    namespace: &str,
    kind: &str,
    resource: &str,
    lookup: &dyn Lookup,
) -> Option<Value> {
    let OwnerReference {
        api_version,
        kind: owner_kind,
        name,
        uid,
        ..
    } = meta::controller(object)?;
    if api_version != "apps/v1" || owner_kind != kind || uid.is_empty() {
        return None;
    }
    let owner = lookup.get("apps", resource, namespace, name)?;
    (meta::uid(&owner) == uid && is_marked(&owner)).then(|| (*owner).clone())
}

/// Whether a pod is what the template says, nothing added, nothing changed.
fn is_made_from(pod: &Value, template: &Value) -> bool {
    let mut expected = json!({"metadata": template["metadata"], "spec": template["spec"]});
    // Templates and pods differ in a few defaults; both sides are given the pod's.
    let rules = kinds::strategy("", "Pod");
    rules.default(&mut expected);
    let mut pod = pod.clone();
    rules.default(&mut pod);
    is_same(&pod["spec"], &expected["spec"])
        && is_same(&pod["metadata"]["labels"], &expected["metadata"]["labels"])
        && is_same(
            &json!(annotations_besides_mark(&pod)),
            &json!(annotations_besides_mark(&expected)),
        )
}

fn annotations_besides_mark(object: &Value) -> Map<String, Value> {
    let mut annotations = meta::annotations(object).cloned().unwrap_or_default();
    annotations.remove(BUILT_IN);
    annotations
}

fn is_same_template(one: &Value, other: &Value) -> bool {
    is_same(one, other)
}

fn without_annotations(template: &Value) -> Value {
    let mut template = template.clone();
    meta::remove(&mut template, "annotations");
    template
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.remove(TEMPLATE_HASH);
    }
    template
}

fn is_marked(object: &Value) -> bool {
    meta::annotation(object, BUILT_IN) == Some("true")
}

/// Puts the mark on or takes it off, whatever stands there.
fn set_mark(object: &mut Value, deserves: bool) {
    if deserves {
        meta::annotations_mut(object).insert(BUILT_IN.into(), "true".into());
    } else if meta::annotations(object)
        .is_some_and(|annotations| annotations.contains_key(BUILT_IN))
    {
        let annotations = meta::annotations_mut(object);
        annotations.remove(BUILT_IN);
        if annotations.is_empty() {
            meta::remove(object, "annotations");
        }
    }
}

#[cfg(test)]
mod tests;
