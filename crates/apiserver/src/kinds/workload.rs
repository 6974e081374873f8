//! What the kinds that make pods from a template share: the selector must find what the template makes.

use objects::selector::LabelSelector;
use objects::{FieldError, meta};
use serde_json::Value;

use super::fields::{is_empty, is_same, text};
use super::pod_validation::validate_pod_spec;

pub(super) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

/// Selector and template of a workload whose pods always restart.
pub(super) fn validate_selector_and_template(object: &Value) -> Vec<FieldError> {
    let mut errors = validate_selector(object);
    errors.extend(validate_template(
        &object["spec"]["template"],
        "spec.template",
    ));
    let spec = &object["spec"]["template"]["spec"];
    let policy = text(&spec["restartPolicy"]);
    if !policy.is_empty() && policy != "Always" {
        errors.push(FieldError::not_supported(
            "spec.template.spec.restartPolicy",
            policy,
            &["Always"],
        ));
    }
    if !spec["activeDeadlineSeconds"].is_null() {
        errors.push(FieldError::forbidden(
            "spec.template.spec.activeDeadlineSeconds",
            "activeDeadlineSeconds in ReplicaSet is not Supported",
        ));
    }
    errors
}

/// The selector is there, can be read, is not empty, and matches the template's labels.
pub(super) fn validate_selector(object: &Value) -> Vec<FieldError> {
    let selector = &object["spec"]["selector"];
    if selector.is_null() {
        return vec![FieldError::required("spec.selector", "")];
    }
    if is_empty(&selector["matchLabels"]) && is_empty(&selector["matchExpressions"]) {
        return vec![FieldError::invalid(
            "spec.selector",
            selector.clone(),
            "empty selector is invalid for deployment",
        )];
    }
    let parsed = match LabelSelector::from_json(selector) {
        Ok(parsed) => parsed,
        Err(err) => {
            return vec![FieldError::invalid(
                "spec.selector",
                selector.clone(),
                err.to_string(),
            )];
        }
    };
    let template = &object["spec"]["template"];
    if parsed.matches_object(template) {
        return Vec::new();
    }
    vec![FieldError::invalid(
        "spec.template.metadata.labels",
        template["metadata"]["labels"].clone(),
        "`selector` does not match template `labels`",
    )]
}

/// Labels and spec of a template.
pub(super) fn validate_template(template: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    meta::validate_labels(
        meta::labels(template),
        &format!("{path}.metadata.labels"),
        &mut errors,
    );
    errors.extend(validate_pod_spec(
        &template["spec"],
        &format!("{path}.spec"),
    ));
    errors
}

/// A number that, where there is one, is not negative.
pub(super) fn not_negative(object: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let value = path.split('.').fold(object, |value, key| &value[key]);
    if value.as_i64().is_some_and(|number| number < 0) {
        errors.push(FieldError::invalid(path, value.clone(), NOT_NEGATIVE));
    }
}

/// A field that may not change.
pub(super) fn immutable(object: &Value, old: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let at = |value: &Value| {
        path.split('.')
            .fold(value.clone(), |value, key| value[key].clone())
    };
    if !is_same(&at(object), &at(old)) {
        errors.push(FieldError::invalid(path, at(object), "field is immutable"));
    }
}

/// A whole number or a percentage, none negative.
pub(super) fn validate_int_or_percent(value: &Value, field: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::Number(number) if number.as_i64().is_some_and(|number| number < 0) => {
            errors.push(FieldError::invalid(field, value.clone(), NOT_NEGATIVE));
        }
        Value::String(text) if percent(text).is_none() => errors.push(FieldError::invalid(
            field,
            text.as_str(),
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
        )),
        _ => {}
    }
}

/// Whether a whole number or percentage is zero.
pub(super) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => percent(text) == Some(0),
        _ => false,
    }
}

fn percent(text: &str) -> Option<u32> {
    text.strip_suffix('%')?.parse().ok()
}
