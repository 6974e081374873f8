//! The table of built-in kinds, Kubernetes 1.33: every stable kind, stored and validated by its published schema even
//! where nothing of ours acts on it yet.

use k8s_openapi::Resource as _;
use k8s_openapi::api as k;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1 as extensions;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1 as aggregation;
use schemars::{Schema, SchemaGenerator};

use super::{Conversion, Scale, Subresource};

/// One built-in kind in one version.
#[derive(Debug)]
pub struct Builtin {
    /// API group, empty for the core group.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Path segment.
    pub plural: &'static str,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether it is stored; the others only answer `create`.
    pub stored: bool,
    /// Abbreviations.
    pub short_names: &'static [&'static str],
    /// Groups such as `all`.
    pub categories: &'static [&'static str],
    /// Name of the Rust type's schema and how to make it.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
    /// Name of the definition in OpenAPI documents.
    pub definition: fn() -> String,
    /// What hangs below.
    subresources: &'static [Sub],
}

/// A subresource in the table.
#[derive(Clone, Copy, Debug)]
enum Sub {
    Status,
    Scale,
    Named(
        &'static str,
        (&'static str, &'static str, &'static str),
        &'static [&'static str],
    ),
}

impl Builtin {
    /// The subresources as the verbs know them.
    pub fn subresources(&self) -> Vec<Subresource> {
        self.subresources
            .iter()
            .map(|sub| match *sub {
                Sub::Status => Subresource::Status,
                Sub::Scale => Subresource::Scale(Scale {
                    spec_replicas: ".spec.replicas".into(),
                    status_replicas: ".status.replicas".into(),
                    selector: Some(".spec.selector".into()),
                }),
                Sub::Named(name, kind, verbs) => Subresource::Named { name, kind, verbs },
            })
            .collect()
    }

    /// `group/version` in which its objects are stored, and under which group they are filed.
    pub fn storage(&self) -> (&'static str, String, Conversion) {
        match (self.group, self.version, self.kind) {
            ("" | "events.k8s.io", _, "Event") => ("", "v1".into(), Conversion::Events),
            ("autoscaling", _, "HorizontalPodAutoscaler") => (
                "autoscaling",
                "autoscaling/v2".into(),
                Conversion::Autoscalers,
            ),
            (group, version, _) => (
                group,
                super::resource::api_version(group, version),
                Conversion::ApiVersion,
            ),
        }
    }
}

macro_rules! kind {
    ($type:ty, $scope:ident, $stored:literal, [$($short:literal),*], [$($category:literal),*], [$($sub:expr),*]) => {
        Builtin {
            group: <$type>::GROUP,
            version: <$type>::VERSION,
            kind: <$type>::KIND,
            plural: <$type>::URL_PATH_SEGMENT,
            namespaced: kind!(@ $scope),
            stored: $stored,
            short_names: &[$($short),*],
            categories: &[$($category),*],
            schema: |generator| generator.subschema_for::<$type>(),
            definition: || <$type as schemars::JsonSchema>::schema_name().into_owned(),
            subresources: &[$($sub),*],
        }
    };
    (@ namespaced) => { true };
    (@ cluster) => { false };
}

const GET: &[&str] = &["get"];
pub(super) const CREATE: &[&str] = &["create"];
const CONNECT: &[&str] = &["create", "get"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];
const EDIT: &[&str] = &["get", "patch", "update"];
const APPROVE: &[&str] = &["get", "patch", "update"];

const SCALED: [Sub; 2] = [Sub::Status, Sub::Scale];

