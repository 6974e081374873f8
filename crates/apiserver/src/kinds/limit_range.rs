//! LimitRanges: what is not said about a container follows from what is.

use objects::FieldError;
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
        for (index, limit) in list(&object["spec"]["limits"]).enumerate() {
            let path = format!("spec.limits[{index}]");
            if is_empty(&limit["type"]) {
                errors.push(FieldError::required(format!("{path}.type"), ""));
            }
            for key in [
                "max",
                "min",
                "default",
                "defaultRequest",
                "maxLimitRequestRatio",
            ] {
                validate_resource_list(&limit[key], &format!("{path}.{key}"), &mut errors);
            }
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
