//! What the kinds that make pods from a template share: the selector must find what the template makes.

use objects::selector::LabelSelector;
use objects::{FieldError, meta};
use serde_json::Value;

use super::fields::{is_empty, is_same, text};
use super::pod_validation::validate_pod_spec;
use super::selector;

pub(super) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

/// Selector and template of a workload whose pods always restart. `kind` is what the words call it.
pub(super) fn validate_selector_and_template(object: &Value, kind: &str) -> Vec<FieldError> {
    let mut errors = validate_selector(object, kind);
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
            format!("activeDeadlineSeconds in {kind} is not Supported"),
        ));
    }
    errors
}

/// The selector is there, can be read, is not empty, and matches the template's labels.
fn validate_selector(object: &Value, kind: &str) -> Vec<FieldError> {
    let selector = &object["spec"]["selector"];
    let is_bare = is_empty(&selector["matchLabels"]) && is_empty(&selector["matchExpressions"]);
    let mut errors = Vec::new();
    if selector.is_null() {
        // Of a DaemonSet only that nothing matches is said.
        if kind != "DaemonSet" {
            errors.push(FieldError::required("spec.selector", ""));
        }
    } else if is_bare {
        let kind = match kind {
            "ReplicaSet" => "deployment".to_owned(),
            kind => kind.to_lowercase(),
        };
        let detail = format!("empty selector is invalid for {kind}");
        errors.push(FieldError::invalid(
            "spec.selector",
            selector.clone(),
            detail,
        ));
    } else {
        selector::validate_selector(selector, "spec.selector", &mut errors);
    }
    let template = &object["spec"]["template"];
    match LabelSelector::from_json(selector) {
        Err(_) => {
            let detail = match kind {
                "StatefulSet" => "",
                "DaemonSet" => return errors,
                _ => "invalid label selector",
            };
            errors.push(FieldError::invalid(
                "spec.selector",
                selector.clone(),
                detail,
            ));
        }
        // Of an empty selector it was said above that it is empty.
        Ok(parsed) if (selector.is_null() || !is_bare) && !parsed.matches_object(template) => {
            errors.push(FieldError::invalid(
                "spec.template.metadata.labels",
                template["metadata"]["labels"].clone(),
                "`selector` does not match template `labels`",
            ));
        }
        Ok(_) => {}
    }
    errors
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
        Value::String(text) if percent(text).is_some_and(|percent| percent > 100) && is_share(field) => {
            errors.push(FieldError::invalid(
                field,
                text.as_str(),
                "must not be greater than 100%",
            ));
        }
        _ => {}
    }
}

/// Of what is there, nobody can have more than all; of what comes on top, one can.
fn is_share(field: &str) -> bool {
    !field.ends_with("maxSurge")
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
