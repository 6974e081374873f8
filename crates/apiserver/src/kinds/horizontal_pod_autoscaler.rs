//! HorizontalPodAutoscalers.

use objects::FieldError;
use serde_json::{Value, json};

use super::Strategy;
use super::fields::{fill, is_empty, spec};

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
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let spec = &object["spec"];
        let min = spec["minReplicas"].as_i64().unwrap_or(1);
        let max = spec["maxReplicas"].as_i64().unwrap_or_default();
        if min < 1 {
            errors.push(FieldError::invalid(
                "spec.minReplicas",
                min,
                "must be greater than or equal to 1",
            ));
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
