//! ControllerRevisions: what a controller once wrote down stays.

use objects::FieldError;
use serde_json::Value;

use super::Strategy;
use super::workload::{immutable, not_negative};

pub(super) struct ControllerRevision;

impl Strategy for ControllerRevision {
    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        not_negative(object, "revision", &mut errors);
        if object["data"].is_null() {
            errors.push(FieldError::required("data", "data is mandatory"));
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        immutable(object, old, "data", &mut errors);
        errors
    }
}
