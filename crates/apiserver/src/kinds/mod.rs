//! The rules of built-in kinds that a schema cannot say: defaults, what a write may touch,
//! what must be true between fields, what may never change. One file per kind.
//!
//! Mirrors Kubernetes v1.33 (`pkg/apis/*/v1/defaults.go`, `pkg/registry/*/strategy.go`,
//! `pkg/apis/*/validation`). Types, enums and required fields are the schema's to check; names of other
//! objects are admission's; `metadata.generation`, uids and times are the verbs'.

pub mod blank;
pub mod fields;
mod metadata;

mod selector;

pub mod pod;
mod pod_spec;
mod pod_template;
mod pod_update;
mod pod_validation;

mod cron_job;
mod daemon_set;
mod deployment;
mod job;
mod replica_set;
mod replication_controller;
mod stateful_set;
mod workload;

mod controller_revision;

mod endpoint_slice;
mod endpoints;
mod ingress;
mod ingress_class;
mod network_policy;
pub mod service;

mod config_map;
mod secret;

mod csi_driver;
mod persistent_volume;
mod persistent_volume_claim;
mod storage_class;

mod limit_range;
mod namespace;
mod node;
mod priority_class;
mod resource_quota;

mod rbac;

mod admission_policy;
mod certificate_signing_request;
mod custom_resource_definition;
mod webhook;

mod event;
mod horizontal_pod_autoscaler;
mod lease;
mod pod_disruption_budget;

use objects::FieldError;
use serde_json::Value;

pub use metadata::{validate_finalizers, validate_metadata, validate_metadata_update};

/// The rules of one kind. Every method may be left as it is: then the kind has nothing of its own to say.
pub trait Strategy: Sync {
    /// What may name an object of this kind: complaints, or nothing.
    fn check_name(&self, name: &str) -> Vec<String> {
        objects::names::dns_subdomain(name)
    }

    /// Whether `metadata.generation` counts the changes of everything but metadata and status.
    fn has_generation(&self) -> bool {
        false
    }

    /// Fills what was left out. Runs on every write, and changes nothing the second time.
    fn default(&self, _object: &mut Value) {}

    /// What a creation may not set goes, what the server sets comes. After defaulting.
    fn prepare_create(&self, object: &mut Value) {
        reset_status(object);
    }

    /// An update of the object itself keeps its status.
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep(object, old, "status");
    }

    /// An update of the status keeps everything else, except what metadata may change by any write.
    fn prepare_status_update(&self, object: &mut Value, old: &Value) {
        keep_all_but_status(object, old);
    }

    /// What is wrong with a new object, beyond schema and metadata.
    fn validate_create(&self, _object: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// What is wrong with a change, beyond schema and metadata. It includes what `validate_create` finds.
    fn validate_update(&self, object: &Value, _old: &Value) -> Vec<FieldError> {
        self.validate_create(object)
    }

    /// What is wrong with a new status.
    fn validate_status_update(&self, _object: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// What is wrong with a change through a view of the object, such as `resize`.
    fn validate_view_update(&self, _view: &str, _object: &Value, _old: &Value) -> Vec<FieldError> {
        Vec::new()
    }

    /// The fields beyond `metadata.name` and `metadata.namespace` that a field selector may name.
    fn selectable_field_names(&self) -> &'static [&'static str] {
        &[]
    }

    /// The value of a selectable field; absent reads as empty.
    fn selectable_field(&self, object: &Value, field: &str) -> String {
        read_path(object, field)
    }
}

/// A kind without rules of its own, custom resources included.
struct Plain;
impl Strategy for Plain {}

