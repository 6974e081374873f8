//! PodDisruptionBudgets.

use objects::FieldError;
use objects::selector::LabelSelector;
use serde_json::{Value, json};

use super::workload::validate_int_or_percent;
use super::{Strategy, start_status};

pub(super) struct PodDisruptionBudget;

impl Strategy for PodDisruptionBudget {
    fn has_generation(&self) -> bool {
        true
    }

    fn prepare_create(&self, object: &mut Value) {
        start_status(
            object,
            json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}),
        );
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let spec = &object["spec"];
        if !spec["minAvailable"].is_null() && !spec["maxUnavailable"].is_null() {
            errors.push(FieldError::invalid(
                "spec",
                spec.clone(),
                "minAvailable and maxUnavailable cannot be both set",
            ));
        }
        for field in ["minAvailable", "maxUnavailable"] {
            validate_int_or_percent(&spec[field], &format!("spec.{field}"), &mut errors);
        }
        if let Err(err) = LabelSelector::from_json(&spec["selector"])
            && !spec["selector"].is_null()
        {
            errors.push(FieldError::invalid(
                "spec.selector",
                spec["selector"].clone(),
                err.to_string(),
            ));
        }
        errors
    }
}
