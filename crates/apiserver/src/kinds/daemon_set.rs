//! DaemonSets.

use objects::FieldError;
use serde_json::{Value, json};

use super::fields::{at, at_or_new, fill, fill_text, spec};
use super::pod_spec::default_template;
use super::workload::{immutable, not_negative, validate_selector_and_template};
use super::{Strategy, start_status};

pub(super) struct DaemonSet;

impl Strategy for DaemonSet {
    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = spec(object) else { return };
        if let Some(update) = at_or_new(spec, "updateStrategy") {
            fill_text(update, "type", "RollingUpdate");
            if update["type"] == "RollingUpdate" {
                fill(update, "rollingUpdate", json!({}));
                if let Some(rolling) = at(update, "rollingUpdate") {
                    fill(rolling, "maxUnavailable", 1);
                    fill(rolling, "maxSurge", 0);
                }
            }
        }
        fill(spec, "revisionHistoryLimit", 10);
        default_template(spec);
    }

    fn prepare_create(&self, object: &mut Value) {
        start_status(
            object,
            json!({"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0}),
        );
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = validate_selector_and_template(object);
        not_negative(object, "spec.minReadySeconds", &mut errors);
        not_negative(object, "spec.revisionHistoryLimit", &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        immutable(object, old, "spec.selector", &mut errors);
        errors
    }
}
