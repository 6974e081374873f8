//! Columns of built-in kinds. Mirrors Kubernetes 1.33 `pkg/printers/internalversion/printers.go`.

mod cluster;
mod configuration;
mod extensions;
mod network;
mod pods;
mod policy;
mod storage;
mod workloads;

use serde_json::Value;

use super::{Column, Printer};

const fn column(name: &'static str, kind: &'static str) -> Column {
    Column {
        name,
        kind,
        format: "",
        priority: 0,
    }
}

const fn wide(name: &'static str, kind: &'static str) -> Column {
    Column {
        name,
        kind,
        format: "",
        priority: 1,
    }
}

const NAME: Column = Column {
    name: "Name",
    kind: "string",
    format: "name",
    priority: 0,
};
const AGE: Column = column("Age", "string");

/// The columns of a built-in kind that has more than name and age.
pub fn of_builtin(group: &str, kind: &str) -> Option<&'static Printer> {
    Some(match (group, kind) {
        ("", "Pod") => &pods::PODS,
        ("", "PodTemplate") => &workloads::POD_TEMPLATES,
        ("", "ReplicationController") => &workloads::REPLICATION_CONTROLLERS,
        ("apps", "Deployment") => &workloads::DEPLOYMENTS,
        ("apps", "ReplicaSet") => &workloads::REPLICA_SETS,
        ("apps", "StatefulSet") => &workloads::STATEFUL_SETS,
        ("apps", "DaemonSet") => &workloads::DAEMON_SETS,
        ("apps", "ControllerRevision") => &workloads::CONTROLLER_REVISIONS,
        ("batch", "Job") => &workloads::JOBS,
        ("batch", "CronJob") => &workloads::CRON_JOBS,
        ("autoscaling", "HorizontalPodAutoscaler") => &workloads::AUTOSCALERS,
        ("", "Service") => &network::SERVICES,
        ("", "Endpoints") => &network::ENDPOINTS,
        ("discovery.k8s.io", "EndpointSlice") => &network::ENDPOINT_SLICES,
        ("networking.k8s.io", "Ingress") => &network::INGRESSES,
        ("networking.k8s.io", "IngressClass") => &network::INGRESS_CLASSES,
        ("networking.k8s.io", "NetworkPolicy") => &network::NETWORK_POLICIES,
        ("", "ConfigMap") => &configuration::CONFIG_MAPS,
        ("", "Secret") => &configuration::SECRETS,
        ("", "ServiceAccount") => &configuration::SERVICE_ACCOUNTS,
        ("", "Namespace") => &cluster::NAMESPACES,
        ("", "Node") => &cluster::NODES,
        ("" | "events.k8s.io", "Event") => &cluster::EVENTS,
        ("coordination.k8s.io", "Lease") => &cluster::LEASES,
        ("scheduling.k8s.io", "PriorityClass") => &cluster::PRIORITY_CLASSES,
        ("node.k8s.io", "RuntimeClass") => &cluster::RUNTIME_CLASSES,
        ("", "PersistentVolume") => &storage::VOLUMES,
        ("", "PersistentVolumeClaim") => &storage::CLAIMS,
        ("storage.k8s.io", "StorageClass") => &storage::CLASSES,
        ("storage.k8s.io", "VolumeAttachment") => &storage::ATTACHMENTS,
        ("storage.k8s.io", "CSIDriver") => &storage::DRIVERS,
        ("storage.k8s.io", "CSINode") => &storage::NODES,
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => &policy::ROLES,
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => &policy::BINDINGS,
        ("policy", "PodDisruptionBudget") => &policy::DISRUPTION_BUDGETS,
        ("", "ResourceQuota") => &policy::QUOTAS,
        ("", "LimitRange") => &policy::LIMIT_RANGES,
        ("certificates.k8s.io", "CertificateSigningRequest") => &policy::SIGNING_REQUESTS,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => &extensions::DEFINITIONS,
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
        ) => &extensions::WEBHOOKS,
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            &extensions::ADMISSION_POLICIES
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => {
            &extensions::ADMISSION_BINDINGS
        }
        _ => return None,
    })
}

/// The elements of a list; none if it is absent.
fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text, or `<none>`.
fn or_none(text: &Value) -> Value {
    text.as_str()
        .filter(|text| !text.is_empty())
        .unwrap_or("<none>")
        .into()
}

/// A number, 0 if absent.
fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

/// Names and images of the containers of a pod template.
fn containers(spec: &Value) -> [Value; 2] {
    let join = |field: &str| -> Value {
        let parts: Vec<&str> = list(&spec["containers"])
            .iter()
            .filter_map(|container| container[field].as_str())
            .collect();
        parts.join(",").into()
    };
    [join("name"), join("image")]
}

/// A label selector as kubectl prints it.
fn selector(value: &Value) -> Value {
    let text = objects::selector::LabelSelector::from_json(value)
        .map(|selector| selector.to_string())
        .unwrap_or_default();
    if text.is_empty() {
        "<none>".into()
    } else {
        text.into()
    }
}

/// `a=b,c=d` of a map, or `<none>`.
fn pairs(map: &Value) -> Value {
    let parts: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    if parts.is_empty() {
        "<none>".into()
    } else {
        parts.join(",").into()
    }
}
