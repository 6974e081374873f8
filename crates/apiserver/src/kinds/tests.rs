//! What holds for the rules of every kind.

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

/// One small manifest per kind, made complete, must be what the published types read and write: a
/// default under a misspelled name would be lost on the way.
macro_rules! published {
    ($($test:ident: $type:ty, $group:literal, $kind:literal, $manifest:tt;)*) => {$(
        #[test]
        fn $test() {
            let rules = strategy($group, $kind);
            let mut object = json!($manifest);
            object["metadata"] = json!({"name": "x", "namespace": "ns", "uid": "u"});
            rules.default(&mut object);
            rules.prepare_create(&mut object);
            rules.default(&mut object);
            let typed: $type = serde_json::from_value(object.clone()).expect("the published type reads it");
            let mut written = serde_json::to_value(&typed).expect("the published type writes it");
            for key in ["apiVersion", "kind"] {
                written.as_object_mut().map(|fields| fields.remove(key));
                object.as_object_mut().map(|fields| fields.remove(key));
            }
            assert!(super::fields::is_same(&object, &written), "{object:#}\n is not\n{written:#}");
        }
    )*};
}

published! {
    a_pod_is_as_published: k8s_openapi::api::core::v1::Pod, "", "Pod", {"spec": {
        "hostNetwork": true, "schedulingGates": [{"name": "g"}],
        "containers": [{
            "name": "a", "image": "a", "ports": [{"containerPort": 80}],
            "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
            "resources": {"limits": {"cpu": 1}},
            "livenessProbe": {"httpGet": {"port": 80}}, "readinessProbe": {"grpc": {"port": 1}},
            "lifecycle": {"preStop": {"httpGet": {"port": 80}}},
        }],
        "volumes": [
            {"name": "a"}, {"name": "b", "secret": {"secretName": "s"}}, {"name": "c", "configMap": {"name": "c"}},
            {"name": "d", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            {"name": "e", "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {"name": "f", "hostPath": {"path": "/x"}}, {"name": "g", "iscsi": {"iqn": "i", "lun": 0, "targetPortal": "t"}},
            {"name": "h", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
        ],
    }};
    a_service_is_as_published: k8s_openapi::api::core::v1::Service, "", "Service",
        {"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP", "ports": [{"port": 80}], "clusterIP": "10.96.0.9"}};
    an_endpoints_is_as_published: k8s_openapi::api::core::v1::Endpoints, "", "Endpoints",
        {"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 1}]}]};
    a_secret_is_as_published: k8s_openapi::api::core::v1::Secret, "", "Secret", {"stringData": {"a": "b"}};
    a_namespace_is_as_published: k8s_openapi::api::core::v1::Namespace, "", "Namespace", {};
    a_node_is_as_published: k8s_openapi::api::core::v1::Node, "", "Node", {"status": {"capacity": {"cpu": 4}}};
    a_volume_is_as_published: k8s_openapi::api::core::v1::PersistentVolume, "", "PersistentVolume",
        {"spec": {"hostPath": {"path": "/x"}, "capacity": {"storage": "1024Mi"}}};
    a_claim_is_as_published: k8s_openapi::api::core::v1::PersistentVolumeClaim, "", "PersistentVolumeClaim", {"spec": {}};
    a_replication_controller_is_as_published: k8s_openapi::api::core::v1::ReplicationController, "", "ReplicationController",
        {"spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}}};
    a_limit_range_is_as_published: k8s_openapi::api::core::v1::LimitRange, "", "LimitRange",
        {"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}};
    a_resource_quota_is_as_published: k8s_openapi::api::core::v1::ResourceQuota, "", "ResourceQuota", {"spec": {"hard": {"cpu": 1}}};
    a_pod_template_is_as_published: k8s_openapi::api::core::v1::PodTemplate, "", "PodTemplate",
        {"template": {"spec": {"containers": [{"name": "a"}]}}};
    a_deployment_is_as_published: k8s_openapi::api::apps::v1::Deployment, "apps", "Deployment",
        {"spec": {"selector": {}, "template": {"spec": {"containers": []}}}};
    a_replica_set_is_as_published: k8s_openapi::api::apps::v1::ReplicaSet, "apps", "ReplicaSet", {"spec": {"selector": {}}};
    a_stateful_set_is_as_published: k8s_openapi::api::apps::v1::StatefulSet, "apps", "StatefulSet",
        {"spec": {"selector": {}, "serviceName": "s", "template": {"spec": {"containers": []}}, "volumeClaimTemplates": [{"metadata": {"name": "c"}}]}};
    a_daemon_set_is_as_published: k8s_openapi::api::apps::v1::DaemonSet, "apps", "DaemonSet",
        {"spec": {"selector": {}, "template": {"spec": {"containers": []}}}};
    a_job_is_as_published: k8s_openapi::api::batch::v1::Job, "batch", "Job",
        {"spec": {"template": {"spec": {"containers": []}}, "podFailurePolicy": {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "t"}]}]}}};
    a_cron_job_is_as_published: k8s_openapi::api::batch::v1::CronJob, "batch", "CronJob",
        {"spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": {"spec": {"containers": []}}}}}};
    an_autoscaler_is_as_published: k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler, "autoscaling", "HorizontalPodAutoscaler",
        {"spec": {"maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "d"}, "behavior": {"scaleUp": {}, "scaleDown": {}}}};
    a_disruption_budget_is_as_published: k8s_openapi::api::policy::v1::PodDisruptionBudget, "policy", "PodDisruptionBudget", {"spec": {}};
    an_ingress_is_as_published: k8s_openapi::api::networking::v1::Ingress, "networking.k8s.io", "Ingress", {"spec": {}};
    an_ingress_class_is_as_published: k8s_openapi::api::networking::v1::IngressClass, "networking.k8s.io", "IngressClass",
        {"spec": {"controller": "a.b/c", "parameters": {"kind": "K", "name": "n"}}};
    a_network_policy_is_as_published: k8s_openapi::api::networking::v1::NetworkPolicy, "networking.k8s.io", "NetworkPolicy",
        {"spec": {"podSelector": {}, "egress": [{"ports": [{"port": 1}]}]}};
    an_endpoint_slice_is_as_published: k8s_openapi::api::discovery::v1::EndpointSlice, "discovery.k8s.io", "EndpointSlice",
        {"addressType": "IPv4", "endpoints": [], "ports": [{"port": 1}]};
    a_storage_class_is_as_published: k8s_openapi::api::storage::v1::StorageClass, "storage.k8s.io", "StorageClass", {"provisioner": "p"};
    a_csi_driver_is_as_published: k8s_openapi::api::storage::v1::CSIDriver, "storage.k8s.io", "CSIDriver", {"spec": {}};
    a_priority_class_is_as_published: k8s_openapi::api::scheduling::v1::PriorityClass, "scheduling.k8s.io", "PriorityClass", {"value": 1};
    a_binding_is_as_published: k8s_openapi::api::rbac::v1::RoleBinding, "rbac.authorization.k8s.io", "RoleBinding",
        {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "Group", "name": "g"}]};
    a_definition_is_as_published: k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
        "apiextensions.k8s.io", "CustomResourceDefinition",
        {"spec": {"group": "a.b", "scope": "Cluster", "names": {"kind": "K", "plural": "ks"}, "versions": [{"name": "v1", "storage": true}]}};
    a_mutating_webhook_is_as_published: k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration,
        "admissionregistration.k8s.io", "MutatingWebhookConfiguration",
        {"kind": "MutatingWebhookConfiguration", "webhooks": [{
            "name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "s", "namespace": "n"}}, "rules": [{}],
        }]};
    a_validating_policy_is_as_published: k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy,
        "admissionregistration.k8s.io", "ValidatingAdmissionPolicy", {"spec": {"matchConstraints": {"resourceRules": [{}]}}};
}
