//! DaemonSets.

use objects::{FieldError, meta};
use serde_json::{Value, json};

use super::fields::{at, at_or_new, fill, fill_text, is_same, spec, text};
use super::pod_spec::default_template;
use super::workload::{
    immutable, is_zero, not_negative, validate_int_or_percent, validate_selector_and_template,
};
use super::{Strategy, start_status};

/// Counts the changes of the template; kept for clients of the time before `metadata.generation`.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

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
        set_template_generation(object, 1);
        start_status(
            object,
            json!({"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0}),
        );
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        super::keep(object, old, "status");
        let before: i64 = meta::annotation(old, TEMPLATE_GENERATION)
            .and_then(|text| text.parse().ok())
            .unwrap_or(1);
        let is_same = is_same(&object["spec"]["template"], &old["spec"]["template"]);
        set_template_generation(object, if is_same { before } else { before + 1 });
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = validate_selector_and_template(object, "DaemonSet");
        not_negative(object, "spec.minReadySeconds", &mut errors);
        validate_strategy(&object["spec"]["updateStrategy"], &mut errors);
        not_negative(object, "spec.revisionHistoryLimit", &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        immutable(object, old, "spec.selector", &mut errors);
        errors
    }
}

fn set_template_generation(object: &mut Value, generation: i64) {
    meta::annotations_mut(object).insert(TEMPLATE_GENERATION.into(), generation.to_string().into());
}

fn validate_strategy(strategy: &Value, errors: &mut Vec<FieldError>) {
    let rolling = &strategy["rollingUpdate"];
    match text(&strategy["type"]) {
        "OnDelete" => {}
        "RollingUpdate" => {
            for field in ["maxUnavailable", "maxSurge"] {
                let path = format!("spec.updateStrategy.rollingUpdate.{field}");
                validate_int_or_percent(&rolling[field], &path, errors);
            }
            match (
                is_zero(&rolling["maxUnavailable"]),
                is_zero(&rolling["maxSurge"]),
            ) {
                (true, true) => errors.push(FieldError::required(
                    "spec.updateStrategy.rollingUpdate.maxUnavailable",
                    "cannot be 0 when maxSurge is 0",
                )),
                (false, false) => errors.push(FieldError::invalid(
                    "spec.updateStrategy.rollingUpdate.maxSurge",
                    rolling["maxSurge"].clone(),
                    "may not be set when maxUnavailable is non-zero",
                )),
                _ => {}
            }
        }
        other => errors.push(FieldError::not_supported(
            "spec.updateStrategy",
            other,
            &["RollingUpdate", "OnDelete"],
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_the_template_are_counted_in_an_annotation() {
        let mut set =
            json!({"metadata": {"name": "d"}, "spec": {"template": {"spec": {"containers": []}}}});
        DaemonSet.prepare_create(&mut set);
        assert_eq!(meta::annotation(&set, TEMPLATE_GENERATION), Some("1"));
        let mut same = set.clone();
        meta::remove(&mut same, "annotations");
        DaemonSet.prepare_update(&mut same, &set);
        assert_eq!(meta::annotation(&same, TEMPLATE_GENERATION), Some("1"));
        let mut other = set.clone();
        other["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
        DaemonSet.prepare_update(&mut other, &set);
        assert_eq!(meta::annotation(&other, TEMPLATE_GENERATION), Some("2"));
    }
}
