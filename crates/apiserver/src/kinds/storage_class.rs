//! StorageClasses.

use objects::FieldError;
use serde_json::Value;

use super::Strategy;
use super::fields::{fill_text, is_empty, is_same, text};
use super::workload::immutable;

pub(super) struct StorageClass;

impl Strategy for StorageClass {
    fn default(&self, object: &mut Value) {
        if let Some(fields) = object.as_object_mut() {
            fill_text(fields, "reclaimPolicy", "Delete");
            fill_text(fields, "volumeBindingMode", "Immediate");
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if is_empty(&object["provisioner"]) {
            errors.push(FieldError::required("provisioner", ""));
        } else {
            let name = text(&object["provisioner"]).to_lowercase();
            for detail in objects::names::qualified_name(&name) {
                errors.push(FieldError::invalid("provisioner", name.as_str(), detail));
            }
        }
        if object["parameters"].get("").is_some() {
            errors.push(FieldError::invalid(
                "parameters",
                "",
                "field can not be empty.",
            ));
        }
        for (field, supported) in [
            ("reclaimPolicy", ["Delete", "Retain"]),
            ("volumeBindingMode", ["Immediate", "WaitForFirstConsumer"]),
        ] {
            let value = text(&object[field]);
            if !supported.contains(&value) {
                errors.push(FieldError::not_supported(field, value, &supported));
            }
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        for field in ["parameters", "provisioner", "reclaimPolicy"] {
            if !is_same(&object[field], &old[field]) {
                errors.push(FieldError::forbidden(
                    field,
                    format!("updates to {field} are forbidden."),
                ));
            }
        }
        immutable(object, old, "volumeBindingMode", &mut errors);
        errors
    }
}