/// Every built-in kind. Within a group the preferred version comes first.
pub static BUILTINS: &[Builtin] = &[
    kind!(
        k::core::v1::Namespace,
        cluster,
        true,
        ["ns"],
        [],
        [
            Sub::Status,
            Sub::Named("finalize", ("", "v1", "Namespace"), &["update"])
        ]
    ),
    kind!(
        k::core::v1::Pod,
        namespaced,
        true,
        ["po"],
        ["all"],
        [
            Sub::Status,
            Sub::Named("attach", ("", "v1", "PodAttachOptions"), CONNECT),
            Sub::Named("binding", ("", "v1", "Binding"), CREATE),
            Sub::Named("ephemeralcontainers", ("", "v1", "Pod"), EDIT),
            Sub::Named("eviction", ("policy", "v1", "Eviction"), CREATE),
            Sub::Named("exec", ("", "v1", "PodExecOptions"), CONNECT),
            Sub::Named("log", ("", "v1", "Pod"), GET),
            Sub::Named("portforward", ("", "v1", "PodPortForwardOptions"), CONNECT),
            Sub::Named("proxy", ("", "v1", "PodProxyOptions"), PROXY),
            Sub::Named("resize", ("", "v1", "Pod"), EDIT)
        ]
    ),
    kind!(
        k::core::v1::Service,
        namespaced,
        true,
        ["svc"],
        ["all"],
        [
            Sub::Status,
            Sub::Named("proxy", ("", "v1", "ServiceProxyOptions"), PROXY)
        ]
    ),
    kind!(k::core::v1::Endpoints, namespaced, true, ["ep"], [], []),
    kind!(k::core::v1::ConfigMap, namespaced, true, ["cm"], [], []),
    kind!(k::core::v1::Secret, namespaced, true, [], [], []),
    kind!(
        k::core::v1::ServiceAccount,
        namespaced,
        true,
        ["sa"],
        [],
        [Sub::Named(
            "token",
            ("authentication.k8s.io", "v1", "TokenRequest"),
            CREATE
        )]
    ),
    kind!(k::core::v1::Event, namespaced, true, ["ev"], [], []),
    kind!(
        k::core::v1::Node,
        cluster,
        true,
        ["no"],
        [],
        [
            Sub::Status,
            Sub::Named("proxy", ("", "v1", "NodeProxyOptions"), PROXY)
        ]
    ),
    kind!(
        k::core::v1::PersistentVolume,
        cluster,
        true,
        ["pv"],
        [],
        [Sub::Status]
    ),
    kind!(
        k::core::v1::PersistentVolumeClaim,
        namespaced,
        true,
        ["pvc"],
        [],
        [Sub::Status]
    ),
    kind!(k::core::v1::PodTemplate, namespaced, true, [], [], []),
    kind!(
        k::core::v1::ReplicationController,
        namespaced,
        true,
        ["rc"],
        ["all"],
        [Sub::Status, Sub::Scale]
    ),
    kind!(
        k::core::v1::LimitRange,
        namespaced,
        true,
        ["limits"],
        [],
        []
    ),
    kind!(
        k::core::v1::ResourceQuota,
        namespaced,
        true,
        ["quota"],
        [],
        [Sub::Status]
    ),
    kind!(k::core::v1::Binding, namespaced, false, [], [], []),
    kind!(
        k::apps::v1::Deployment,
        namespaced,
        true,
        ["deploy"],
        ["all"],
        [SCALED[0], SCALED[1]]
    ),
    kind!(
        k::apps::v1::ReplicaSet,
        namespaced,
        true,
        ["rs"],
        ["all"],
        [SCALED[0], SCALED[1]]
    ),
    kind!(
        k::apps::v1::StatefulSet,
        namespaced,
        true,
        ["sts"],
        ["all"],
        [SCALED[0], SCALED[1]]
    ),
    kind!(
        k::apps::v1::DaemonSet,
        namespaced,
        true,
        ["ds"],
        ["all"],
        [Sub::Status]
    ),
    kind!(
        k::apps::v1::ControllerRevision,
        namespaced,
        true,
        [],
        [],
        []
    ),
    kind!(
        k::batch::v1::Job,
        namespaced,
        true,
        [],
        ["all"],
        [Sub::Status]
    ),
    kind!(
        k::batch::v1::CronJob,
        namespaced,
        true,
        ["cj"],
        ["all"],
        [Sub::Status]
    ),
    kind!(k::rbac::v1::Role, namespaced, true, [], [], []),
    kind!(k::rbac::v1::RoleBinding, namespaced, true, [], [], []),
    kind!(k::rbac::v1::ClusterRole, cluster, true, [], [], []),
    kind!(k::rbac::v1::ClusterRoleBinding, cluster, true, [], [], []),
    kind!(
        k::networking::v1::Ingress,
        namespaced,
        true,
        ["ing"],
        [],
        [Sub::Status]
    ),
    kind!(k::networking::v1::IngressClass, cluster, true, [], [], []),
    kind!(
        k::networking::v1::NetworkPolicy,
        namespaced,
        true,
        ["netpol"],
        [],
        []
    ),
    kind!(k::networking::v1::IPAddress, cluster, true, ["ip"], [], []),
    kind!(
        k::networking::v1::ServiceCIDR,
        cluster,
        true,
        [],
        [],
        [Sub::Status]
    ),
    kind!(
        k::discovery::v1::EndpointSlice,
        namespaced,
        true,
        [],
        [],
        []
    ),
    kind!(k::coordination::v1::Lease, namespaced, true, [], [], []),
    kind!(k::events::v1::Event, namespaced, true, ["ev"], [], []),
    kind!(
        k::autoscaling::v2::HorizontalPodAutoscaler,
        namespaced,
        true,
        ["hpa"],
        ["all"],
        [Sub::Status]
    ),
    kind!(
        k::autoscaling::v1::HorizontalPodAutoscaler,
        namespaced,
        true,
        ["hpa"],
        ["all"],
        [Sub::Status]
    ),
    kind!(
        k::policy::v1::PodDisruptionBudget,
        namespaced,
        true,
        ["pdb"],
        [],
        [Sub::Status]
    ),
    kind!(k::storage::v1::StorageClass, cluster, true, ["sc"], [], []),
    kind!(
        k::storage::v1::VolumeAttachment,
        cluster,
        true,
        [],
        [],
        [Sub::Status]
    ),
    kind!(k::storage::v1::CSIDriver, cluster, true, [], [], []),
    kind!(k::storage::v1::CSINode, cluster, true, [], [], []),
    kind!(
        k::storage::v1::CSIStorageCapacity,
        namespaced,
        true,
        [],
        [],
        []
    ),
    kind!(
        k::scheduling::v1::PriorityClass,
        cluster,
        true,
        ["pc"],
        [],
        []
    ),
    kind!(k::node::v1::RuntimeClass, cluster, true, [], [], []),
    kind!(
        extensions::CustomResourceDefinition,
        cluster,
        true,
        ["crd", "crds"],
        ["api-extensions"],
        [Sub::Status]
    ),
    kind!(
        aggregation::APIService,
        cluster,
        true,
        [],
        ["api-extensions"],
        [Sub::Status]
    ),
    kind!(
        k::admissionregistration::v1::MutatingWebhookConfiguration,
        cluster,
        true,
        [],
        ["api-extensions"],
        []
    ),
    kind!(
        k::admissionregistration::v1::ValidatingWebhookConfiguration,
        cluster,
        true,
        [],
        ["api-extensions"],
        []
    ),
    kind!(
        k::admissionregistration::v1::ValidatingAdmissionPolicy,
        cluster,
        true,
        [],
        ["api-extensions"],
        [Sub::Status]
    ),
    kind!(
        k::admissionregistration::v1::ValidatingAdmissionPolicyBinding,
        cluster,
        true,
        [],
        ["api-extensions"],
        []
    ),
    kind!(
        k::certificates::v1::CertificateSigningRequest,
        cluster,
        true,
        ["csr"],
        [],
        [
            Sub::Status,
            Sub::Named(
                "approval",
                ("certificates.k8s.io", "v1", "CertificateSigningRequest"),
                APPROVE
            )
        ]
    ),
    kind!(
        k::flowcontrol::v1::FlowSchema,
        cluster,
        true,
        [],
        [],
        [Sub::Status]
    ),
    kind!(
        k::flowcontrol::v1::PriorityLevelConfiguration,
        cluster,
        true,
        [],
        [],
        [Sub::Status]
    ),
    kind!(
        k::authentication::v1::TokenReview,
        cluster,
        false,
        [],
        [],
        []
    ),
    kind!(
        k::authentication::v1::SelfSubjectReview,
        cluster,
        false,
        [],
        [],
        []
    ),
    kind!(
        k::authorization::v1::SubjectAccessReview,
        cluster,
        false,
        [],
        [],
        []
    ),
    kind!(
        k::authorization::v1::SelfSubjectAccessReview,
        cluster,
        false,
        [],
        [],
        []
    ),
    kind!(
        k::authorization::v1::SelfSubjectRulesReview,
        cluster,
        false,
        [],
        [],
        []
    ),
    kind!(
        k::authorization::v1::LocalSubjectAccessReview,
        namespaced,
        false,
        [],
        [],
        []
    ),
];

