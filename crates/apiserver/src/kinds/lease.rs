//! Leases.

use objects::FieldError;
use serde_json::Value;

use super::Strategy;

pub(super) struct Lease;

impl Strategy for Lease {
    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let spec = &object["spec"];
        if spec["leaseDurationSeconds"]
            .as_i64()
            .is_some_and(|seconds| seconds <= 0)
        {
            errors.push(FieldError::invalid(
                "spec.leaseDurationSeconds",
                spec["leaseDurationSeconds"].clone(),
                "must be greater than 0",
            ));
        }
        super::workload::not_negative(object, "spec.leaseTransitions", &mut errors);
        errors
    }
}
