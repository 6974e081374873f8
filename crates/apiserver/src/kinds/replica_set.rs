//! ReplicaSets.

use objects::FieldError;
use serde_json::{Value, json};

use super::fields::{fill, spec};
use super::pod_spec::default_template;
use super::workload::{immutable, not_negative, validate_selector_and_template};
use super::{Strategy, start_status};

pub(super) struct ReplicaSet;

impl Strategy for ReplicaSet {
    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        if let Some(spec) = spec(object) {
            fill(spec, "replicas", 1);
            default_template(spec);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        start_status(object, json!({"replicas": 0}));
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for field in ["spec.replicas", "spec.minReadySeconds"] {
            not_negative(object, field, &mut errors);
        }
        errors.extend(validate_selector_and_template(object, "ReplicaSet"));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        immutable(object, old, "spec.selector", &mut errors);
        errors
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["status.replicas"]
    }
}
