//! Plans of claims and volumes, on values.

use super::super::provisioner::PROVISIONED_BY;
use super::super::reclaim::{Volume, plan_volume};
use super::*;

fn claim(change: Value) -> PersistentVolumeClaim {
    let mut object = json!({
        "metadata": {"name": "data", "namespace": "ns", "uid": "c"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "standard",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    });
    merge(&mut object, &change);
    serde_json::from_value(object).unwrap()
}

fn volume(change: Value) -> Arc<PersistentVolume> {
    let mut object = json!({
        "metadata": {"name": "v", "uid": "v"},
        "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "storageClassName": "standard"},
    });
    merge(&mut object, &change);
    Arc::new(serde_json::from_value(object).unwrap())
}

fn merge(into: &mut Value, change: &Value) {
    match (into.as_object_mut(), change.as_object()) {
        (Some(fields), Some(changes)) => {
            for (name, value) in changes {
                merge(fields.entry(name).or_insert(Value::Null), value);
            }
        }
        _ => *into = change.clone(),
    }
}

fn class(mode: &str, provisioner: &str) -> StorageClass {
    serde_json::from_value(json!({
        "metadata": {"name": "standard"}, "provisioner": provisioner, "volumeBindingMode": mode,
    }))
    .unwrap()
}

fn planned(
    claim: &PersistentVolumeClaim,
    class: Option<&StorageClass>,
    volumes: &[Arc<PersistentVolume>],
) -> Claim {
    plan(
        claim,
        &Surroundings {
            named: &|name| {
                volumes
                    .iter()
                    .find(|volume| volume.metadata.name.as_deref() == Some(name))
                    .cloned()
            },
            volumes: &|| volumes.to_vec(),
            class,
            is_used: false,
            provisions: true,
        },
    )
}

#[test]
fn a_claim_of_a_class_that_binds_at_once_is_provisioned() {
    let class = class("Immediate", LOCAL_PROVISIONER);
    assert_eq!(
        planned(&claim(json!({})), Some(&class), &[]),
        Claim::Provision(None)
    );
}

#[test]
fn a_claim_that_waits_for_its_pod_is_provisioned_on_the_pods_node() {
    let class = class("WaitForFirstConsumer", LOCAL_PROVISIONER);
    let waiting = planned(&claim(json!({})), Some(&class), &[]);
    assert!(
        matches!(waiting, Claim::Wait("WaitForFirstConsumer", _)),
        "{waiting:?}"
    );
    let placed = claim(json!({"metadata": {"annotations": {SELECTED_NODE: "n1"}}}));
    assert_eq!(
        planned(&placed, Some(&class), &[]),
        Claim::Provision(Some("n1".to_owned()))
    );
}

#[test]
fn a_volume_that_suits_comes_before_a_new_one() {
    let class = class("Immediate", LOCAL_PROVISIONER);
    let held = volume(json!({}));
    assert_eq!(
        planned(&claim(json!({})), Some(&class), std::slice::from_ref(&held)),
        Claim::Bind(held)
    );
}

#[test]
fn a_claim_without_class_and_volume_says_what_is_missing() {
    let unclassed = claim(json!({"spec": {"storageClassName": ""}}));
    let Claim::Wait("FailedBinding", message) = planned(&unclassed, None, &[]) else {
        panic!("it waits")
    };
    assert_eq!(
        message,
        "no persistent volumes available for this claim and no storage class is set"
    );
    let unknown = planned(&claim(json!({})), None, &[]);
    assert!(
        matches!(unknown, Claim::Wait("ProvisioningFailed", _)),
        "{unknown:?}"
    );
}

#[test]
fn another_provisioner_is_told_once() {
    let class = class("Immediate", "nfs.example.com");
    assert_eq!(
        planned(&claim(json!({})), Some(&class), &[]),
        Claim::Announce
    );
    let told =
        claim(json!({"metadata": {"annotations": {STORAGE_PROVISIONER: "nfs.example.com"}}}));
    assert!(matches!(
        planned(&told, Some(&class), &[]),
        Claim::Wait("ExternalProvisioning", _)
    ));
}

#[test]
fn a_bound_claim_is_settled_until_its_volume_is_gone() {
    let bound = claim(json!({
        "metadata": {"annotations": {BIND_COMPLETED: "yes"}},
        "spec": {"volumeName": "v"},
        "status": {"phase": "Bound"},
    }));
    let reference = json!({"namespace": "ns", "name": "data", "uid": "c"});
    let held = volume(json!({"spec": {"claimRef": reference}, "status": {"phase": "Bound"}}));
    assert_eq!(planned(&bound, None, &[held]), Claim::Settled);
    assert_eq!(planned(&bound, None, &[]), Claim::Lost);
}

#[test]
fn a_volume_whose_claim_is_gone_is_released_then_deleted() {
    let reference = json!({"namespace": "ns", "name": "data", "uid": "c"});
    let ours = json!({"metadata": {"annotations": {PROVISIONED_BY: LOCAL_PROVISIONER}}, "spec": {
        "claimRef": reference, "persistentVolumeReclaimPolicy": "Delete",
    }});
    let mut bound = ours.clone();
    bound["status"] = json!({"phase": "Bound"});
    assert_eq!(
        plan_volume(&volume(bound.clone()), Some(&claim(json!({})))),
        Volume::Keep
    );
    assert_eq!(plan_volume(&volume(bound), None), Volume::Phase("Released"));
    let mut released = ours;
    released["status"] = json!({"phase": "Released"});
    assert_eq!(plan_volume(&volume(released.clone()), None), Volume::Delete);
    released["spec"]["persistentVolumeReclaimPolicy"] = "Retain".into();
    assert_eq!(plan_volume(&volume(released), None), Volume::Keep);
}

#[test]
fn a_free_volume_is_available() {
    assert_eq!(
        plan_volume(&volume(json!({})), None),
        Volume::Phase("Available")
    );
    assert_eq!(
        plan_volume(&volume(json!({"status": {"phase": "Available"}})), None),
        Volume::Keep
    );
}
