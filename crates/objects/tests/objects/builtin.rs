//! The merge table of built-in kinds against the `DeepMerge` impls of k8s-openapi, which know merge keys by themselves.
//! Every published type with a list or a map takes part; what differs on purpose is listed with its reason.

use k8s_openapi::DeepMerge;
use k8s_openapi::schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// A published type: its schema's name, how to add its schema, and how its values merge.
struct Published {
    name: fn() -> String,
    add: fn(&mut SchemaGenerator),
    merge: fn(Value, Value) -> Result<Value, serde_json::Error>,
}

fn merge<T: DeserializeOwned + Serialize + DeepMerge>(
    old: Value,
    new: Value,
) -> Result<Value, serde_json::Error> {
    let mut merged: T = serde_json::from_value(old)?;
    merged.merge_from(serde_json::from_value(new)?);
    serde_json::to_value(merged)
}

macro_rules! published {
    ($($module:path: [$($name:ident),* $(,)?];)*) => {
        fn published() -> Vec<Published> {
            let mut all = Vec::new();
            $({
                use $module as module;
                $(all.push(Published {
                    name: || <module::$name as JsonSchema>::schema_name().into_owned(),
                    add: |generator| {
                        let _ = generator.subschema_for::<module::$name>();
                    },
                    merge: merge::<module::$name>,
                });)*
            })*
            all
        }
    };
}

published! {
    k8s_openapi::api::core::v1: [
        Capabilities, CephFSPersistentVolumeSource, CephFSVolumeSource, ComponentStatus,
        ConfigMap, ConfigMapProjection, ConfigMapVolumeSource, Container, ContainerImage,
        ContainerStatus, CSIPersistentVolumeSource, CSIVolumeSource, DownwardAPIProjection,
        DownwardAPIVolumeSource, EndpointSubset, Endpoints, EphemeralContainer, ExecAction,
        FCVolumeSource, FlexPersistentVolumeSource, FlexVolumeSource, HostAlias, HTTPGetAction,
        ISCSIPersistentVolumeSource, ISCSIVolumeSource, LimitRangeItem, LimitRangeSpec,
        LinuxContainerUser, LoadBalancerIngress, LoadBalancerStatus, NamespaceSpec,
        NamespaceStatus, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
        NodeSpec, NodeStatus, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus,
        PersistentVolumeSpec, PodAffinity, PodAffinityTerm, PodAntiAffinity, PodDNSConfig,
        PodSecurityContext, PodSpec, PodStatus, ProjectedVolumeSource, RBDPersistentVolumeSource,
        RBDVolumeSource, ReplicationControllerSpec, ReplicationControllerStatus,
        ResourceQuotaSpec, ResourceQuotaStatus, ResourceRequirements, ResourceStatus,
        ScopeSelector, ScopedResourceSelectorRequirement, Secret, SecretProjection,
        SecretVolumeSource, ServiceAccount, ServiceSpec, ServiceStatus,
        TopologySelectorLabelRequirement, TopologySelectorTerm, TopologySpreadConstraint,
        VolumeResourceRequirements,
    ];
    k8s_openapi::api::apps::v1: [
        DaemonSetStatus, DeploymentStatus, ReplicaSetStatus, StatefulSetSpec, StatefulSetStatus,
        DeploymentSpec, ControllerRevision,
    ];
    k8s_openapi::api::batch::v1: [
        CronJobStatus, JobStatus, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
        PodFailurePolicyRule, SuccessPolicy, UncountedTerminatedPods,
    ];
    k8s_openapi::api::rbac::v1: [
        AggregationRule, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding,
    ];
    k8s_openapi::api::networking::v1: [
        HTTPIngressRuleValue, IngressLoadBalancerIngress, IngressLoadBalancerStatus, IngressSpec,
        IngressTLS, IPBlock, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicySpec,
        ServiceCIDRSpec, ServiceCIDRStatus,
    ];
    k8s_openapi::api::discovery::v1: [
        Endpoint, EndpointHints, EndpointSlice,
    ];
    k8s_openapi::api::autoscaling::v2: [
        HorizontalPodAutoscalerSpec, HorizontalPodAutoscalerStatus, HPAScalingRules,
    ];
    k8s_openapi::api::policy::v1: [
        PodDisruptionBudgetStatus, PodDisruptionBudgetSpec,
    ];
    k8s_openapi::api::storage::v1: [
        CSIDriverSpec, CSINodeDriver, CSINodeSpec, StorageClass, VolumeAttachmentStatus,
    ];
    k8s_openapi::api::admissionregistration::v1: [
        MatchResources, MutatingWebhook, MutatingWebhookConfiguration, NamedRuleWithOperations,
        RuleWithOperations, TypeChecking, ValidatingAdmissionPolicyBindingSpec,
        ValidatingAdmissionPolicySpec, ValidatingAdmissionPolicyStatus, ValidatingWebhook,
        ValidatingWebhookConfiguration,
    ];
    k8s_openapi::api::certificates::v1: [
        CertificateSigningRequestSpec, CertificateSigningRequestStatus,
    ];
    k8s_openapi::api::flowcontrol::v1: [
        FlowSchemaSpec, FlowSchemaStatus, NonResourcePolicyRule, PolicyRulesWithSubjects,
        PriorityLevelConfigurationStatus, ResourcePolicyRule,
    ];
    k8s_openapi::api::node::v1: [
        Overhead, Scheduling,
    ];
    k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1: [
        CustomResourceDefinitionNames, CustomResourceDefinitionSpec,
        CustomResourceDefinitionStatus, CustomResourceDefinitionVersion, JSONSchemaProps,
        WebhookConversion,
    ];
    k8s_openapi::apimachinery::pkg::apis::meta::v1: [
        APIGroup, APIResource, APIResourceList, APIVersions, DeleteOptions,
        FieldSelectorRequirement, LabelSelector, LabelSelectorRequirement, ObjectMeta,
        StatusDetails,
    ];
    k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1: [
        APIServiceStatus,
    ];
    k8s_openapi::api::autoscaling::v1: [
        HorizontalPodAutoscalerSpec,
    ];
}

