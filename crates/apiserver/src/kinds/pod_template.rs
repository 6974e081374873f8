//! PodTemplates.

use objects::FieldError;
use serde_json::Value;

use super::Strategy;
use super::pod_spec::default_template;
use super::workload::validate_template;

pub(super) struct PodTemplate;

impl Strategy for PodTemplate {
    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        if let Some(fields) = object.as_object_mut() {
            default_template(fields);
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        validate_template(&object["template"], "template")
    }
}
