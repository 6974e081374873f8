//! Label selectors inside objects: known operators with the values they need.

use objects::{FieldError, meta, names};
use serde_json::Value;

use super::fields::{list, text};

/// What is wrong with a selector; nothing is wrong with none.
pub(super) fn validate_selector(selector: &Value, path: &str, errors: &mut Vec<FieldError>) {
    meta::validate_labels(
        selector["matchLabels"].as_object(),
        &format!("{path}.matchLabels"),
        errors,
    );
    for (index, wanted) in list(&selector["matchExpressions"]).enumerate() {
        let path = format!("{path}.matchExpressions[{index}]");
        let count = list(&wanted["values"]).count();
        match text(&wanted["operator"]) {
            "In" | "NotIn" if count == 0 => errors.push(FieldError::required(
                format!("{path}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if count > 0 => errors.push(FieldError::forbidden(
                format!("{path}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                format!("{path}.operator"),
                other,
                "not a valid selector operator",
            )),
        }
        let key = text(&wanted["key"]);
        for detail in names::qualified_name(key) {
            errors.push(FieldError::invalid(format!("{path}.key"), key, detail));
        }
        for (at, value) in list(&wanted["values"]).enumerate() {
            for detail in names::label_value(text(value)) {
                errors.push(FieldError::invalid(
                    format!("{path}.values[{at}]"),
                    text(value),
                    detail,
                ));
            }
        }
    }
}
