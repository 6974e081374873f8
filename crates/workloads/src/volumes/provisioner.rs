//! The local provisioner: a volume is a folder on the node, named after its claim. Sizes are recorded, not enforced.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use serde_json::{Value, json};

/// Who made a volume, and so who deletes it.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// The name of the volume made for a claim.
pub fn volume_name(claim: &PersistentVolumeClaim) -> String {
    format!("pvc-{}", claim.uid().unwrap_or_default())
}

/// The folder of a claim's volume. Namespace and name are there for the human reader; the uid tells successors apart.
pub fn folder(base: &Path, claim: &PersistentVolumeClaim) -> PathBuf {
    let namespace = claim.namespace().unwrap_or_default();
    base.join(format!(
        "{namespace}_{}_{}",
        claim.name_any(),
        claim.uid().unwrap_or_default()
    ))
}

/// The body of the volume for a claim, tied to it from the start. `node` is where the folder is.
pub fn volume(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    base: &Path,
    node: Option<&str>,
) -> Value {
    let spec = claim.spec.clone().unwrap_or_default();
    let requests = spec
        .resources
        .and_then(|resources| resources.requests)
        .unwrap_or_default();
    let mut body = json!({
        "metadata": {
            "name": volume_name(claim),
            "annotations": {PROVISIONED_BY: class.provisioner},
        },
        "spec": {
            "capacity": {"storage": requests.get("storage").map_or("0", |size| &size.0)},
            "accessModes": spec.access_modes,
            "volumeMode": spec.volume_mode.unwrap_or_else(|| "Filesystem".to_owned()),
            "persistentVolumeReclaimPolicy": class.reclaim_policy.as_deref().unwrap_or("Delete"),
            "storageClassName": class.name_any(),
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim.namespace(),
                "name": claim.name_any(),
                "uid": claim.uid(),
                "resourceVersion": claim.resource_version(),
            },
            "hostPath": {"path": folder(base, claim), "type": "DirectoryOrCreate"},
        },
    });
    if let Some(node) = node {
        body["spec"]["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]},
        ]}]}});
    }
    body
}

/// Deletes the folder of a volume made here; anything that is not directly below the base is left alone.
pub async fn delete_folder(base: &Path, path: &Path) -> std::io::Result<()> {
    if path.parent() != Some(base) || path.file_name().is_none() {
        let message = format!(
            "{} is not a folder of the local provisioner",
            path.display()
        );
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            message,
        ));
    }
    match tokio::fs::remove_dir_all(path).await {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::LOCAL_PROVISIONER;
    use super::*;

    fn claim() -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": {"name": "data", "namespace": "ns", "uid": "u1"},
            "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "5Gi"}}},
        }))
        .unwrap()
    }

    #[test]
    fn a_volume_carries_the_claims_size_and_modes_and_its_node() {
        let class: StorageClass = serde_json::from_value(
            json!({"metadata": {"name": "standard"}, "provisioner": LOCAL_PROVISIONER}),
        )
        .unwrap();
        let body = volume(&claim(), &class, Path::new("/data/volumes"), Some("n1"));
        assert_eq!(body["metadata"]["name"], "pvc-u1");
        assert_eq!(body["spec"]["capacity"]["storage"], "5Gi");
        assert_eq!(body["spec"]["accessModes"], json!(["ReadWriteMany"]));
        assert_eq!(body["spec"]["hostPath"]["path"], "/data/volumes/ns_data_u1");
        assert_eq!(body["spec"]["persistentVolumeReclaimPolicy"], "Delete");
        assert_eq!(body["spec"]["claimRef"]["uid"], "u1");
        let term = &body["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0];
        assert_eq!(term["matchExpressions"][0]["values"], json!(["n1"]));
    }

    #[tokio::test]
    async fn only_folders_of_its_own_are_deleted() {
        let base = tempfile::tempdir().unwrap();
        let own = folder(base.path(), &claim());
        std::fs::create_dir_all(own.join("inner")).unwrap();
        delete_folder(base.path(), &own).await.unwrap();
        assert!(!own.exists());
        delete_folder(base.path(), &own)
            .await
            .expect("a folder that is gone is deleted");
        for foreign in [
            base.path().join("a/b"),
            base.path().to_path_buf(),
            base.path().join(".."),
        ] {
            assert!(
                delete_folder(base.path(), &foreign).await.is_err(),
                "{}",
                foreign.display()
            );
        }
    }
}
