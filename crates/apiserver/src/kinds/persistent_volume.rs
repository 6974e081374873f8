//! PersistentVolumes.

use objects::FieldError;
use serde_json::{Value, json};

use super::fields::{at, canonical_amounts, fill, fill_text, is_empty, spec, text};
use super::pod_validation::validate_resource_list;
use super::{Strategy, start_status};

/// The fields of a volume's spec that are not its source.
const NOT_SOURCES: [&str; 10] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
    "status",
];

pub(super) struct PersistentVolume;

impl Strategy for PersistentVolume {
    fn default(&self, object: &mut Value) {
        let Some(spec) = spec(object) else { return };
        fill_text(spec, "persistentVolumeReclaimPolicy", "Retain");
        fill_text(spec, "volumeMode", "Filesystem");
        canonical_amounts(spec, "capacity");
        if let Some(host_path) = at(spec, "hostPath") {
            fill(host_path, "type", "");
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        start_status(object, json!({"phase": "Pending"}));
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let spec = &object["spec"];
        if is_empty(&spec["accessModes"]) {
            errors.push(FieldError::required("spec.accessModes", ""));
        }
        if is_empty(&spec["capacity"]) {
            errors.push(FieldError::required("spec.capacity", ""));
        } else if spec["capacity"]["storage"].is_null() {
            errors.push(FieldError::not_supported(
                "spec.capacity",
                spec["capacity"].clone(),
                &["storage"],
            ));
        }
        validate_resource_list(&spec["capacity"], "spec.capacity", &mut errors);
        match sources(spec).as_slice() {
            [] => errors.push(FieldError::required("spec", "must specify a volume type")),
            [_] => {}
            [_, others @ ..] => errors.extend(others.iter().map(|other| {
                FieldError::forbidden(
                    format!("spec.{other}"),
                    "may not specify more than 1 volume type",
                )
            })),
        }
        if spec["hostPath"].is_object() {
            let path = text(&spec["hostPath"]["path"]);
            if path.is_empty() {
                errors.push(FieldError::required("spec.hostPath.path", ""));
            }
            if path == "/" && spec["persistentVolumeReclaimPolicy"] == "Recycle" {
                errors.push(FieldError::forbidden(
                    "spec",
                    "may not be 'recycle' for a hostPath mount of '/'",
                ));
            }
        }
        let policies = ["Delete", "Recycle", "Retain"];
        let policy = text(&spec["persistentVolumeReclaimPolicy"]);
        if !policies.contains(&policy) {
            errors.push(FieldError::not_supported(
                "spec.persistentVolumeReclaimPolicy",
                policy,
                &policies,
            ));
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        let (new_sources, old_sources) = (sources(&object["spec"]), sources(&old["spec"]));
        let is_same = new_sources == old_sources
            && new_sources
                .iter()
                .all(|source| object["spec"][source] == old["spec"][source]);
        if !is_same {
            errors.push(FieldError::forbidden(
                "spec.persistentvolumesource",
                "spec.persistentvolumesource is immutable after creation",
            ));
        }
        super::workload::immutable(object, old, "spec.volumeMode", &mut errors);
        errors
    }
}

fn sources(spec: &Value) -> Vec<String> {
    spec.as_object()
        .into_iter()
        .flatten()
        .filter(|(key, value)| !NOT_SOURCES.contains(&key.as_str()) && !value.is_null())
        .map(|(key, _)| key.clone())
        .collect()
}
