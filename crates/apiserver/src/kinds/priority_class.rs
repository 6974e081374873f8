//! PriorityClasses.

use objects::FieldError;
use serde_json::Value;

use super::Strategy;
use super::fields::{fill_text, text};

/// Above it is for what the cluster itself needs.
const USER_MAX: i64 = 1_000_000_000;

pub(super) struct PriorityClass;

impl Strategy for PriorityClass {
    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        if let Some(fields) = object.as_object_mut() {
            fill_text(fields, "preemptionPolicy", "PreemptLowerPriority");
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let name = objects::meta::name(object);
        let is_system = matches!(name, "system-node-critical" | "system-cluster-critical");
        if name.starts_with("system-") && !is_system {
            errors.push(FieldError::forbidden(
                "metadata.name",
                format!(
                    "priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known system priority class"
                ),
            ));
        }
        if !is_system
            && object["value"]
                .as_i64()
                .is_some_and(|value| value > USER_MAX)
        {
            errors.push(FieldError::forbidden(
                "value",
                format!("maximum allowed value of a user defined priority is {USER_MAX}"),
            ));
        }
        let policies = ["PreemptLowerPriority", "Never"];
        let policy = text(&object["preemptionPolicy"]);
        if !policies.contains(&policy) {
            errors.push(FieldError::not_supported(
                "preemptionPolicy",
                policy,
                &policies,
            ));
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        if object["value"].as_i64().unwrap_or(0) != old["value"].as_i64().unwrap_or(0) {
            errors.push(FieldError::forbidden(
                "value",
                "may not be changed in an update.",
            ));
        }
        super::workload::immutable(object, old, "preemptionPolicy", &mut errors);
        errors
    }
}
