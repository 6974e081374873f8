//! Claims get volumes: existing ones that fit, or new ones from the local provisioner, and volumes go when their claims
//! do. A claim in use by a pod and a volume in use by a claim are kept until they no longer are.

mod binder;
mod ephemeral;
mod matching;
pub mod on_node;
mod protection;
mod provisioner;
mod reclaim;

use crate::setup::Setup;

/// The provisioner of the default storage class: folders on the node.
pub const LOCAL_PROVISIONER: &str = "ferroflow.io/local";

/// The provisioner that runs on each node of a cluster with controllers of its own: see [`on_node`].
pub const NODE_PROVISIONER: &str = "ferroflow.io/local-node";

/// The storage class a home starts with: folders on the node of the first pod, deleted with their claims.
pub fn default_storage_class() -> serde_json::Value {
    serde_json::json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": LOCAL_PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    })
}

/// Starts the controllers.
pub fn start(setup: &mut Setup) {
    binder::start(setup);
    protection::start(setup);
    ephemeral::start(setup);
}
