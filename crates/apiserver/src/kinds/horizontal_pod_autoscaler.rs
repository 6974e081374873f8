//! HorizontalPodAutoscalers.

use objects::FieldError;
use serde_json::{Value, json};

use super::Strategy;
use super::fields::{Fields, at, fill, fill_text, is_empty, list, spec, text};

pub(super) struct HorizontalPodAutoscaler;

impl Strategy for HorizontalPodAutoscaler {
    fn default(&self, object: &mut Value) {
        let Some(spec) = spec(object) else { return };
        fill(spec, "minReplicas", 1);
        let is_first_version = spec.contains_key("targetCPUUtilizationPercentage");
        if !is_first_version && spec.get("metrics").is_none_or(is_empty) {
            spec.insert(
                "metrics".into(),
                json!([{"type": "Resource", "resource": {
                    "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80},
                }}]),
            );
        }
        if let Some(behavior) = at(spec, "behavior") {
            default_behavior(behavior);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        super::start_status(object, json!({"desiredReplicas": 0}));
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let spec = &object["spec"];
        let min = spec["minReplicas"].as_i64().unwrap_or(1);
        let max = spec["maxReplicas"].as_i64().unwrap_or_default();
        // Scaling to zero is a feature that is off, as it is by default elsewhere.
        if min < 1 {
            errors.push(FieldError::invalid(
                "spec.minReplicas",
                min,
                "must be greater than or equal to 1",
            ));
        }
        let counts_work = list(&spec["metrics"])
            .any(|metric| matches!(text(&metric["type"]), "Object" | "External"));
        if min == 0 && !counts_work {
            errors.push(FieldError::forbidden(
                "spec.metrics",
                "must specify at least one Object or External metric to support scaling to zero replicas",
            ));
        }
        let kinds = [
            "ContainerResource",
            "External",
            "Object",
            "Pods",
            "Resource",
        ];
        for (index, metric) in list(&spec["metrics"]).enumerate() {
            let kind = text(&metric["type"]);
            if !kinds.contains(&kind) {
                let field = format!("spec.metrics[{index}].type");
                errors.push(FieldError::not_supported(field, kind, &kinds));
            }
        }
        for direction in ["scaleUp", "scaleDown"] {
            validate_rules(
                &spec["behavior"][direction],
                &format!("spec.behavior.{direction}"),
                &mut errors,
            );
        }
        if max < 1 {
            errors.push(FieldError::invalid(
                "spec.maxReplicas",
                max,
                "must be greater than 0",
            ));
        }
        if max < min {
            errors.push(FieldError::invalid(
                "spec.maxReplicas",
                max,
                "must be greater than or equal to `minReplicas`",
            ));
        }
        for field in ["kind", "name"] {
            if is_empty(&spec["scaleTargetRef"][field]) {
                errors.push(FieldError::required(
                    format!("spec.scaleTargetRef.{field}"),
                    "",
                ));
            }
        }
        errors
    }
}

fn validate_rules(rules: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if !rules.is_object() {
        return;
    }
    let choices = ["Disabled", "Max", "Min"];
    if !choices.contains(&text(&rules["selectPolicy"])) {
        let field = format!("{path}.selectPolicy");
        errors.push(FieldError::not_supported(
            field,
            text(&rules["selectPolicy"]),
            &choices,
        ));
    }
    for (index, policy) in list(&rules["policies"]).enumerate() {
        let path = format!("{path}.policies[{index}]");
        let kinds = ["Percent", "Pods"];
        if !kinds.contains(&text(&policy["type"])) {
            let field = format!("{path}.type");
            errors.push(FieldError::not_supported(
                field,
                text(&policy["type"]),
                &kinds,
            ));
        }
        for field in ["value", "periodSeconds"] {
            if policy[field].as_i64().unwrap_or_default() <= 0 {
                errors.push(FieldError::invalid(
                    format!("{path}.{field}"),
                    policy[field].clone(),
                    "must be greater than zero",
                ));
            }
        }
    }
}

/// Who says something about how to scale says the rest by leaving it out: up fast, down at once and to any size.
fn default_behavior(behavior: &mut Fields) {
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    for (direction, policies) in [
        ("scaleUp", json!([pods, percent])),
        ("scaleDown", json!([percent])),
    ] {
        let Some(rules) = at(behavior, direction) else {
            continue;
        };
        if direction == "scaleUp" {
            fill(rules, "stabilizationWindowSeconds", 0);
        }
        fill_text(rules, "selectPolicy", "Max");
        if rules.get("policies").is_none_or(is_empty) {
            rules.insert("policies".into(), policies);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_autoscaler_that_names_no_metric_watches_the_cpu() {
        let mut autoscaler = json!({"spec": {"maxReplicas": 3, "behavior": {"scaleUp": {}}}});
        HorizontalPodAutoscaler.default(&mut autoscaler);
        let spec = &autoscaler["spec"];
        assert_eq!(spec["minReplicas"], 1);
        assert_eq!(
            spec["metrics"][0]["resource"]["target"]["averageUtilization"],
            80
        );
        assert_eq!(
            spec["behavior"]["scaleUp"]["policies"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
    }

    #[test]
    fn an_autoscaler_has_a_target_and_a_sensible_range() {
        let autoscaler = json!({"spec": {"minReplicas": 3, "maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment"}}});
        let errors: Vec<String> = HorizontalPodAutoscaler
            .validate_create(&autoscaler)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            errors,
            [
                "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`",
                "spec.scaleTargetRef.name: Required value",
            ]
        );
    }
}
