//! Every pod runs as a service account that exists, and finds that account's token, the cluster's
//! certificate and its own namespace under one well-known folder.

use objects::{Status, meta, names};
use serde_json::{Value, json};

use super::{Operation, Review};
use crate::kinds::fields::{Fields, each, fill, is_empty, list, spec};
use crate::lookup::Lookup;

const FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// One hour and seven seconds: the odd number by which Kubernetes knows tokens it added itself.
const TOKEN_SECONDS: i64 = 3607;
const MIRROR: &str = "kubernetes.io/config.mirror";

pub(super) fn admit(review: &mut Review<'_>, lookup: &dyn Lookup) -> Result<(), Status> {
    if !review.is(Operation::Create, "", "pods")
        || meta::annotation(review.object, MIRROR).is_some()
    {
        return Ok(());
    }
    let name = match review.object["spec"]["serviceAccountName"].as_str() {
        None | Some("") => "default".to_owned(),
        Some(name) => name.to_owned(),
    };
    let Some(account) = lookup.get("", "serviceaccounts", review.namespace, &name) else {
        return Err(review.forbid(&format!(
            "error looking up service account {}/{name}: serviceaccount {name:?} not found",
            review.namespace
        )));
    };
    let wants_token = review.object["spec"]["automountServiceAccountToken"]
        .as_bool()
        .or_else(|| account["automountServiceAccountToken"].as_bool())
        .unwrap_or(true);
    let Some(spec) = spec(review.object) else {
        return Ok(());
    };
    for key in ["serviceAccountName", "serviceAccount"] {
        spec.insert(key.into(), name.as_str().into());
    }
    if spec.get("imagePullSecrets").is_none_or(is_empty) && !is_empty(&account["imagePullSecrets"])
    {
        spec.insert(
            "imagePullSecrets".into(),
            account["imagePullSecrets"].clone(),
        );
    }
    if wants_token {
        mount_token(spec);
    }
    Ok(())
}

fn mount_token(spec: &mut Fields) {
    let existing = list(spec.get("volumes").unwrap_or(&Value::Null))
        .filter_map(|volume| volume["name"].as_str())
        .find(|name| name.starts_with(VOLUME_PREFIX))
        .map(ToOwned::to_owned);
    let volume = existing
        .clone()
        .unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", names::suffix(rand::random())));
    let mut is_needed = false;
    for kind in ["initContainers", "containers"] {
        for container in each(spec, kind) {
            let has_own = list(container.get("volumeMounts").unwrap_or(&Value::Null))
                .any(|mount| mount["mountPath"] == FOLDER);
            if has_own {
                continue;
            }
            fill(container, "volumeMounts", json!([]));
            if let Some(mounts) = container["volumeMounts"].as_array_mut() {
                mounts.push(json!({"name": volume, "readOnly": true, "mountPath": FOLDER}));
                is_needed = true;
            }
        }
    }
    if !is_needed || existing.is_some() {
        return;
    }
    fill(spec, "volumes", json!([]));
    if let Some(volumes) = spec["volumes"].as_array_mut() {
        volumes.push(token_volume(&volume));
    }
}

fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {
        "defaultMode": 420,
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
            ]}},
        ],
    }})
}

#[cfg(test)]
mod tests {
    use super::super::test_review::Write;
    use super::*;
    use crate::lookup::Fixed;

    fn accounts() -> Fixed {
        let account = |name: &str, more: Value| {
            let mut account = json!({"metadata": {"name": name, "namespace": "dev"}});
            account
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            account
        };
        Fixed::default()
            .with("", "serviceaccounts", account("default", json!({})))
            .with(
                "",
                "serviceaccounts",
                account("quiet", json!({"automountServiceAccountToken": false})),
            )
            .with(
                "",
                "serviceaccounts",
                account(
                    "puller",
                    json!({"imagePullSecrets": [{"name": "registry"}]}),
                ),
            )
    }

    fn admitted(spec: Value) -> Value {
        let pod = json!({"metadata": {"name": "p", "namespace": "dev"}, "spec": spec});
        let mut write = Write::create("", "pods", pod);
        write.pass(|review| admit(review, &accounts())).unwrap();
        write.object["spec"].clone()
    }

    #[test]
    fn a_pod_that_names_no_account_is_the_default_one_and_finds_its_token() {
        let spec =
            admitted(json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]}));
        assert_eq!(
            (&spec["serviceAccountName"], &spec["serviceAccount"]),
            (&json!("default"), &json!("default"))
        );
        let volume = &spec["volumes"][0];
        let name = volume["name"].as_str().unwrap();
        assert!(name.starts_with("kube-api-access-") && name.len() == "kube-api-access-".len() + 5);
        assert_eq!(
            volume["projected"]["sources"][0],
            json!({"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}})
        );
        for kind in ["containers", "initContainers"] {
            assert_eq!(
                spec[kind][0]["volumeMounts"],
                json!([{"name": name, "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}])
            );
        }
    }

    #[test]
    fn an_account_that_does_not_exist_is_named() {
        let pod = json!({"metadata": {"name": "p", "namespace": "dev"}, "spec": {"serviceAccountName": "gone"}});
        let status = Write::create("", "pods", pod)
            .pass(|review| admit(review, &accounts()))
            .unwrap_err();
        assert_eq!(
            status.message,
            "pods \"p\" is forbidden: error looking up service account dev/gone: serviceaccount \"gone\" not found"
        );
    }

    #[test]
    fn pod_and_account_may_refuse_the_token_and_the_pod_has_the_last_word() {
        let container = json!([{"name": "a"}]);
        let no = admitted(json!({"containers": container, "automountServiceAccountToken": false}));
        assert!(no.get("volumes").is_none());
        let no = admitted(json!({"containers": container, "serviceAccountName": "quiet"}));
        assert!(no.get("volumes").is_none());
        let yes = admitted(
            json!({"containers": container, "serviceAccountName": "quiet", "automountServiceAccountToken": true}),
        );
        assert_eq!(yes["volumes"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_container_that_mounts_something_there_is_left_alone() {
        let own = json!([{"name": "mine", "mountPath": FOLDER}]);
        let spec = admitted(
            json!({"containers": [{"name": "a", "volumeMounts": own}], "volumes": [{"name": "mine"}]}),
        );
        assert_eq!(spec["containers"][0]["volumeMounts"], own);
        assert_eq!(spec["volumes"], json!([{"name": "mine"}]));
    }

    #[test]
    fn pull_secrets_of_the_account_are_the_pods() {
        let spec = admitted(json!({"containers": [], "serviceAccountName": "puller"}));
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "registry"}]));
    }
}
