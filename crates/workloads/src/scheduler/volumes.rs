//! What a pod's claims say about where it can run, and which of them are provisioned where it goes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;

use super::affinity;
use crate::watches::{Watches, claims_of};

/// The node a claim is to be provisioned for.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// A pod's claims, looked up.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    /// Volumes it is tied to already.
    pub bound: Vec<Arc<PersistentVolume>>,
    /// Claims that wait for it to be placed.
    pub waiting: Vec<Arc<PersistentVolumeClaim>>,
}

/// Looks the claims of a pod up; the failure is why it cannot run anywhere yet.
pub fn claims(pod: &Pod, watches: &Watches) -> Result<Claims, String> {
    let mut found = Claims::default();
    for reference in claims_of(pod) {
        let (namespace, name) = reference.split_once('/').unwrap_or(("", &reference));
        let claim = watches
            .claims
            .cache()
            .find(namespace, name)
            .ok_or_else(|| format!("persistentvolumeclaim \"{name}\" not found"))?;
        let volume = claim
            .spec
            .as_ref()
            .and_then(|spec| spec.volume_name.clone());
        let volume = volume
            .and_then(|name| watches.volumes.cache().find("", &name))
            .filter(|_| is_bound(&claim));
        let class = claim
            .spec
            .as_ref()
            .and_then(|spec| spec.storage_class_name.as_deref());
        let class = class.and_then(|name| watches.storage_classes.cache().find("", name));
        sort_claim(claim, volume, class.as_deref(), &mut found)?;
    }
    Ok(found)
}

fn sort_claim(
    claim: Arc<PersistentVolumeClaim>,
    volume: Option<Arc<PersistentVolume>>,
    class: Option<&StorageClass>,
    found: &mut Claims,
) -> Result<(), String> {
    if claim.metadata.deletion_timestamp.is_some() {
        return Err(format!(
            "persistentvolumeclaim \"{}\" is being deleted",
            claim.name_any()
        ));
    }
    if let Some(volume) = volume {
        found.bound.push(volume);
    } else if class.is_some_and(waits_for_consumer) {
        found.waiting.push(claim);
    } else {
        return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
    }
    Ok(())
}

/// Whether claims of this class are provisioned only once a pod that uses them is placed.
pub fn waits_for_consumer(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

/// Whether the claim has its volume.
pub fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    let phase = claim
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase == Some("Bound")
        && claim
            .spec
            .as_ref()
            .is_some_and(|spec| spec.volume_name.is_some())
}

/// Why the claims forbid a node.
pub fn conflict(claims: &Claims, node: &Node) -> Option<&'static str> {
    let reachable = claims.bound.iter().all(|volume| {
        let affinity = volume
            .spec
            .as_ref()
            .and_then(|spec| spec.node_affinity.as_ref());
        affinity
            .and_then(|affinity| affinity.required.as_ref())
            .is_none_or(|required| affinity::selects(required, node))
    });
    let selected = claims.waiting.iter().all(|claim| {
        claim
            .annotations()
            .get(SELECTED_NODE)
            .is_none_or(|selected| *selected == node.name_any())
    });
    (!reachable || !selected).then_some("node(s) had volume node affinity conflict")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim() -> Arc<PersistentVolumeClaim> {
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": "data", "namespace": "ns"}}))
                .unwrap(),
        )
    }

    fn class(mode: &str) -> StorageClass {
        serde_json::from_value(
            json!({"metadata": {"name": "c"}, "provisioner": "p", "volumeBindingMode": mode}),
        )
        .unwrap()
    }

    #[test]
    fn a_claim_that_binds_at_once_holds_the_pod_back_and_one_that_waits_does_not() {
        let mut found = Claims::default();
        let refused = sort_claim(claim(), None, Some(&class("Immediate")), &mut found);
        assert_eq!(
            refused.unwrap_err(),
            "pod has unbound immediate PersistentVolumeClaims"
        );
        sort_claim(
            claim(),
            None,
            Some(&class("WaitForFirstConsumer")),
            &mut found,
        )
        .unwrap();
        assert_eq!(found.waiting.len(), 1);
    }

    #[test]
    fn a_volume_on_one_node_forbids_the_others() {
        let volume: PersistentVolume =
            serde_json::from_value(json!({"spec": {"nodeAffinity": {"required": {
                "nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]},
                ]}],
            }}}}))
            .unwrap();
        let claims = Claims {
            bound: vec![Arc::new(volume)],
            waiting: Vec::new(),
        };
        let node = |name: &str| -> Node {
            serde_json::from_value(
                json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}}),
            )
            .unwrap()
        };
        assert_eq!(conflict(&claims, &node("n1")), None);
        assert_eq!(
            conflict(&claims, &node("n2")),
            Some("node(s) had volume node affinity conflict")
        );
    }
}
