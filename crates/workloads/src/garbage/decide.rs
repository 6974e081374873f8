//! What becomes of an object, given what is known of its owners.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PropagationPolicy;
use serde_json::{Value, json};

use super::graph::{FOREGROUND, ORPHAN};

/// What is known of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// It exists.
    Solid,
    /// It does not exist.
    Absent,
    /// It is being deleted and waits for its dependents.
    Waiting,
}

/// What to do with an object.
#[derive(Debug)]
pub enum Decision {
    /// Nothing.
    Keep,
    /// It has a living owner; these references are dropped.
    Forget(Value),
    /// It goes, with its dependents treated so.
    Delete(PropagationPolicy),
}

/// Decides about an object from its live metadata.
pub fn decide(
    metadata: &ObjectMeta,
    owners: &[(OwnerReference, Owner)],
    has_dependents: bool,
) -> Decision {
    if owners.is_empty() {
        return Decision::Keep;
    }
    let any = |wanted: Owner| owners.iter().any(|(_, owner)| *owner == wanted);
    if any(Owner::Solid) {
        if !any(Owner::Absent) && !any(Owner::Waiting) {
            return Decision::Keep;
        }
        let kept: Vec<&OwnerReference> = owners
            .iter()
            .filter(|(_, owner)| *owner == Owner::Solid)
            .map(|(reference, _)| reference)
            .collect();
        return Decision::Forget(json!({"metadata": {
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
            "ownerReferences": kept,
        }}));
    }
    if any(Owner::Waiting) && has_dependents {
        // Its owner waits for all below it, so its own dependents go first too.
        return Decision::Delete(PropagationPolicy::Foreground);
    }
    let finalizers = metadata.finalizers.as_deref().unwrap_or_default();
    let has = |finalizer: &str| finalizers.iter().any(|held| held == finalizer);
    Decision::Delete(if has(ORPHAN) {
        PropagationPolicy::Orphan
    } else if has(FOREGROUND) {
        PropagationPolicy::Foreground
    } else {
        PropagationPolicy::Background
    })
}

/// An object whose own dependents wait for theirs may close a circle, in which each would wait for the next for ever: it
/// no longer holds its owners up.
pub fn unblock_owners(metadata: &ObjectMeta) -> Value {
    let references: Vec<OwnerReference> = metadata
        .owner_references
        .iter()
        .flatten()
        .map(|reference| OwnerReference {
            block_owner_deletion: Some(false),
            ..reference.clone()
        })
        .collect();
    json!({"metadata": {
        "uid": metadata.uid,
        "resourceVersion": metadata.resource_version,
        "ownerReferences": references,
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(owners: &[Owner], has_dependents: bool) -> String {
        let owners: Vec<(OwnerReference, Owner)> = owners
            .iter()
            .enumerate()
            .map(|(position, owner)| {
                (
                    OwnerReference {
                        uid: position.to_string(),
                        ..Default::default()
                    },
                    *owner,
                )
            })
            .collect();
        match decide(&ObjectMeta::default(), &owners, has_dependents) {
            Decision::Keep => "keep".to_owned(),
            Decision::Forget(patch) => format!(
                "forget {}",
                patch["metadata"]["ownerReferences"]
                    .as_array()
                    .unwrap()
                    .len()
            ),
            Decision::Delete(policy) => format!("{policy:?}").to_lowercase(),
        }
    }

    #[test]
    fn one_living_owner_is_enough_and_the_others_are_forgotten() {
        assert_eq!(decision(&[], false), "keep");
        assert_eq!(decision(&[Owner::Solid], false), "keep");
        assert_eq!(
            decision(&[Owner::Absent, Owner::Solid, Owner::Waiting], true),
            "forget 1"
        );
    }

    #[test]
    fn without_a_living_owner_an_object_goes() {
        assert_eq!(decision(&[Owner::Absent], true), "background");
        assert_eq!(
            decision(&[Owner::Absent, Owner::Waiting], false),
            "background"
        );
        assert_eq!(decision(&[Owner::Waiting], true), "foreground");
    }
}
