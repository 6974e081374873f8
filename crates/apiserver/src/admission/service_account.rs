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