/// The rules of a kind.
pub fn strategy(group: &str, kind: &str) -> &'static dyn Strategy {
    match (group, kind) {
        ("", "Pod") => &pod::Pod,
        ("", "Service") => &service::Service,
        ("", "Endpoints") => &endpoints::Endpoints,
        ("", "ConfigMap") => &config_map::ConfigMap,
        ("", "Secret") => &secret::Secret,
        ("", "Namespace") => &namespace::Namespace,
        ("", "Node") => &node::Node,
        ("", "PersistentVolume") => &persistent_volume::PersistentVolume,
        ("", "PersistentVolumeClaim") => &persistent_volume_claim::PersistentVolumeClaim,
        ("", "ReplicationController") => &replication_controller::ReplicationController,
        ("", "ResourceQuota") => &resource_quota::ResourceQuota,
        ("", "LimitRange") => &limit_range::LimitRange,
        ("" | "events.k8s.io", "Event") => &event::Event,
        ("", "PodTemplate") => &pod_template::PodTemplate,
        ("apps", "ControllerRevision") => &controller_revision::ControllerRevision,
        ("apps", "Deployment") => &deployment::Deployment,
        ("apps", "ReplicaSet") => &replica_set::ReplicaSet,
        ("apps", "StatefulSet") => &stateful_set::StatefulSet,
        ("apps", "DaemonSet") => &daemon_set::DaemonSet,
        ("batch", "Job") => &job::Job,
        ("batch", "CronJob") => &cron_job::CronJob,
        ("autoscaling", "HorizontalPodAutoscaler") => {
            &horizontal_pod_autoscaler::HorizontalPodAutoscaler
        }
        ("policy", "PodDisruptionBudget") => &pod_disruption_budget::PodDisruptionBudget,
        ("networking.k8s.io", "Ingress") => &ingress::Ingress,
        ("networking.k8s.io", "IngressClass") => &ingress_class::IngressClass,
        ("networking.k8s.io", "NetworkPolicy") => &network_policy::NetworkPolicy,
        ("discovery.k8s.io", "EndpointSlice") => &endpoint_slice::EndpointSlice,
        ("coordination.k8s.io", "Lease") => &lease::Lease,
        ("storage.k8s.io", "StorageClass") => &storage_class::StorageClass,
        ("storage.k8s.io", "CSIDriver") => &csi_driver::CsiDriver,
        ("scheduling.k8s.io", "PriorityClass") => &priority_class::PriorityClass,
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => &rbac::Role,
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => &rbac::Binding,
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            &certificate_signing_request::CertificateSigningRequest
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            &custom_resource_definition::CustomResourceDefinition
        }
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => &webhook::Webhooks,
        (
            "admissionregistration.k8s.io",
            "ValidatingAdmissionPolicy" | "ValidatingAdmissionPolicyBinding",
        ) => &admission_policy::AdmissionPolicy,
        _ => &Plain,
    }
}

/// Everything a field selector may ask of an object of this kind.
pub fn selectable_fields(strategy: &dyn Strategy, object: &Value) -> Vec<(&'static str, String)> {
    ["metadata.name", "metadata.namespace"]
        .into_iter()
        .map(|field| (field, read_path(object, field)))
        .chain(
            strategy
                .selectable_field_names()
                .iter()
                .map(|field| (*field, strategy.selectable_field(object, field))),
        )
        .collect()
}

/// The scalar at a dotted path, as field selectors compare it.
fn read_path(object: &Value, path: &str) -> String {
    match path.split('.').fold(object, |value, key| &value[key]) {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
    }
}

fn reset_status(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
}

/// Replaces the status by the one every new object of its kind has.
fn start_status(object: &mut Value, status: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert("status".into(), status);
    }
}

/// Puts back what `old` has at `key`, absence included.
fn keep(object: &mut Value, old: &Value, key: &str) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    match old.get(key) {
        Some(value) => {
            fields.insert(key.into(), value.clone());
        }
        None => {
            fields.remove(key);
        }
    }
}

/// A status write changes status, and of metadata what is not labels.
fn keep_all_but_status(object: &mut Value, old: &Value) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    let mut kept = old.clone();
    for key in ["status", "metadata"] {
        match (fields.remove(key), kept.as_object_mut()) {
            (Some(value), Some(kept)) => {
                kept.insert(key.into(), value);
            }
            (None, Some(kept)) if key == "status" => {
                kept.remove(key);
            }
            _ => {}
        }
    }
    if let Some(metadata) = kept.get_mut("metadata") {
        keep(metadata, &old["metadata"], "labels");
    }
    *object = kept;
}

#[cfg(test)]
mod tests;
