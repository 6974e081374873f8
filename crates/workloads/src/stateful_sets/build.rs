//! The numbered pods of a stateful set and the claims that go with them.

use control::owners;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::pods::template::pod_from_template;
use crate::revisions::HASH_LABEL;
use crate::templated::Templated;

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The name of the claim of a template for a number.
pub fn claim_name(set: &Templated<StatefulSet>, template: &str, number: i32) -> String {
    format!("{template}-{}-{number}", set.name_any())
}

/// The body of a pod.
pub fn pod(set: &Templated<StatefulSet>, template: &Value, number: i32, revision: &str) -> Value {
    let name = format!("{}-{number}", set.name_any());
    let mut pod = pod_from_template(
        template,
        &owners::controller_reference(set, "apps/v1", "StatefulSet"),
    );
    if let Some(metadata) = pod["metadata"].as_object_mut() {
        metadata.remove("generateName");
    }
    pod["metadata"]["name"] = name.clone().into();
    pod["metadata"]["labels"][POD_NAME] = name.clone().into();
    pod["metadata"]["labels"][POD_INDEX] = number.to_string().into();
    pod["metadata"]["labels"][HASH_LABEL] = revision.into();
    pod["spec"]["hostname"] = name.into();
    let spec = set.spec.clone().unwrap_or_default();
    if let Some(service) = spec.service_name.filter(|service| !service.is_empty()) {
        pod["spec"]["subdomain"] = service.into();
    }
    let templates = spec.volume_claim_templates.unwrap_or_default();
    let names: Vec<String> = templates.iter().map(ResourceExt::name_any).collect();
    let mut volumes: Vec<Value> = names
        .iter()
        .map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": claim_name(set, name, number)}}))
        .collect();
    let own = pod["spec"]["volumes"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    volumes.extend(
        own.into_iter()
            .filter(|volume| !names.iter().any(|name| volume["name"] == *name)),
    );
    if !volumes.is_empty() {
        pod["spec"]["volumes"] = volumes.into();
    }
    pod
}

/// The bodies of the claims of a number.
pub fn claims(set: &Templated<StatefulSet>, number: i32) -> Vec<Value> {
    let spec = set.spec.clone().unwrap_or_default();
    let selected = spec.selector.match_labels.unwrap_or_default();
    let templates = spec.volume_claim_templates.unwrap_or_default();
    templates
        .iter()
        .map(|template| {
            let mut labels = template.labels().clone();
            labels.extend(selected.clone());
            json!({
                "metadata": {
                    "name": claim_name(set, &template.name_any(), number),
                    "labels": labels,
                    "annotations": template.annotations(),
                },
                "spec": template.spec,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_named_by_number_and_mounts_its_own_claims() {
        let set: Templated<StatefulSet> = serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "ns", "uid": "u"},
            "spec": {
                "serviceName": "db-headless", "selector": {"matchLabels": {"app": "db"}},
                "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [], "volumes": [{"name": "tmp", "emptyDir": {}}]}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
            },
        }))
        .unwrap();
        let pod = pod(&set, &set.template, 2, "db-abc");
        assert_eq!(pod["metadata"]["name"], "db-2");
        assert_eq!(pod["metadata"]["labels"][POD_INDEX], "2");
        assert_eq!(
            (&pod["spec"]["hostname"], &pod["spec"]["subdomain"]),
            (&json!("db-2"), &json!("db-headless"))
        );
        assert_eq!(
            pod["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"],
            "data-db-2"
        );
        assert_eq!(pod["spec"]["volumes"][1]["name"], "tmp");
        let claims = claims(&set, 2);
        assert_eq!(claims[0]["metadata"]["name"], "data-db-2");
        assert_eq!(claims[0]["metadata"]["labels"], json!({"app": "db"}));
    }
}
