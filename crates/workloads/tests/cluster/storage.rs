//! Claims, their volumes, and what keeps them.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use crate::home::{Home, eventually, pod};

/// Adds the class a home starts with.
pub async fn add_class(home: &Home) {
    let classes: Api<StorageClass> = Api::all(home.client.clone());
    let class: StorageClass = serde_json::from_value(workloads::default_storage_class()).unwrap();
    classes
        .create(&PostParams::default(), &class)
        .await
        .unwrap();
}

fn phase(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.status.as_ref()?.phase.as_deref()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_provisioned_for_its_pod_kept_while_in_use_and_deleted_with_its_folder() {
    let home = Home::start().await;
    add_class(&home).await;
    home.create::<PersistentVolumeClaim>(json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }))
    .await;
    home.until::<PersistentVolumeClaim>("data", |claim| phase(claim) == Some("Pending"))
        .await;
    let mut user = pod("user", json!({}));
    user["spec"]["volumes"] =
        json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]);
    home.create::<Pod>(user).await;
    home.until::<PersistentVolumeClaim>("data", |claim| phase(claim) == Some("Bound"))
        .await;
    home.until::<Pod>("user", |pod| {
        pod.spec
            .as_ref()
            .is_some_and(|spec| spec.node_name.is_some())
    })
    .await;

    let volumes: Api<PersistentVolume> = Api::all(home.client.clone());
    let volume = volumes
        .list(&Default::default())
        .await
        .unwrap()
        .items
        .pop()
        .expect("there is a volume");
    let path = std::path::PathBuf::from(volume.spec.unwrap().host_path.unwrap().path);
    assert!(path.starts_with(&home.volumes));
    std::fs::create_dir_all(&path).unwrap();

    home.api::<PersistentVolumeClaim>()
        .delete("data", &DeleteParams::default())
        .await
        .unwrap();
    let kept = home
        .api::<PersistentVolumeClaim>()
        .get("data")
        .await
        .unwrap();
    assert!(
        kept.metadata.deletion_timestamp.is_some(),
        "its pod still uses it"
    );
    home.api::<Pod>()
        .delete("user", &DeleteParams::default())
        .await
        .unwrap();
    eventually(
        || async { volumes.list(&Default::default()).await.unwrap().items.len() },
        |count| *count == 0,
    )
    .await;
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_volume_comes_and_goes_with_its_pod() {
    let home = Home::start().await;
    add_class(&home).await;
    let mut user = pod("user", json!({}));
    user["spec"]["volumes"] = json!([{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }}}]);
    home.create::<Pod>(user).await;
    home.until::<PersistentVolumeClaim>("user-scratch", |claim| phase(claim) == Some("Bound"))
        .await;
    home.api::<Pod>()
        .delete("user", &DeleteParams::default())
        .await
        .unwrap();
    home.until_all::<PersistentVolumeClaim>(|claims| claims.is_empty())
        .await;
}
