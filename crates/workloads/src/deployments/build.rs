//! The replica set of a template, and the annotations by which kubectl reads a deployment's history.

use std::collections::BTreeMap;

use control::owners;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::pods::template::template_hash;
use crate::templated::Templated;

/// The revision a replica set stands for; on the deployment, its latest.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// Revisions a replica set stood for before it was rolled back to.
pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// Replicas the deployment wanted when it last scaled the set.
pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// Replicas the deployment could have had then, surge included.
pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
/// The label that tells the pods of one template from another's.
pub const HASH_LABEL: &str = "pod-template-hash";

/// The longest revision history kept in an annotation.
const LONGEST_HISTORY: usize = 2000;

const NOT_COPIED: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
];

/// The template without the label that a replica set adds to it.
pub fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.remove(HASH_LABEL);
        }
    }
    template
}

/// The name of the replica set of the deployment's template.
pub fn set_name(deployment: &Templated<Deployment>) -> String {
    format!("{}-{}", deployment.name_any(), hash(deployment))
}

fn hash(deployment: &Templated<Deployment>) -> String {
    let collisions = deployment
        .status
        .as_ref()
        .and_then(|status| status.collision_count);
    template_hash(&deployment.template, collisions)
}

/// The body of the replica set of the deployment's template.
pub fn replica_set(
    deployment: &Templated<Deployment>,
    replicas: i32,
    annotations: &BTreeMap<String, String>,
) -> Value {
    let hash = hash(deployment);
    let mut template = deployment.template.clone();
    template["metadata"]["labels"][HASH_LABEL] = hash.clone().into();
    let spec = deployment.spec.clone().unwrap_or_default();
    let mut selector = json!(spec.selector);
    selector["matchLabels"][HASH_LABEL] = hash.into();
    let mut body = json!({
        "metadata": {
            "name": set_name(deployment),
            "labels": template["metadata"]["labels"],
            "annotations": annotations,
            "ownerReferences": [owners::controller_reference(deployment, "apps/v1", "Deployment")],
        },
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    });
    if let Some(seconds) = spec.min_ready_seconds.filter(|seconds| *seconds > 0) {
        body["spec"]["minReadySeconds"] = seconds.into();
    }
    body
}

/// The annotations the current replica set should have: the deployment's own, and its revision.
pub fn annotations(
    held: &BTreeMap<String, String>,
    deployment: &Templated<Deployment>,
    revision: i64,
) -> BTreeMap<String, String> {
    let mut annotations = held.clone();
    for (name, value) in deployment.annotations() {
        if !NOT_COPIED.contains(&name.as_str()) {
            annotations.insert(name.clone(), value.clone());
        }
    }
    let old = held.get(REVISION);
    let old_number: i64 = old.and_then(|revision| revision.parse().ok()).unwrap_or(0);
    if old_number < revision {
        annotations.insert(REVISION.to_owned(), revision.to_string());
        if let Some(old) = old {
            let history = held.get(REVISION_HISTORY);
            annotations.insert(REVISION_HISTORY.to_owned(), extend_history(history, old));
        }
    }
    annotations
}

/// Appends a revision; the oldest go when the text grows too long.
fn extend_history(history: Option<&String>, revision: &str) -> String {
    let mut revisions: Vec<&str> = history
        .map(|history| history.split(',').filter(|part| !part.is_empty()).collect())
        .unwrap_or_default();
    revisions.push(revision);
    while revisions.len() > 1
        && revisions.iter().map(|part| part.len() + 1).sum::<usize>() > LONGEST_HISTORY
    {
        revisions.remove(0);
    }
    revisions.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Templated<Deployment> {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "ns", "uid": "u", "annotations": {
                "team": "a", REVISION: "7", "kubectl.kubernetes.io/last-applied-configuration": "{}",
            }},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [], "later": 1}},
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_replica_set_carries_the_hash_in_name_labels_selector_and_template() {
        let body = replica_set(&deployment(), 3, &BTreeMap::new());
        let hash = body["metadata"]["labels"][HASH_LABEL]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(body["metadata"]["name"], format!("web-{hash}"));
        assert_eq!(
            body["spec"]["selector"]["matchLabels"],
            json!({"app": "web", HASH_LABEL: hash})
        );
        assert_eq!(
            body["spec"]["template"]["metadata"]["labels"][HASH_LABEL],
            hash
        );
        assert_eq!(body["spec"]["template"]["spec"]["later"], 1);
        assert_eq!(
            without_hash(&body["spec"]["template"]),
            deployment().template
        );
    }

    #[test]
    fn a_rolled_back_set_remembers_the_revision_it_was() {
        let held = BTreeMap::from([(REVISION.to_owned(), "2".to_owned())]);
        let annotations = annotations(&held, &deployment(), 5);
        assert_eq!(annotations[REVISION], "5");
        assert_eq!(annotations[REVISION_HISTORY], "2");
        assert_eq!(annotations["team"], "a");
        assert!(!annotations.contains_key("kubectl.kubernetes.io/last-applied-configuration"));
    }

    #[test]
    fn a_history_that_is_too_long_loses_its_beginning() {
        let long = vec!["12345"; 400].join(",");
        let history = extend_history(Some(&long), "9");
        assert!(history.len() <= LONGEST_HISTORY && history.ends_with(",9"));
    }
}