/// Bodies of subresources, which have schemas but no path of their own.
pub(super) fn extra_definitions(group: &str, version: &str, generator: &mut SchemaGenerator) {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
    let _ = generator.subschema_for::<meta::ObjectMeta>();
    let _ = generator.subschema_for::<meta::Status>();
    let _ = generator.subschema_for::<meta::DeleteOptions>();
    match (group, version) {
        ("", "v1") => {
            let _ = generator.subschema_for::<k::policy::v1::Eviction>();
            let _ = generator.subschema_for::<k::authentication::v1::TokenRequest>();
            let _ = generator.subschema_for::<k::autoscaling::v1::Scale>();
        }
        ("apps", "v1") => {
            let _ = generator.subschema_for::<k::autoscaling::v1::Scale>();
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;

    use super::*;

    fn is_namespaced<T: k8s_openapi::Resource>() -> bool
    where
        T::Scope: 'static,
    {
        TypeId::of::<T::Scope>() == TypeId::of::<k8s_openapi::NamespaceResourceScope>()
    }

    #[test]
    fn scopes_agree_with_the_published_types() {
        let of = |kind: &str| {
            BUILTINS
                .iter()
                .find(|builtin| builtin.kind == kind)
                .unwrap()
                .namespaced
        };
        assert_eq!(of("Pod"), is_namespaced::<k::core::v1::Pod>());
        assert_eq!(of("Node"), is_namespaced::<k::core::v1::Node>());
        assert_eq!(
            of("LocalSubjectAccessReview"),
            is_namespaced::<k::authorization::v1::LocalSubjectAccessReview>()
        );
        assert_eq!(
            of("CSIStorageCapacity"),
            is_namespaced::<k::storage::v1::CSIStorageCapacity>()
        );
        assert_eq!(
            of("PriorityClass"),
            is_namespaced::<k::scheduling::v1::PriorityClass>()
        );
    }

    #[test]
    fn no_kind_is_listed_twice() {
        let mut seen = std::collections::BTreeSet::new();
        for builtin in BUILTINS {
            assert!(
                seen.insert((builtin.group, builtin.version, builtin.plural)),
                "{} twice",
                builtin.kind
            );
        }
    }
}
