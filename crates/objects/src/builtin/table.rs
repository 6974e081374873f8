//! The merge behaviour of built-in types, by definition name and JSON field.
//! Facts of Kubernetes 1.33. A list that is not named is atomic; a map that is not named merges entry by entry.

use serde_json::{Map, Value, json};

/// One thing the published schema leaves unsaid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Word {
    /// A list of scalars that merges as a set.
    Set,
    /// A list that merges by these keys of its items.
    Map(&'static [&'static str]),
    /// A map that merges as a whole.
    Atomic,
    /// Strategic merge: merge the list of scalars.
    Merge,
    /// Strategic merge: merge the list by this key.
    MergeBy(&'static str),
    /// Strategic merge: merge the list by this key, and drop what `$retainKeys` does not name.
    MergeByRetaining(&'static str),
    /// Strategic merge: drop what `$retainKeys` does not name.
    RetainKeys,
    /// Strategic merge: replace the map.
    Replace,
    /// Anything may stand below.
    Preserve,
    /// Any JSON type.
    Untyped,
    /// The value that an absent field has in the key of a list item.
    Default(&'static str),
}

impl Word {
    /// Adds the word to a JSON schema.
    pub(super) fn write(self, schema: &mut Map<String, Value>) {
        let mut put = |word: &str, value: Value| {
            schema.insert(word.to_owned(), value);
        };
        match self {
            Self::Set => put("x-kubernetes-list-type", json!("set")),
            Self::Map(keys) => {
                put("x-kubernetes-list-type", json!("map"));
                put("x-kubernetes-list-map-keys", json!(keys));
            }
            Self::Atomic => put("x-kubernetes-map-type", json!("atomic")),
            Self::Merge => put("x-kubernetes-patch-strategy", json!("merge")),
            Self::MergeBy(key) => {
                put("x-kubernetes-patch-strategy", json!("merge"));
                put("x-kubernetes-patch-merge-key", json!(key));
            }
            Self::MergeByRetaining(key) => {
                put("x-kubernetes-patch-strategy", json!("merge,retainKeys"));
                put("x-kubernetes-patch-merge-key", json!(key));
            }
            Self::RetainKeys => put("x-kubernetes-patch-strategy", json!("retainKeys")),
            Self::Replace => put("x-kubernetes-patch-strategy", json!("replace")),
            Self::Preserve => put("x-kubernetes-preserve-unknown-fields", json!(true)),
            Self::Untyped => {
                schema.remove("type");
            }
            Self::Default(value) => put("default", json!(value)),
        }
    }
}

use Word::{
    Atomic, Default, Map as Keyed, Merge, MergeBy, MergeByRetaining, Preserve, Replace, RetainKeys,
    Set, Untyped,
};

/// What holds for a type wherever it is used.
pub(super) const TYPES: &[(&str, &[Word])] = &[
    (
        "io.k8s.api.admissionregistration.v1.MatchResources",
        &[Atomic],
    ),
    (
        "io.k8s.api.admissionregistration.v1.NamedRuleWithOperations",
        &[Atomic],
    ),
    ("io.k8s.api.admissionregistration.v1.ParamKind", &[Atomic]),
    ("io.k8s.api.admissionregistration.v1.ParamRef", &[Atomic]),
    (
        "io.k8s.api.autoscaling.v1.CrossVersionObjectReference",
        &[Atomic],
    ),
    ("io.k8s.api.core.v1.ConfigMapKeySelector", &[Atomic]),
    ("io.k8s.api.core.v1.EndpointAddress", &[Atomic]),
    ("io.k8s.api.core.v1.EndpointPort", &[Atomic]),
    ("io.k8s.api.core.v1.LocalObjectReference", &[Atomic]),
    ("io.k8s.api.core.v1.NodeSelector", &[Atomic]),
    ("io.k8s.api.core.v1.NodeSelectorTerm", &[Atomic]),
    ("io.k8s.api.core.v1.ObjectFieldSelector", &[Atomic]),
    ("io.k8s.api.core.v1.ObjectReference", &[Atomic]),
    ("io.k8s.api.core.v1.ResourceFieldSelector", &[Atomic]),
    ("io.k8s.api.core.v1.ScopeSelector", &[Atomic]),
    ("io.k8s.api.core.v1.SecretKeySelector", &[Atomic]),
    ("io.k8s.api.core.v1.SecretReference", &[Atomic]),
    ("io.k8s.api.core.v1.TopologySelectorTerm", &[Atomic]),
    ("io.k8s.api.core.v1.TypedLocalObjectReference", &[Atomic]),
    ("io.k8s.api.discovery.v1.EndpointPort", &[Atomic]),
    ("io.k8s.api.networking.v1.ServiceBackendPort", &[Atomic]),
    ("io.k8s.api.rbac.v1.RoleRef", &[Atomic]),
    ("io.k8s.api.rbac.v1.Subject", &[Atomic]),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
        &[Untyped, Preserve],
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
        &[Preserve, Atomic],
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector",
        &[Atomic],
    ),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.OwnerReference",
        &[Atomic],
    ),
    (
        "io.k8s.apimachinery.pkg.runtime.RawExtension",
        &[Preserve, Atomic],
    ),
];

