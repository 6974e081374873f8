//! Which of the objects in a namespace belong to a controller: its own that still match its selector, and orphans that
//! match and can be adopted.

use std::fmt::Debug;
use std::sync::Arc;

use control::{Informer, Key, Writer, noted};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, OwnerReference};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::selector;

/// The split of candidate objects.
pub struct Claim<K> {
    /// Owned and matching.
    pub owned: Vec<Arc<K>>,
    /// Matching and without an owner: to be adopted.
    pub adopt: Vec<Arc<K>>,
    /// Owned but no longer matching: to be released.
    pub release: Vec<Arc<K>>,
}

/// Everything an owner could claim: what it controls, and what nobody does.
pub fn candidates<K: ResourceExt>(
    cache: &control::Cache<K>,
    namespace: &str,
    owner_uid: &str,
) -> Vec<Arc<K>> {
    let mut candidates = cache.controlled_by(owner_uid);
    candidates.extend(cache.by_index(crate::watches::ORPHANS, namespace));
    candidates
}

/// Splits candidates for an owner; one that is being deleted neither adopts nor releases.
pub fn claim<K: ResourceExt>(
    candidates: impl IntoIterator<Item = Arc<K>>,
    owner_uid: &str,
    owner_is_deleted: bool,
    selector: &LabelSelector,
) -> Claim<K> {
    let mut claim = Claim {
        owned: Vec::new(),
        adopt: Vec::new(),
        release: Vec::new(),
    };
    for object in candidates {
        let matches = selector::matches(selector, object.labels());
        match control::owners::controller_of(object.as_ref()) {
            Some(owner) if owner.uid != owner_uid => {}
            Some(_) if matches => claim.owned.push(object),
            Some(_) if !owner_is_deleted => claim.release.push(object),
            Some(_) => {}
            None if matches && !owner_is_deleted && object.meta().deletion_timestamp.is_none() => {
                claim.adopt.push(object);
            }
            None => {}
        }
    }
    claim
}

/// The merge patch that makes `owner` the controller of `object`.
pub fn adoption<K: ResourceExt>(
    object: &K,
    owner: &OwnerReference,
    finalizer: Option<&str>,
) -> Value {
    let mut owners: Vec<OwnerReference> = object
        .owner_references()
        .iter()
        .filter(|held| held.uid != owner.uid)
        .cloned()
        .collect();
    owners.push(owner.clone());
    let mut metadata = json!({"uid": object.uid(), "resourceVersion": object.resource_version(), "ownerReferences": owners});
    if let Some(finalizer) = finalizer
        && !object.finalizers().iter().any(|held| held == finalizer)
    {
        let mut finalizers = object.finalizers().to_vec();
        finalizers.push(finalizer.to_owned());
        metadata["finalizers"] = json!(finalizers);
    }
    json!({"metadata": metadata})
}

/// The merge patch that takes the owner off `object`.
pub fn release<K: ResourceExt>(object: &K, owner_uid: &str) -> Value {
    let owners: Vec<&OwnerReference> = object
        .owner_references()
        .iter()
        .filter(|held| held.uid != owner_uid)
        .collect();
    json!({"metadata": {"uid": object.uid(), "resourceVersion": object.resource_version(), "ownerReferences": owners}})
}

/// Adopts and releases; answers the objects that belong to the owner.
pub async fn settle<K>(
    writer: &Writer,
    informer: &Informer<K>,
    claim: Claim<K>,
    owner: &OwnerReference,
    finalizer: Option<&str>,
) -> kube::Result<Vec<Arc<K>>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default,
{
    let mut owned = claim.owned;
    for object in claim.adopt {
        let patch = adoption(object.as_ref(), owner, finalizer);
        let adopted = noted::patch(writer, informer, &Key::of(object.as_ref()), patch).await?;
        owned.extend(adopted.map(Arc::new));
    }
    for object in claim.release {
        // It may have been changed by ourselves just now.
        let key = Key::of(object.as_ref());
        let current = informer.cache().get(&key).unwrap_or(object);
        noted::patch(
            writer,
            informer,
            &key,
            release(current.as_ref(), &owner.uid),
        )
        .await?;
    }
    Ok(owned)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    fn pod(name: &str, app: &str, owner: Option<&str>) -> Arc<Pod> {
        let owners: Vec<Value> = owner
            .map(|uid| json!({"apiVersion": "v1", "kind": "X", "name": "x", "uid": uid, "controller": true}))
            .into_iter()
            .collect();
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "uid": name, "labels": {"app": app}, "ownerReferences": owners},
            }))
            .unwrap(),
        )
    }

    fn names(pods: &[Arc<Pod>]) -> Vec<String> {
        pods.iter().map(|pod| pod.name_any()).collect()
    }

    #[test]
    fn own_orphaned_strange_and_foreign_pods_are_told_apart() {
        let selector = serde_json::from_value(json!({"matchLabels": {"app": "web"}})).unwrap();
        let pods = [
            pod("own", "web", Some("me")),
            pod("orphan", "web", None),
            pod("strayed", "other", Some("me")),
            pod("foreign", "web", Some("you")),
            pod("unrelated", "other", None),
        ];
        let split = claim(pods.clone(), "me", false, &selector);
        assert_eq!(names(&split.owned), ["own"]);
        assert_eq!(names(&split.adopt), ["orphan"]);
        assert_eq!(names(&split.release), ["strayed"]);
        let split = claim(pods, "me", true, &selector);
        assert!(split.adopt.is_empty() && split.release.is_empty());
    }
}
