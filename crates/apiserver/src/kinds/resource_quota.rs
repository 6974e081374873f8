//! ResourceQuotas. Enforcement is `admission`'s, `status.used` the quota controller's.

use objects::FieldError;
use serde_json::{Value, json};

use super::fields::{canonical_amounts, spec};
use super::pod_validation::validate_resource_list;
use super::{Strategy, start_status};

pub(super) struct ResourceQuota;

impl Strategy for ResourceQuota {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = spec(object) {
            canonical_amounts(spec, "hard");
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        start_status(object, json!({}));
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        validate_resource_list(&object["spec"]["hard"], "spec.hard", &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        super::workload::immutable(object, old, "spec.scopes", &mut errors);
        errors
    }
}
