//! Whether a cluster can take the platform: what would fail, and what may disappoint, each with its remedy. A warning is
//! not a failure.

use std::collections::BTreeMap;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::api::{DynamicObject, ListParams, PostParams};
use kube::{Api, Client};
use serde::Serialize;
use serde_json::Value;

use crate::apply;

mod admission;
mod nodes;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and may disappoint.
    Warning,
    /// It will not work.
    Failure,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it; empty where there is nothing to do.
    pub remedy: String,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self {
            check,
            verdict: Verdict::Ok,
            found: found.into(),
            remedy: String::new(),
        }
    }

    fn new(
        check: &'static str,
        verdict: Verdict,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            check,
            verdict,
            found: found.into(),
            remedy: remedy.into(),
        }
    }
}

/// Looks at everything. `objects` is what would be applied.
///
/// # Errors
/// When the cluster cannot be reached at all, or does not know the caller.
pub async fn check(client: &Client, objects: &[Value]) -> Result<Vec<Finding>, kube::Error> {
    let version = client.apiserver_version().await?;
    let mut findings = vec![kubernetes(&version)];
    findings.push(match list::<Node>(client).await {
        Ok(nodes) => nodes::sizes(&nodes),
        Err(error) => unknown("node sizes", &error),
    });
    findings.push(match list::<Node>(client).await {
        Ok(nodes) => nodes::gpus(&nodes, nodes::has_gpu_operator(client).await),
        Err(error) => unknown("GPUs", &error),
    });
    findings.push(match list::<StorageClass>(client).await {
        Ok(classes) => storage(&classes, needs_storage(objects), brought(objects)),
        Err(error) => unknown("storage", &error),
    });
    findings.push(rights(client, objects).await?);
    findings.push(match list::<CustomResourceDefinition>(client).await {
        Ok(definitions) => foreign_kubeflow(&definitions),
        Err(error) => unknown("other Kubeflow", &error),
    });
    findings.extend(foreign_objects(client, objects).await);
    findings.extend(admission::check(client, objects).await);
    Ok(findings)
}

async fn list<K>(client: &Client) -> Result<Vec<K>, kube::Error>
where
    K: kube::Resource<Scope = kube::core::ClusterResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
    K::DynamicType: Default,
{
    Ok(Api::<K>::all(client.clone())
        .list(&ListParams::default())
        .await?
        .items)
}

fn unknown(check: &'static str, error: &kube::Error) -> Finding {
    Finding::new(
        check,
        Verdict::Warning,
        format!("cannot be looked at: {error}"),
        "give the account that installs the right to list it, or look yourself",
    )
}

/// Kubernetes from 1.28 on, K3s from 1.30 on.
fn kubernetes(version: &Info) -> Finding {
    const CHECK: &str = "Kubernetes version";
    let digits = |text: &str| -> u32 {
        text.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .unwrap_or(0)
    };
    let (major, minor) = (digits(&version.major), digits(&version.minor));
    let (name, least) = if version.git_version.contains("+k3s") {
        ("K3s", 30)
    } else {
        ("Kubernetes", 28)
    };
    if (major, minor) < (1, least) {
        return Finding::new(
            CHECK,
            Verdict::Failure,
            format!("{name} {}", version.git_version),
            format!("upgrade the cluster to {name} 1.{least} or newer"),
        );
    }
    Finding::ok(CHECK, format!("{name} {}", version.git_version))
}

fn needs_storage(objects: &[Value]) -> bool {
    objects.iter().any(|object| {
        object["kind"] == "PersistentVolumeClaim" && object["spec"]["storageClassName"].is_null()
    }) && brought(objects).is_none()
}

/// Name of the class that is among what would be applied.
fn brought(objects: &[Value]) -> Option<&str> {
    objects
        .iter()
        .find(|object| object["kind"] == "StorageClass")
        .and_then(|class| class["metadata"]["name"].as_str())
}

