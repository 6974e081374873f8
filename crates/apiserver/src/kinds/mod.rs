//! The rules of built-in kinds that a schema cannot say: defaults, what a write may touch,
//! what must be true between fields, what may never change. One file per kind.
//!
//! Mirrors Kubernetes v1.33 (`pkg/apis/*/v1/defaults.go`, `pkg/registry/*/strategy.go`,
//! `pkg/apis/*/validation`). Types, enums and required fields are the schema's to check; names of other
//! objects are admission's; `metadata.generation`, uids and times are the verbs'.

pub mod fields;
mod metadata;

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
mod service_account;

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
mod custom_resource_definition;
mod webhook;

mod event;
mod horizontal_pod_autoscaler;
mod lease;
mod pod_disruption_budget;

use objects::FieldError;
use serde_json::Value;

pub use metadata::{validate_metadata, validate_metadata_update};

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
        ("", "ServiceAccount") => &service_account::ServiceAccount,
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
mod tests {
    use super::Strategy as Rules;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const KINDS: [(&str, &str); 38] = [
        ("", "Pod"),
        ("", "Service"),
        ("", "Endpoints"),
        ("", "ConfigMap"),
        ("", "Secret"),
        ("", "ServiceAccount"),
        ("", "Namespace"),
        ("", "Node"),
        ("", "PersistentVolume"),
        ("", "PersistentVolumeClaim"),
        ("", "ReplicationController"),
        ("", "ResourceQuota"),
        ("", "LimitRange"),
        ("", "Event"),
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("batch", "Job"),
        ("batch", "CronJob"),
        ("autoscaling", "HorizontalPodAutoscaler"),
        ("policy", "PodDisruptionBudget"),
        ("networking.k8s.io", "Ingress"),
        ("networking.k8s.io", "NetworkPolicy"),
        ("discovery.k8s.io", "EndpointSlice"),
        ("coordination.k8s.io", "Lease"),
        ("storage.k8s.io", "StorageClass"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration",
        ),
        ("", "PodTemplate"),
        ("apps", "ControllerRevision"),
        ("networking.k8s.io", "IngressClass"),
        ("storage.k8s.io", "CSIDriver"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("example.com", "Widget"),
    ];

    /// One object that has something of every kind in it, so that damage to it reaches every rule.
    fn everything() -> Value {
        let container = json!({
            "name": "a", "image": "a:1", "ports": [{"containerPort": 80, "name": "http"}],
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "envFrom": [{"configMapRef": {"name": "c"}}],
            "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "livenessProbe": {"httpGet": {"port": 80}}, "lifecycle": {"preStop": {"exec": {"command": ["x"]}}},
        });
        let pod = json!({
            "containers": [container], "initContainers": [container], "ephemeralContainers": [container],
            "volumes": [{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}],
            "tolerations": [{"key": "k", "operator": "Exists"}], "hostNetwork": true,
            "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]}}},
            "schedulingGates": [{"name": "g"}], "topologySpreadConstraints": [{"maxSkew": 1}],
        });
        let mut spec = pod.as_object().unwrap().clone();
        let more = json!({
            "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod},
            "strategy": {"type": "RollingUpdate"}, "updateStrategy": {"type": "RollingUpdate"},
            "jobTemplate": {"spec": {"template": {"spec": pod}}}, "schedule": "* * * * *",
            "type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}], "clusterIP": "10.96.0.9",
            "sessionAffinity": "ClientIP", "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}, "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"},
            "hard": {"cpu": "1"}, "limits": [{"type": "Container", "max": {"cpu": "1"}}],
            "volumeClaimTemplates": [{"metadata": {"name": "v"}, "spec": {}}],
            "rules": [{"http": {"paths": [{"path": "/", "backend": {"service": {"name": "s"}}}]}}],
            "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 1}]}],
            "names": {"plural": "ws", "kind": "W"}, "group": "a.b", "taints": [{"key": "k", "effect": "NoSchedule"}],
            "versions": [{"name": "v1", "storage": true, "schema": {"openAPIV3Schema": {}}, "additionalPrinterColumns": [{}]}],
            "podFailurePolicy": {"rules": [{"onPodConditions": [{}]}]}, "finalizers": ["kubernetes"],
            "conversion": {"webhook": {"clientConfig": {"service": {}}}},
        });
        spec.extend(more.as_object().unwrap().clone());
        json!({
            "metadata": {"name": "x", "namespace": "ns", "uid": "u", "labels": {"a": "b"}, "finalizers": ["a.b/c"]},
            "spec": spec, "data": {"a": "eA=="}, "stringData": {"b": "y"}, "type": "kubernetes.io/tls",
            "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 1}]}],
            "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 1}], "addressType": "IPv4",
            "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}],
            "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}],
            "webhooks": [{"name": "a.b.c", "rules": [{}], "clientConfig": {"service": {}}}],
            "involvedObject": {"namespace": "ns"},
            "status": {"phase": "Bound", "capacity": {"cpu": "1"}, "storedVersions": ["v1"], "conditions": [{"type": "Complete", "status": "True"}], "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 1}}}]},
        })
    }

    /// Replaces the value that a walk of random turns ends at.
    fn damage(value: &mut Value, turns: &[usize], junk: Value) {
        let Some((turn, rest)) = turns.split_first() else {
            *value = junk;
            return;
        };
        match value {
            Value::Object(map) if !map.is_empty() => {
                let index = turn % map.len();
                let child = map.values_mut().nth(index).expect("the index is in range");
                damage(child, rest, junk);
            }
            Value::Array(list) if !list.is_empty() => {
                let index = turn % list.len();
                damage(&mut list[index], rest, junk);
            }
            _ => *value = junk,
        }
    }

    fn junk() -> impl proptest::strategy::Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            Just(json!(true)),
            Just(json!(-1)),
            Just(json!(1.5)),
            Just(json!("")),
            Just(json!("ünï/code..%")),
            Just(json!([])),
            Just(json!([null, 1, "x", {}])),
            Just(json!({})),
            Just(json!({"a": {"b": []}})),
        ]
    }

