//! PersistentVolumeClaims.

use objects::FieldError;
use objects::quantity::Quantity;
use serde_json::{Value, json};

use super::fields::{Fields, at, at_or_new, canonical_amounts, fill, fill_text, is_empty, is_same};
use super::pod_validation::validate_claim_spec;
use super::{Strategy, start_status};

pub(super) struct PersistentVolumeClaim;

impl Strategy for PersistentVolumeClaim {
    fn default(&self, object: &mut Value) {
        if let Some(fields) = object.as_object_mut() {
            default_claim(fields);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        start_status(object, json!({"phase": "Pending"}));
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        validate_claim_spec(&object["spec"], "spec", &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        let (new, before) = (&object["spec"], &old["spec"]);
        let mut allowed = new.clone();
        if let Some(spec) = allowed.as_object_mut() {
            // Binding fills these once; a bound claim may ask for more room.
            for field in ["volumeName", "storageClassName"] {
                if is_empty(&before[field]) {
                    spec.insert(field.into(), before[field].clone());
                }
            }
            if old["status"]["phase"] == "Bound" {
                for field in ["resources", "volumeAttributesClassName"] {
                    spec.insert(field.into(), before[field].clone());
                }
            }
        }
        if !is_same(&allowed, before) {
            errors.push(FieldError::forbidden(
                "spec",
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
            ));
        }
        let size =
            |spec: &Value| Quantity::from_json(&spec["resources"]["requests"]["storage"]).ok();
        if let (Some(new), Some(before)) = (size(new), size(before))
            && new < before
        {
            errors.push(FieldError::forbidden(
                "spec.resources.requests.storage",
                "field can not be less than status.capacity",
            ));
        }
        errors
    }
}

/// Fills a claim, also one in the templates of a StatefulSet.
pub(super) fn default_claim(claim: &mut Fields) {
    if let Some(spec) = at_or_new(claim, "spec") {
        // The old name of a source and its new one always say the same, unless the new one names a namespace.
        for (from, to) in [
            ("dataSource", "dataSourceRef"),
            ("dataSourceRef", "dataSource"),
        ] {
            let source = spec.get(from).cloned().unwrap_or_default();
            if source.is_object() && source["namespace"].is_null() {
                fill(spec, to, source);
            }
        }
        fill_text(spec, "volumeMode", "Filesystem");
        if let Some(resources) = at(spec, "resources") {
            canonical_amounts(resources, "requests");
            canonical_amounts(resources, "limits");
        }
    }
    if let Some(status) = at_or_new(claim, "status") {
        fill(status, "phase", "Pending");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(size: &str) -> Value {
        let mut claim = json!({"spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}},
        }});
        PersistentVolumeClaim.default(&mut claim);
        claim
    }

    #[test]
    fn a_claim_is_a_file_system_and_pending() {
        let claim = claim("1Gi");
        assert_eq!(claim["spec"]["volumeMode"], "Filesystem");
        assert_eq!(claim["status"]["phase"], "Pending");
    }

    #[test]
    fn a_claim_needs_a_way_of_access_and_a_size() {
        let errors =
            PersistentVolumeClaim.validate_create(&json!({"spec": {"volumeMode": "Filesystem"}}));
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "spec.accessModes: Required value: at least 1 access mode is required",
                "spec.resources[storage]: Required value",
            ]
        );
    }

    #[test]
    fn a_claim_is_bound_once_and_then_only_grows() {
        let old = claim("1Gi");
        let mut bound = old.clone();
        bound["spec"]["volumeName"] = json!("v");
        assert_eq!(PersistentVolumeClaim.validate_update(&bound, &old), []);
        assert_eq!(
            PersistentVolumeClaim
                .validate_update(&claim("2Gi"), &old)
                .len(),
            1
        );
        bound["status"]["phase"] = json!("Bound");
        let mut grown = bound.clone();
        grown["spec"]["resources"]["requests"]["storage"] = json!("2Gi");
        assert_eq!(PersistentVolumeClaim.validate_update(&grown, &bound), []);
        assert_eq!(
            PersistentVolumeClaim
                .validate_update(&bound, &{
                    let mut bigger = grown.clone();
                    bigger["status"]["phase"] = json!("Bound");
                    bigger
                })
                .len(),
            1
        );
    }
}
