//! Which volume suits a claim.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;
use objects::quantity::Quantity;

use crate::selector;

/// The class a claim or volume names; none is the empty class.
pub fn claim_class(claim: &PersistentVolumeClaim) -> &str {
    claim
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.as_deref())
        .unwrap_or_default()
}

fn volume_class(volume: &PersistentVolume) -> &str {
    volume
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.as_deref())
        .unwrap_or_default()
}

/// The size a claim asks for.
pub fn requested(claim: &PersistentVolumeClaim) -> i64 {
    let requests = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    requests
        .and_then(|requests| requests.get("storage"))
        .map_or(0, |size| bytes(&size.0))
}

fn capacity(volume: &PersistentVolume) -> i64 {
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref());
    capacity
        .and_then(|capacity| capacity.get("storage"))
        .map_or(0, |size| bytes(&size.0))
}

fn bytes(text: &str) -> i64 {
    Quantity::parse(text)
        .map(|quantity| quantity.as_bytes())
        .unwrap_or(0)
}

/// Whether a volume is tied to this claim.
pub fn is_tied(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    volume
        .spec
        .as_ref()
        .and_then(|spec| spec.claim_ref.as_ref())
        .is_some_and(|reference| {
            reference.name.as_deref() == claim.metadata.name.as_deref()
                && reference.namespace.as_deref() == claim.metadata.namespace.as_deref()
                && reference
                    .uid
                    .as_ref()
                    .is_none_or(|uid| Some(uid) == claim.metadata.uid.as_ref())
        })
}

/// Whether a volume could serve the claim.
fn suits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let (Some(spec), Some(wanted)) = (&volume.spec, &claim.spec) else {
        return false;
    };
    let modes = spec.access_modes.clone().unwrap_or_default();
    let is_free = match &spec.claim_ref {
        None => true,
        Some(_) => is_tied(volume, claim),
    };
    is_free
        && volume.metadata.deletion_timestamp.is_none()
        && volume_class(volume) == claim_class(claim)
        && spec.volume_mode.as_deref().unwrap_or("Filesystem")
            == wanted.volume_mode.as_deref().unwrap_or("Filesystem")
        && wanted
            .access_modes
            .iter()
            .flatten()
            .all(|mode| modes.contains(mode))
        && capacity(volume) >= requested(claim)
        && wanted
            .selector
            .as_ref()
            .is_none_or(|wanted| selector::matches(wanted, volume.labels()))
}

/// The best volume for a claim: one that was set aside for it, else the smallest that suits.
pub fn best<'a, V>(
    volumes: impl IntoIterator<Item = &'a V>,
    claim: &PersistentVolumeClaim,
) -> Option<&'a V>
where
    V: AsRef<PersistentVolume> + 'a,
{
    let mut suiting: Vec<&V> = volumes
        .into_iter()
        .filter(|volume| suits((*volume).as_ref(), claim))
        .collect();
    suiting.sort_by_key(|volume| {
        let volume = (*volume).as_ref();
        (!is_tied(volume, claim), capacity(volume), volume.name_any())
    });
    suiting.into_iter().next()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    fn claim(size: &str) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": {"name": "data", "namespace": "ns", "uid": "c"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": size}}},
        }))
        .unwrap()
    }

    fn volume(name: &str, size: &str, change: Value) -> Arc<PersistentVolume> {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": size}});
        for (field, value) in change.as_object().unwrap() {
            spec[field] = value.clone();
        }
        Arc::new(serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap())
    }

    fn chosen(volumes: &[Arc<PersistentVolume>], size: &str) -> Option<String> {
        best(volumes, &claim(size)).map(|volume| volume.name_any())
    }

    #[test]
    fn the_smallest_volume_that_is_large_enough_is_taken() {
        let volumes = [
            volume("large", "10Gi", json!({})),
            volume("fits", "2Gi", json!({})),
            volume("small", "1Gi", json!({})),
        ];
        assert_eq!(chosen(&volumes, "1500Mi").as_deref(), Some("fits"));
        assert_eq!(chosen(&volumes, "20Gi"), None);
    }

    #[test]
    fn a_volume_set_aside_for_the_claim_is_preferred_and_one_for_another_is_not_taken() {
        let mine = volume(
            "mine",
            "10Gi",
            json!({"claimRef": {"namespace": "ns", "name": "data"}}),
        );
        let theirs = volume(
            "theirs",
            "1Gi",
            json!({"claimRef": {"namespace": "ns", "name": "other"}}),
        );
        let free = volume("free", "1Gi", json!({}));
        assert_eq!(
            chosen(&[theirs.clone(), free, mine], "1Gi").as_deref(),
            Some("mine")
        );
        assert_eq!(chosen(&[theirs], "1Gi"), None);
    }

    #[test]
    fn class_and_access_modes_have_to_agree() {
        assert_eq!(
            chosen(
                &[volume("a", "1Gi", json!({"storageClassName": "fast"}))],
                "1Gi"
            ),
            None
        );
        assert_eq!(
            chosen(
                &[volume("a", "1Gi", json!({"accessModes": ["ReadOnlyMany"]}))],
                "1Gi"
            ),
            None
        );
    }
}
