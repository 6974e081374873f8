//! PodDisruptionBudgets.

use objects::FieldError;
use serde_json::{Value, json};

use super::fields::text;
use super::selector::validate_selector;
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
        let policies = ["AlwaysAllow", "IfHealthyBudget"];
        let policy = text(&spec["unhealthyPodEvictionPolicy"]);
        if !policy.is_empty() && !policies.contains(&policy) {
            errors.push(FieldError::not_supported(
                "spec.unhealthyPodEvictionPolicy",
                policy,
                &policies,
            ));
        }
        validate_selector(&spec["selector"], "spec.selector", &mut errors);
        errors
    }
}