fn storage(classes: &[StorageClass], is_needed: bool, brought: Option<&str>) -> Finding {
    const CHECK: &str = "default StorageClass";
    let default = classes.iter().find(|class| {
        class
            .metadata
            .annotations
            .as_ref()
            .and_then(|annotations| annotations.get("storageclass.kubernetes.io/is-default-class"))
            .is_some_and(|value| value == "true")
    });
    match (default, brought) {
        (Some(class), Some(brought)) if class.metadata.name.as_deref() != Some(brought) => {
            let there = class.metadata.name.clone().unwrap_or_default();
            Finding::new(
                CHECK,
                Verdict::Warning,
                format!("{there} is there, and {brought} would become a second one"),
                "take the application local-provisioner out of the KfDef: storage is there already",
            )
        }
        (Some(class), _) => Finding::ok(
            CHECK,
            format!(
                "{} ({})",
                class.metadata.name.clone().unwrap_or_default(),
                class.provisioner
            ),
        ),
        (None, _) if !is_needed => Finding::ok(CHECK, "none, and none is needed"),
        (None, _) => Finding::new(
            CHECK,
            Verdict::Failure,
            "none: claims would stay Pending",
            "make one the default: kubectl annotate storageclass NAME storageclass.kubernetes.io/is-default-class=true; or have folders on the nodes: kfctl apply --local-storage",
        ),
    }
}

/// Whether the caller may write every kind, and hand out the rights that components get.
async fn rights(client: &Client, objects: &[Value]) -> Result<Finding, kube::Error> {
    const CHECK: &str = "rights of the caller";
    let mut wanted = BTreeMap::new();
    for object in objects {
        let kind = object["kind"].as_str().unwrap_or_default();
        let group = object["apiVersion"]
            .as_str()
            .and_then(|version| version.split_once('/'))
            .map_or("", |(group, _)| group);
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
        for verb in ["get", "create", "patch", "delete"] {
            wanted.insert((group, plural(kind), namespace, verb), ());
        }
        if group == "rbac.authorization.k8s.io" && kind.ends_with("Role") {
            wanted.insert((group, plural(kind), namespace, "escalate"), ());
        }
    }
    let mut missing = Vec::new();
    for (group, resource, namespace, verb) in wanted.into_keys() {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    group: Some(group.to_owned()),
                    resource: Some(resource.clone()),
                    namespace: Some(namespace.to_owned()),
                    verb: Some(verb.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let answer = Api::<SelfSubjectAccessReview>::all(client.clone())
            .create(&PostParams::default(), &review)
            .await?;
        if !answer.status.is_some_and(|status| status.allowed) {
            let place = if namespace.is_empty() {
                String::new()
            } else {
                format!(" in {namespace}")
            };
            missing.push(format!("{verb} {resource}{place}"));
        }
    }
    // Who may hand out only what it has itself needs no escalation; nothing else can be missing.
    let (escalate, other): (Vec<_>, Vec<_>) = missing
        .into_iter()
        .partition(|one| one.starts_with("escalate"));
    Ok(if !other.is_empty() {
        Finding::new(
            CHECK,
            Verdict::Failure,
            format!("may not {}", some(&other)),
            "install with an administrator's context: kfctl apply --context NAME",
        )
    } else if !escalate.is_empty() {
        Finding::new(
            CHECK,
            Verdict::Warning,
            "may hand out only rights that it has itself",
            "if a role is refused below, install with an administrator's context",
        )
    } else {
        Finding::ok(CHECK, "enough")
    })
}

/// The resource of a kind, for the kinds that we ship.
fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None if kind.ends_with('s') => format!("{kind}es"),
        None => format!("{kind}s"),
    }
}

fn some(all: &[String]) -> String {
    const SHOWN: usize = 4;
    match all.len() {
        0..=SHOWN => all.join(", "),
        more => format!("{}, and {} more", all[..SHOWN].join(", "), more - SHOWN),
    }
}

/// Definitions of a Kubeflow that somebody else installed.
fn foreign_kubeflow(definitions: &[CustomResourceDefinition]) -> Finding {
    const CHECK: &str = "other Kubeflow";
    let foreign: Vec<String> = definitions
        .iter()
        .filter(|definition| {
            let group = &definition.spec.group;
            ["kubeflow.org", "kserve.io", "argoproj.io"]
                .iter()
                .any(|known| group == known || group.ends_with(&format!(".{known}")))
        })
        .filter(|definition| {
            let labels = definition.metadata.labels.clone().unwrap_or_default();
            !labels.contains_key(crate::apply_set::MEMBER)
        })
        .filter_map(|definition| definition.metadata.name.clone())
        .collect();
    if foreign.is_empty() {
        return Finding::ok(CHECK, "none");
    }
    Finding::new(
        CHECK,
        Verdict::Warning,
        format!(
            "definitions that somebody else installed: {}",
            some(&foreign)
        ),
        "this version does not touch them; if that Kubeflow still runs in the namespace kubeflow, remove it first",
    )
}

