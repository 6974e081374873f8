//! What an object of a built-in kind is before anything is said of it: the parts that its type in Kubernetes writes even
//! when they are empty. Whoever creates an object owns what differs from that.

use serde_json::{Value, json};

/// The blank of a kind.
pub fn of(kind: &str) -> Value {
    let template = || json!({"metadata": {}, "spec": {"containers": []}});
    match kind {
        "Pod" => json!({"spec": {"containers": []}}),
        "PodTemplate" => json!({"template": template()}),
        "Deployment" => json!({"spec": {"template": template(), "strategy": {}}}),
        "StatefulSet" | "DaemonSet" => {
            json!({"spec": {"template": template(), "updateStrategy": {}}})
        }
        "ReplicaSet" | "Job" => json!({"spec": {"template": template()}}),
        "CronJob" => {
            json!({"spec": {"jobTemplate": {"metadata": {}, "spec": {"template": template()}}}})
        }
        "Service" | "Ingress" => json!({"spec": {}, "status": {"loadBalancer": {}}}),
        "PersistentVolumeClaim" => json!({"spec": {"resources": {}}}),
        "HorizontalPodAutoscaler" => json!({"spec": {"scaleTargetRef": {}}}),
        "NetworkPolicy" => json!({"spec": {"podSelector": {}}}),
        "CustomResourceDefinition" => json!({"spec": {"names": {}}}),
        "VolumeAttachment" => json!({"spec": {"source": {}}}),
        "Event" => {
            json!({"involvedObject": {}, "source": {}, "regarding": {}, "deprecatedSource": {}})
        }
        _ => json!({"spec": {}, "status": {}}),
    }
}
