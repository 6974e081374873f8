//! Owner references: who controls an object, and the reference a new object gets.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;

/// The owner that controls this object, if any.
pub fn controller_of<K: ResourceExt>(object: &K) -> Option<&OwnerReference> {
    object
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true))
}

/// Whether the controlling owner has this uid.
pub fn is_controlled_by<K: ResourceExt>(object: &K, uid: &str) -> bool {
    controller_of(object).is_some_and(|owner| owner.uid == uid)
}

/// The reference that makes `owner` the controller of an object, blocking its foreground deletion.
pub fn controller_reference<K: ResourceExt>(
    owner: &K,
    api_version: &str,
    kind: &str,
) -> OwnerReference {
    OwnerReference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