    /// Everything that is done to an object, once.
    fn run_all_rules(rules: &dyn Rules, object: &Value, old: &Value) {
        let mut new = object.clone();
        rules.default(&mut new);
        let mut created = new.clone();
        rules.prepare_create(&mut created);
        let mut updated = new.clone();
        rules.prepare_update(&mut updated, old);
        let mut status = new.clone();
        rules.prepare_status_update(&mut status, old);
        let _ = rules.validate_create(&created);
        let _ = rules.validate_update(&updated, old);
        let _ = rules.validate_status_update(&status, old);
        let _ = selectable_fields(rules, &new);
        let _ = validate_metadata(rules, &new, true);
        let _ = validate_metadata_update(rules, &new, old, true);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_shape_of_object_makes_the_rules_of_a_kind_panic(
            new_turns in prop::collection::vec(0usize..50, 0..9),
            old_turns in prop::collection::vec(0usize..50, 0..9),
            new_junk in junk(),
            old_junk in junk(),
            kind in 0..KINDS.len(),
        ) {
            let (mut new, mut old) = (everything(), everything());
            damage(&mut new, &new_turns, new_junk);
            damage(&mut old, &old_turns, old_junk);
            let (group, kind) = KINDS[kind];
            run_all_rules(strategy(group, kind), &new, &old);
        }

        #[test]
        fn defaulting_a_second_time_changes_nothing(
            turns in prop::collection::vec(0usize..50, 0..9),
            junk in junk(),
            kind in 0..KINDS.len(),
        ) {
            let mut object = everything();
            damage(&mut object, &turns, junk);
            let (group, kind) = KINDS[kind];
            let mut once = object.clone();
            strategy(group, kind).default(&mut once);
            let mut twice = once.clone();
            strategy(group, kind).default(&mut twice);
            prop_assert_eq!(&once, &twice, "{}", kind);
        }
    }

    #[test]
    fn every_kind_with_rules_is_found_by_its_name_and_any_other_has_none() {
        assert!(strategy("apps", "Deployment").has_generation());
        assert!(!strategy("example.com", "Deployment").has_generation());
    }

    #[test]
    fn an_update_keeps_the_status_and_a_status_write_keeps_the_spec() {
        let rules = strategy("example.com", "Widget");
        let old = json!({"metadata": {"name": "x", "labels": {"a": "1"}}, "spec": {"a": 1}, "status": {"b": 1}});
        let written = json!({"metadata": {"name": "x", "labels": {"a": "2"}}, "spec": {"a": 2}, "status": {"b": 2}});
        let mut update = written.clone();
        rules.prepare_update(&mut update, &old);
        assert_eq!(update["status"]["b"], 1);
        assert_eq!(update["spec"]["a"], 2);
        let mut status = written;
        rules.prepare_status_update(&mut status, &old);
        assert_eq!(
            (&status["spec"]["a"], &status["status"]["b"]),
            (&json!(1), &json!(2))
        );
        assert_eq!(status["metadata"]["labels"]["a"], "1");
    }
}
