//! LimitRanges: what is not said about a container follows from what is.

use std::collections::HashSet;

use objects::FieldError;
use objects::quantity::Quantity;
use serde_json::{Value, json};

use super::Strategy;
use super::fields::{at, canonical_amounts, each, fill, is_empty, list, spec, text};
use super::pod_validation::validate_resource_list;

pub(super) struct LimitRange;

impl Strategy for LimitRange {
    fn default(&self, object: &mut Value) {
        let Some(spec) = spec(object) else { return };
        for limit in each(spec, "limits") {
            for key in [
                "max",
                "min",
                "default",
                "defaultRequest",
                "maxLimitRequestRatio",
            ] {
                canonical_amounts(limit, key);
            }
            if limit.get("type") != Some(&json!("Container")) {
                continue;
            }
            for key in ["default", "defaultRequest"] {
                fill(limit, key, json!({}));
            }
            // The largest is the default limit, the default limit the default request, and the smallest too.
            for (from, to) in [
                ("max", "default"),
                ("default", "defaultRequest"),
                ("min", "defaultRequest"),
            ] {
                let source = limit
                    .get(from)
                    .and_then(Value::as_object)
                    .cloned()
                    .unwrap_or_default();
                if let Some(target) = at(limit, to) {
                    for (name, quantity) in source {
                        fill(target, &name, quantity);
                    }
                }
            }
            for key in ["default", "defaultRequest"] {
                if limit.get(key).is_some_and(is_empty) {
                    limit.remove(key);
                }
            }
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut seen = HashSet::new();
        for (index, limit) in list(&object["spec"]["limits"]).enumerate() {
            let path = format!("spec.limits[{index}]");
            if is_empty(&limit["type"]) {
                errors.push(FieldError::required(format!("{path}.type"), ""));
            }
            validate_type(limit, &path, &mut seen, &mut errors);
            for key in [
                "max",
                "min",
                "default",
                "defaultRequest",
                "maxLimitRequestRatio",
            ] {
                validate_resource_list(&limit[key], &format!("{path}.{key}"), &mut errors);
            }
            validate_order(limit, &path, &mut errors);
            if text(&limit["type"]) == "Pod" {
                for key in ["default", "defaultRequest"] {
                    if !is_empty(&limit[key]) {
                        errors.push(FieldError::forbidden(
                            format!("{path}.{key}"),
                            "may not be specified when `type` is 'Pod'",
                        ));
                    }
                }
            }
        }
        errors
    }
}

fn validate_type<'a>(
    limit: &'a Value,
    path: &str,
    seen: &mut HashSet<&'a str>,
    errors: &mut Vec<FieldError>,
) {
    let kind = text(&limit["type"]);
    let field = format!("{path}.type");
    let is_known = matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim");
    if !kind.is_empty() && !is_known && !kind.contains('/') {
        errors.push(FieldError::invalid(
            field.clone(),
            kind,
            "must be a standard limit type or fully qualified",
        ));
    }
    if !seen.insert(kind) {
        errors.push(FieldError::duplicate(field, kind));
    }
    if kind == "PersistentVolumeClaim"
        && limit["min"]["storage"].is_null()
        && limit["max"]["storage"].is_null()
    {
        errors.push(FieldError::required(
            format!("{path}.limits"),
            "either minimum or maximum storage value is required, but neither was provided",
        ));
    }
}

/// The smallest, the default request, the default limit and the largest come in this order.
fn validate_order(limit: &Value, path: &str, errors: &mut Vec<FieldError>) {
    const ORDER: [(&str, &str, &str, &str, &str); 6] = [
        ("min", "max", "min", "min value", "max value"),
        (
            "min",
            "defaultRequest",
            "defaultRequest",
            "min value",
            "default request value",
        ),
        ("min", "default", "default", "min value", "default value"),
        (
            "defaultRequest",
            "max",
            "defaultRequest",
            "default request value",
            "max value",
        ),
        (
            "defaultRequest",
            "default",
            "defaultRequest",
            "default request value",
            "default limit value",
        ),
        ("default", "max", "default", "default value", "max value"),
    ];
    let amount = |key: &str, name: &str| Quantity::from_json(&limit[key][name]).ok();
    for (smaller, larger, at, smaller_is, larger_is) in ORDER {
        for name in limit[smaller]
            .as_object()
            .into_iter()
            .flat_map(|map| map.keys())
        {
            if let (Some(low), Some(high)) = (amount(smaller, name), amount(larger, name))
                && low > high
            {
                errors.push(FieldError::invalid(
                    format!("{path}.{at}[{name}]"),
                    limit[at][name].clone(),
                    format!(
                        "{smaller_is} {} is greater than {larger_is} {}",
                        low.canonical(),
                        high.canonical()
                    ),
                ));
            }
        }
    }
    for (name, ratio) in limit["maxLimitRequestRatio"]
        .as_object()
        .into_iter()
        .flatten()
    {
        if let Ok(ratio) = Quantity::from_json(ratio)
            && ratio < Quantity::from_units(1)
        {
            errors.push(FieldError::invalid(
                format!("{path}.maxLimitRequestRatio[{name}]"),
                ratio.canonical(),
                format!("ratio {} is less than 1", ratio.canonical()),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_maximum_is_the_default_limit_and_the_default_request() {
        let mut range = json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}]}});
        LimitRange.default(&mut range);
        let limit = &range["spec"]["limits"][0];
        assert_eq!(limit["default"], json!({"cpu": "2"}));
        assert_eq!(
            limit["defaultRequest"],
            json!({"cpu": "2", "memory": "1Mi"})
        );
    }
}