/// Lists whose merge behaviour differs from `DeepMerge` on purpose.
const EXCEPTIONS: [(&str, &str, &str); 1] = [(
    "io.k8s.api.apps.v1.StatefulSetSpec",
    "volumeClaimTemplates",
    "the crate merges by metadata; the API has an atomic list without a merge key",
)];

fn definitions() -> Map<String, Value> {
    let mut generator = k8s_openapi::schemars::generate::SchemaSettings::openapi3()
        .with(|settings| settings.transforms.clear())
        .into_generator();
    for published in published() {
        (published.add)(&mut generator);
    }
    let mut definitions = generator.take_definitions(false);
    objects::builtin::annotate_all(&mut definitions);
    definitions
}

fn resolved<'a>(definitions: &'a Map<String, Value>, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => &definitions[reference.rsplit('/').next().unwrap()],
        None => schema,
    }
}

/// The smallest value of a schema; `variant` tells values apart.
fn sample(definitions: &Map<String, Value>, schema: &Value, variant: u8) -> Value {
    let schema = resolved(definitions, schema);
    match schema["type"].as_str() {
        Some("string") => match schema["format"].as_str() {
            Some("date-time") => json!(format!("2026-01-0{}T00:00:00Z", variant + 1)),
            Some("byte") => json!(["YQ==", "Yg=="][variant as usize]),
            _ => json!(["a", "b"][variant as usize]),
        },
        Some("integer" | "number") => json!(variant),
        Some("boolean") => json!(variant == 1),
        Some("array") => json!([]),
        Some("object") => {
            let mut object = Map::new();
            for name in schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
            {
                object.insert(
                    name.to_owned(),
                    sample(definitions, &schema["properties"][name], variant),
                );
            }
            Value::Object(object)
        }
        _ => match schema["oneOf"].as_array() {
            // The last branch of a union is the plainer one.
            Some(branches) => sample(definitions, branches.last().unwrap(), variant),
            None => json!(["a", "b"][variant as usize]),
        },
    }
}

/// A list item with every scalar field set.
fn item(definitions: &Map<String, Value>, schema: &Value, variant: u8) -> Value {
    let mut item = sample(definitions, schema, variant);
    let schema = resolved(definitions, schema);
    if let (Some(fields), Some(properties)) =
        (item.as_object_mut(), schema["properties"].as_object())
    {
        for (name, property) in properties {
            let kind = resolved(definitions, property)["type"]
                .as_str()
                .unwrap_or_default();
            // An item that is a whole object knows its own kind.
            let is_identity = matches!(name.as_str(), "apiVersion" | "kind");
            if matches!(kind, "string" | "integer" | "boolean") && !is_identity {
                fields.insert(name.clone(), sample(definitions, property, variant));
            }
        }
    }
    item
}

struct Check<'a> {
    definitions: &'a Map<String, Value>,
    published: &'a Published,
    base: Value,
    failures: Vec<String>,
}