/// Our names, taken by somebody else: they are not overwritten.
async fn foreign_objects(client: &Client, objects: &[Value]) -> Option<Finding> {
    const CHECK: &str = "names in use";
    let mut taken = Vec::new();
    for object in objects
        .iter()
        .filter(|object| object["kind"] == "Deployment" || object["kind"] == "Service")
    {
        let Ok((api, name)) = apply::api_for(client, object).await else {
            continue;
        };
        let Ok(Some(there)) = api.get_opt(&name).await else {
            continue;
        };
        if !is_ours(&there, object) {
            taken.push(apply::describe(object));
        }
    }
    (!taken.is_empty()).then(|| {
        Finding::new(
            CHECK,
            Verdict::Failure,
            format!("these belong to another installation: {}", some(&taken)),
            "remove that installation, or leave the application out of the KfDef (Helm: components.<name>.enabled=false)",
        )
    })
}

/// What we install says so itself, whichever way it came.
fn is_ours(there: &DynamicObject, wanted: &Value) -> bool {
    let labels = there.metadata.labels.clone().unwrap_or_default();
    ["app.kubernetes.io/part-of", "app.kubernetes.io/component"]
        .iter()
        .all(|label| {
            labels.get(*label).map(String::as_str) == wanted["metadata"]["labels"][label].as_str()
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn version(minor: &str, git: &str) -> Info {
        Info {
            major: "1".into(),
            minor: minor.into(),
            git_version: git.into(),
            ..Info::default()
        }
    }

    #[test]
    fn the_least_version_is_the_guides() {
        assert_eq!(
            kubernetes(&version("27", "v1.27.9")).verdict,
            Verdict::Failure
        );
        assert_eq!(
            kubernetes(&version("28+", "v1.28.0-eks")).verdict,
            Verdict::Ok
        );
        assert_eq!(
            kubernetes(&version("29", "v1.29.1+k3s1")).verdict,
            Verdict::Failure
        );
        assert_eq!(
            kubernetes(&version("30", "v1.30.0+k3s1")).verdict,
            Verdict::Ok
        );
    }

    #[test]
    fn no_default_class_fails_only_where_claims_need_one() {
        let class = |default: &str| -> StorageClass {
            serde_json::from_value(json!({
                "metadata": {"name": "s", "annotations": {"storageclass.kubernetes.io/is-default-class": default}},
                "provisioner": "p",
            }))
            .expect("a StorageClass")
        };
        let verdict = |default: &str, is_needed, brought| {
            storage(&[class(default)], is_needed, brought).verdict
        };
        assert_eq!(verdict("false", true, None), Verdict::Failure);
        assert_eq!(verdict("false", false, None), Verdict::Ok);
        assert_eq!(verdict("true", true, None), Verdict::Ok);
        // One that we bring helps where there is none, and is too many where there is one.
        assert_eq!(verdict("false", false, Some("ours")), Verdict::Ok);
        assert_eq!(verdict("true", false, Some("ours")), Verdict::Warning);
        assert_eq!(verdict("true", false, Some("s")), Verdict::Ok);
    }

    #[test]
    fn definitions_of_another_kubeflow_are_named() {
        let definition = |name: &str, group: &str, labels: Value| -> CustomResourceDefinition {
            serde_json::from_value(json!({
                "metadata": {"name": name, "labels": labels},
                "spec": {"group": group, "names": {"kind": "X", "plural": "xs"}, "scope": "Namespaced", "versions": []},
            }))
            .expect("a definition")
        };
        let own = definition(
            "xs.kubeflow.org",
            "kubeflow.org",
            json!({crate::apply_set::MEMBER: "y"}),
        );
        let other = definition("xs.example.com", "example.com", json!({}));
        assert_eq!(foreign_kubeflow(&[own, other]).verdict, Verdict::Ok);
        let foreign = definition("isvc.serving.kserve.io", "serving.kserve.io", json!({}));
        let finding = foreign_kubeflow(&[foreign]);
        assert_eq!(finding.verdict, Verdict::Warning);
        assert!(finding.found.contains("isvc.serving.kserve.io"));
    }

    #[test]
    fn resources_are_named_after_their_kinds() {
        for (kind, resource) in [
            ("NetworkPolicy", "networkpolicies"),
            ("StorageClass", "storageclasses"),
            ("Ingress", "ingresses"),
            ("Role", "roles"),
        ] {
            assert_eq!(plural(kind), resource);
        }
    }
}
