//! PersistentVolumes.

use objects::FieldError;
use objects::quantity::Quantity;
use serde_json::{Value, json};

use super::fields::{at, canonical_amounts, fill, fill_text, is_empty, list, spec, text};
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
        let now = jiff::Timestamp::now()
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string();
        start_status(
            object,
            json!({"phase": "Pending", "lastPhaseTransitionTime": now}),
        );
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let spec = &object["spec"];
        if is_empty(&spec["accessModes"]) {
            errors.push(FieldError::required("spec.accessModes", ""));
        }
        if is_empty(&spec["capacity"]) {
            errors.push(FieldError::required("spec.capacity", ""));
        }
        if spec["capacity"]["storage"].is_null() {
            errors.push(FieldError::not_supported(
                "spec.capacity",
                spec["capacity"].clone(),
                &["storage"],
            ));
        }
        for (name, value) in spec["capacity"].as_object().into_iter().flatten() {
            if let Ok(amount) = Quantity::from_json(value)
                && amount.signum() <= 0
            {
                errors.push(FieldError::invalid(
                    format!("spec.capacity[{name}]"),
                    amount.canonical(),
                    "must be greater than zero",
                ));
            }
        }
        let modes = [
            "ReadOnlyMany",
            "ReadWriteMany",
            "ReadWriteOnce",
            "ReadWriteOncePod",
        ];
        for mode in list(&spec["accessModes"]) {
            if !modes.contains(&text(mode)) {
                errors.push(FieldError::not_supported(
                    "spec.accessModes",
                    text(mode),
                    &modes,
                ));
            }
        }
        let class = text(&spec["storageClassName"]);
        if !class.is_empty() {
            for detail in objects::names::dns_subdomain(class) {
                errors.push(FieldError::invalid("spec.storageClassName", class, detail));
            }
        }
        let kinds = ["Block", "Filesystem"];
        if !kinds.contains(&text(&spec["volumeMode"])) {
            errors.push(FieldError::not_supported(
                "spec.volumeMode",
                text(&spec["volumeMode"]),
                &kinds,
            ));
        }
        if spec["local"].is_object() && is_empty(&spec["nodeAffinity"]) {
            errors.push(FieldError::required(
                "spec.nodeAffinity",
                "Local volume requires node affinity",
            ));
        }
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
                    "spec.persistentVolumeReclaimPolicy",
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
        if object["spec"]["volumeMode"] != old["spec"]["volumeMode"] {
            errors.push(FieldError::invalid(
                "volumeMode",
                object["spec"]["volumeMode"].clone(),
                "field is immutable",
            ));
        }
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