type Fields = &'static [(&'static str, &'static [Word])];

const CONDITIONS: &[Word] = &[Keyed(&["type"]), MergeBy("type")];
const CONDITIONS_WITHOUT_PATCH: &[Word] = &[Keyed(&["type"])];
const BY_NAME: &[Word] = &[Keyed(&["name"]), MergeBy("name")];

const CONTAINER: Fields = &[
    ("env", BY_NAME),
    (
        "ports",
        &[
            Keyed(&["containerPort", "protocol"]),
            MergeBy("containerPort"),
        ],
    ),
    (
        "volumeDevices",
        &[Keyed(&["devicePath"]), MergeBy("devicePath")],
    ),
    (
        "volumeMounts",
        &[Keyed(&["mountPath"]), MergeBy("mountPath")],
    ),
];

const STATUS_WITH_CONDITIONS: Fields = &[("conditions", CONDITIONS)];
const STATUS_WITH_PLAIN_CONDITIONS: Fields = &[("conditions", CONDITIONS_WITHOUT_PATCH)];
const WEBHOOK: Fields = &[("matchConditions", BY_NAME)];
const WEBHOOKS: Fields = &[("webhooks", BY_NAME)];

/// What holds for one field of a type.
pub(super) const FIELDS: &[(&str, Fields)] = &[
    // admissionregistration
    (
        "io.k8s.api.admissionregistration.v1.MutatingWebhook",
        WEBHOOK,
    ),
    (
        "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration",
        WEBHOOKS,
    ),
    (
        "io.k8s.api.admissionregistration.v1.ValidatingWebhook",
        WEBHOOK,
    ),
    (
        "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration",
        WEBHOOKS,
    ),
    (
        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBindingSpec",
        &[("validationActions", &[Set])],
    ),
    (
        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicySpec",
        &[("matchConditions", BY_NAME), ("variables", BY_NAME)],
    ),
    (
        "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyStatus",
        STATUS_WITH_PLAIN_CONDITIONS,
    ),
    // apiextensions, apiregistration
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionStatus",
        STATUS_WITH_PLAIN_CONDITIONS,
    ),
    (
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps",
        &[(
            "x-kubernetes-validations",
            &[Keyed(&["rule"]), MergeBy("rule")],
        )],
    ),
    (
        "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIServiceStatus",
        STATUS_WITH_CONDITIONS,
    ),
    // apps
    ("io.k8s.api.apps.v1.DaemonSetStatus", STATUS_WITH_CONDITIONS),
    (
        "io.k8s.api.apps.v1.DeploymentSpec",
        &[("strategy", &[RetainKeys])],
    ),
    (
        "io.k8s.api.apps.v1.DeploymentStatus",
        STATUS_WITH_CONDITIONS,
    ),
    (
        "io.k8s.api.apps.v1.ReplicaSetStatus",
        STATUS_WITH_CONDITIONS,
    ),
    (
        "io.k8s.api.apps.v1.StatefulSetStatus",
        STATUS_WITH_CONDITIONS,
    ),
    // autoscaling
    (
        "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerStatus",
        STATUS_WITH_CONDITIONS,
    ),
    // batch
    (
        "io.k8s.api.batch.v1.JobStatus",
        &[("conditions", &[MergeBy("type")])],
    ),
    (
        "io.k8s.api.batch.v1.PodFailurePolicyOnExitCodesRequirement",
        &[("values", &[Set])],
    ),
    (
        "io.k8s.api.batch.v1.UncountedTerminatedPods",
        &[("failed", &[Set]), ("succeeded", &[Set])],
    ),
    // certificates
    (
        "io.k8s.api.certificates.v1.CertificateSigningRequestStatus",
        STATUS_WITH_PLAIN_CONDITIONS,
    ),
    // core
    ("io.k8s.api.core.v1.ComponentStatus", STATUS_WITH_CONDITIONS),
    ("io.k8s.api.core.v1.Container", CONTAINER),
    (
        "io.k8s.api.core.v1.ContainerPort",
        &[("protocol", &[Default("TCP")])],
    ),
    (
        "io.k8s.api.core.v1.ContainerStatus",
        &[
            ("allocatedResourcesStatus", BY_NAME),
            (
                "volumeMounts",
                &[Keyed(&["mountPath"]), MergeBy("mountPath")],
            ),
        ],
    ),
    ("io.k8s.api.core.v1.EphemeralContainer", CONTAINER),
    ("io.k8s.api.core.v1.NamespaceStatus", STATUS_WITH_CONDITIONS),
    (
        "io.k8s.api.core.v1.NodeSpec",
        &[("podCIDRs", &[Set, Merge])],
    ),
    (
        "io.k8s.api.core.v1.NodeStatus",
        &[
            ("addresses", &[Keyed(&["type"]), MergeBy("type")]),
            ("conditions", CONDITIONS),
        ],
    ),
    (
        "io.k8s.api.core.v1.PersistentVolumeClaimStatus",
        STATUS_WITH_CONDITIONS,
    ),
    (
        "io.k8s.api.core.v1.PodSpec",
        &[
            ("containers", BY_NAME),
            ("ephemeralContainers", BY_NAME),
            ("hostAliases", &[Keyed(&["ip"]), MergeBy("ip")]),
            ("imagePullSecrets", BY_NAME),
            ("initContainers", BY_NAME),
            ("nodeSelector", &[Atomic]),
            (
                "resourceClaims",
                &[Keyed(&["name"]), MergeByRetaining("name")],
            ),
            ("schedulingGates", BY_NAME),
            (
                "topologySpreadConstraints",
                &[
                    Keyed(&["topologyKey", "whenUnsatisfiable"]),
                    MergeBy("topologyKey"),
                ],
            ),
            ("volumes", &[Keyed(&["name"]), MergeByRetaining("name")]),
        ],
    ),
    (
        "io.k8s.api.core.v1.PodStatus",
        &[
            ("conditions", CONDITIONS),
            ("hostIPs", &[MergeBy("ip")]),
            ("podIPs", &[Keyed(&["ip"]), MergeBy("ip")]),
            (
                "resourceClaimStatuses",
                &[Keyed(&["name"]), MergeByRetaining("name")],
            ),
        ],
    ),
    (
        "io.k8s.api.core.v1.ReplicationControllerSpec",
        &[("selector", &[Atomic])],
    ),
    (
        "io.k8s.api.core.v1.ReplicationControllerStatus",
        STATUS_WITH_CONDITIONS,
    ),
    (
        "io.k8s.api.core.v1.ResourceRequirements",
        &[("claims", &[Keyed(&["name"])])],
    ),
    (
        "io.k8s.api.core.v1.ResourceStatus",
        &[("resources", &[Keyed(&["resourceID"])])],
    ),
    ("io.k8s.api.core.v1.ServiceAccount", &[("secrets", BY_NAME)]),
    (
        "io.k8s.api.core.v1.ServicePort",
        &[("protocol", &[Default("TCP")])],
    ),
    (
        "io.k8s.api.core.v1.ServiceSpec",
        &[
            ("ports", &[Keyed(&["port", "protocol"]), MergeBy("port")]),
            ("selector", &[Atomic]),
        ],
    ),
    ("io.k8s.api.core.v1.ServiceStatus", STATUS_WITH_CONDITIONS),
    // discovery
    ("io.k8s.api.discovery.v1.Endpoint", &[("addresses", &[Set])]),
    // flowcontrol
    (
        "io.k8s.api.flowcontrol.v1.FlowSchemaStatus",
        STATUS_WITH_CONDITIONS,
    ),
    (
        "io.k8s.api.flowcontrol.v1.NonResourcePolicyRule",
        &[("nonResourceURLs", &[Set]), ("verbs", &[Set])],
    ),
    (
        "io.k8s.api.flowcontrol.v1.PriorityLevelConfigurationStatus",
        STATUS_WITH_CONDITIONS,
    ),
    (
        "io.k8s.api.flowcontrol.v1.ResourcePolicyRule",
        &[
            ("apiGroups", &[Set]),
            ("namespaces", &[Set]),
            ("resources", &[Set]),
            ("verbs", &[Set]),
        ],
    ),
    // networking, node, policy, storage
    (
        "io.k8s.api.networking.v1.ServiceCIDRStatus",
        STATUS_WITH_CONDITIONS,
    ),
    (
        "io.k8s.api.node.v1.Scheduling",
        &[("nodeSelector", &[Atomic])],
    ),
    (
        "io.k8s.api.policy.v1.PodDisruptionBudgetSpec",
        &[("selector", &[Replace])],
    ),
    (
        "io.k8s.api.policy.v1.PodDisruptionBudgetStatus",
        STATUS_WITH_CONDITIONS,
    ),
    (
        "io.k8s.api.storage.v1.CSIDriverSpec",
        &[("volumeLifecycleModes", &[Set])],
    ),
    ("io.k8s.api.storage.v1.CSINodeSpec", &[("drivers", BY_NAME)]),
    // meta
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
        &[
            ("finalizers", &[Set, Merge]),
            ("ownerReferences", &[Keyed(&["uid"]), MergeBy("uid")]),
        ],
    ),
];
