//! IngressClasses.

use objects::FieldError;
use serde_json::Value;

use super::Strategy;
use super::fields::{at, fill_text, is_empty, spec};
use super::workload::immutable;

pub(super) struct IngressClass;

impl Strategy for IngressClass {
    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        if let Some(parameters) = spec(object).and_then(|spec| at(spec, "parameters")) {
            fill_text(parameters, "scope", "Cluster");
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        if is_empty(&object["spec"]["controller"]) {
            return vec![FieldError::required("spec.controller", "")];
        }
        Vec::new()
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        immutable(object, old, "spec.controller", &mut errors);
        errors
    }
}