impl Check<'_> {
    fn merged(&self, field: &str, old: Value, new: Value) -> Value {
        let with = |value: Value| {
            let mut object = self.base.clone();
            object[field] = value;
            object
        };
        (self.published.merge)(with(old), with(new))
            .unwrap_or_else(|error| panic!("{field}: {error}"))[field]
            .take()
    }

    fn expect(&mut self, field: &str, what: &str, found: Value, expected: Value) {
        if found != expected {
            let name = (self.published.name)();
            self.failures.push(format!(
                "{name}.{field}: {what}: DeepMerge gives {found}, the table says {expected}"
            ));
        }
    }

    fn list(&mut self, field: &str, property: &Value) {
        let (a, b) = (
            item(self.definitions, &property["items"], 0),
            item(self.definitions, &property["items"], 1),
        );
        let merges = property["x-kubernetes-patch-strategy"]
            .as_str()
            .is_some_and(|strategy| strategy.contains("merge"));
        let list_type = property["x-kubernetes-list-type"]
            .as_str()
            .unwrap_or("atomic");
        let keys: Vec<&str> = match property["x-kubernetes-patch-merge-key"].as_str() {
            Some(key) => vec![key],
            None => {
                let keys = property["x-kubernetes-list-map-keys"].as_array();
                keys.into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect()
            }
        };
        let found = self.merged(field, json!([a]), json!([b]));
        if !merges && list_type == "atomic" {
            return self.expect(field, "an atomic list is replaced", found, json!([b]));
        }
        self.expect(field, "two items stay two", found, json!([a, b]));
        let found = self.merged(field, json!([a]), json!([a]));
        self.expect(field, "the same item stays one", found, json!([a]));
        if !b.is_object() {
            return;
        }
        // `b` with the keys of `a` is the same item as `a`; with any one key of its own it is another.
        let mut like_a = b.clone();
        for key in &keys {
            like_a[*key] = a[*key].clone();
        }
        let found = self.merged(field, json!([a]), json!([like_a]));
        self.expect(
            field,
            &format!("{keys:?} are the keys"),
            json!(found.as_array().map(Vec::len)),
            json!(1),
        );
        for key in &keys {
            let mut other = like_a.clone();
            other[*key] = b[*key].clone();
            let found = self.merged(field, json!([a]), json!([other]));
            self.expect(
                field,
                &format!("{key} is a key"),
                json!(found.as_array().map(Vec::len)),
                json!(2),
            );
        }
    }

    fn map(&mut self, field: &str, property: &Value) {
        let value = |variant| sample(self.definitions, &property["additionalProperties"], variant);
        let (a, b) = (value(0), value(1));
        let found = self.merged(field, json!({"x": a}), json!({"y": b}));
        let expected = match property["x-kubernetes-map-type"].as_str() {
            Some("atomic") => json!({"y": b}),
            _ => json!({"x": a, "y": b}),
        };
        self.expect(field, "a map", found, expected);
    }
}

#[test]
fn every_list_and_map_of_the_built_in_kinds_merges_as_the_published_types_do() {
    let definitions = definitions();
    let mut failures = Vec::new();
    let mut checked = 0;
    for published in published() {
        let name = (published.name)();
        let schema = &definitions[&name];
        let base = sample(&definitions, schema, 0);
        let mut check = Check {
            definitions: &definitions,
            published: &published,
            base,
            failures: Vec::new(),
        };
        for (field, property) in schema["properties"].as_object().into_iter().flatten() {
            if EXCEPTIONS
                .iter()
                .any(|(type_name, list, _)| *type_name == name && list == field)
            {
                continue;
            }
            match property["type"].as_str() {
                Some("array") => check.list(field, property),
                Some("object") if property["additionalProperties"].is_object() => {
                    check.map(field, property)
                }
                _ => continue,
            }
            checked += 1;
        }
        failures.extend(check.failures);
    }
    assert!(
        failures.is_empty(),
        "{} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert!(checked > 200, "only {checked} fields were checked");
}

#[test]
fn every_row_of_the_table_names_a_published_type_and_field() {
    let definitions = definitions();
    let mut strays = Vec::new();
    for (type_name, fields) in objects::builtin::rows() {
        let Some(schema) = definitions.get(type_name) else {
            strays.push(type_name.to_owned());
            continue;
        };
        let missing = fields
            .into_iter()
            .filter(|field| schema["properties"].get(field).is_none());
        strays.extend(missing.map(|field| format!("{type_name}.{field}")));
    }
    assert!(strays.is_empty(), "{strays:#?}");
}
