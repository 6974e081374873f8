//! ReplicationControllers: ReplicaSets of old, with a map for a selector.

use objects::selector::LabelSelector;
use objects::{FieldError, meta};
use serde_json::{Value, json};

use super::fields::{fill, is_absent, is_empty, spec};
use super::pod_spec::default_template;
use super::workload::{not_negative, validate_template};
use super::{Strategy, start_status};

pub(super) struct ReplicationController;

impl Strategy for ReplicationController {
    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        let labels = object["spec"]["template"]["metadata"]["labels"].clone();
        if labels.is_object() {
            if is_empty(&object["metadata"]["labels"]) {
                meta::set(object, "labels", labels.clone());
            }
            if let Some(spec) = spec(object)
                && is_absent(spec, "selector")
            {
                spec.insert("selector".into(), labels);
            }
        }
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
        not_negative(object, "spec.replicas", &mut errors);
        not_negative(object, "spec.minReadySeconds", &mut errors);
        let (selector, template) = (&object["spec"]["selector"], &object["spec"]["template"]);
        if is_empty(selector) {
            errors.push(FieldError::required("spec.selector", ""));
        } else if !LabelSelector::from_map(selector).matches_object(template) {
            errors.push(FieldError::invalid(
                "spec.template.metadata.labels",
                template["metadata"]["labels"].clone(),
                "`selector` does not match template `labels`",
            ));
        }
        errors.extend(validate_template(template, "spec.template"));
        let policy = super::fields::text(&template["spec"]["restartPolicy"]);
        if !policy.is_empty() && policy != "Always" {
            errors.push(FieldError::not_supported(
                "spec.template.spec.restartPolicy",
                policy,
                &["Always"],
            ));
        }
        errors
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["status.replicas"]
    }
}
