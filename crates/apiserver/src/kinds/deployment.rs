//! Deployments.

use objects::FieldError;
use serde_json::{Value, json};

use super::fields::{at, at_or_new, fill, fill_text, spec};
use super::pod_spec::default_template;
use super::workload::{
    immutable, is_zero, not_negative, validate_int_or_percent, validate_selector_and_template,
};
use super::{Strategy, start_status};

pub(super) struct Deployment;

impl Strategy for Deployment {
    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = spec(object) else { return };
        fill(spec, "replicas", 1);
        fill(spec, "revisionHistoryLimit", 10);
        fill(spec, "progressDeadlineSeconds", 600);
        if let Some(strategy) = at_or_new(spec, "strategy") {
            fill_text(strategy, "type", "RollingUpdate");
            if strategy["type"] == "RollingUpdate" {
                fill(strategy, "rollingUpdate", json!({}));
                if let Some(rolling) = at(strategy, "rollingUpdate") {
                    fill(rolling, "maxUnavailable", "25%");
                    fill(rolling, "maxSurge", "25%");
                }
            }
        }
        default_template(spec);
    }

    fn prepare_create(&self, object: &mut Value) {
        start_status(object, json!({}));
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for field in [
            "spec.replicas",
            "spec.minReadySeconds",
            "spec.revisionHistoryLimit",
        ] {
            not_negative(object, field, &mut errors);
        }
        errors.extend(validate_selector_and_template(object, "ReplicaSet"));
        validate_strategy(&object["spec"]["strategy"], &mut errors);
        let deadline = object["spec"]["progressDeadlineSeconds"]
            .as_i64()
            .unwrap_or(i64::MAX);
        if deadline
            <= object["spec"]["minReadySeconds"]
                .as_i64()
                .unwrap_or_default()
        {
            errors.push(FieldError::invalid(
                "spec.progressDeadlineSeconds",
                deadline,
                "must be greater than minReadySeconds",
            ));
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        immutable(object, old, "spec.selector", &mut errors);
        errors
    }
}

fn validate_strategy(strategy: &Value, errors: &mut Vec<FieldError>) {
    let rolling = &strategy["rollingUpdate"];
    match strategy["type"].as_str().unwrap_or_default() {
        "Recreate" => {
            if !rolling.is_null() {
                errors.push(FieldError::forbidden(
                    "spec.strategy.rollingUpdate",
                    "may not be specified when strategy `type` is 'Recreate'",
                ));
            }
        }
        "RollingUpdate" => {
            for field in ["maxUnavailable", "maxSurge"] {
                let path = format!("spec.strategy.rollingUpdate.{field}");
                validate_int_or_percent(&rolling[field], &path, errors);
            }
            if is_zero(&rolling["maxUnavailable"]) && is_zero(&rolling["maxSurge"]) {
                errors.push(FieldError::invalid(
                    "spec.strategy.rollingUpdate.maxUnavailable",
                    rolling["maxUnavailable"].clone(),
                    "may not be 0 when `maxSurge` is 0",
                ));
            }
        }
        other => errors.push(FieldError::not_supported(
            "spec.strategy",
            other,
            &["Recreate", "RollingUpdate"],
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment() -> Value {
        let mut deployment = json!({"metadata": {"name": "d"}, "spec": {
            "selector": {"matchLabels": {"app": "d"}},
            "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}},
        }});
        Deployment.default(&mut deployment);
        deployment
    }

    fn complaints(deployment: &Value) -> Vec<String> {
        Deployment
            .validate_create(deployment)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_bare_deployment_rolls_by_quarters_and_keeps_ten_revisions() {
        let spec = &deployment()["spec"];
        assert_eq!(spec["replicas"], 1);
        assert_eq!(spec["revisionHistoryLimit"], 10);
        assert_eq!(spec["progressDeadlineSeconds"], 600);
        assert_eq!(
            spec["strategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}})
        );
        assert_eq!(spec["template"]["spec"]["restartPolicy"], "Always");
        assert!(spec["template"]["spec"].get("enableServiceLinks").is_none());
        assert_eq!(complaints(&deployment()), Vec::<String>::new());
    }

    #[test]
    fn the_selector_must_match_the_templates_labels() {
        let mut deployment = deployment();
        deployment["spec"]["template"]["metadata"]["labels"] = json!({"app": "other"});
        assert_eq!(
            complaints(&deployment),
            [
                r#"spec.template.metadata.labels: Invalid value: map[string]string{"app":"other"}: `selector` does not match template `labels`"#
            ]
        );
    }

    #[test]
    fn the_selector_never_changes() {
        let old = deployment();
        let mut new = old.clone();
        new["spec"]["selector"]["matchLabels"] = json!({"app": "d", "tier": "x"});
        new["spec"]["template"]["metadata"]["labels"] = json!({"app": "d", "tier": "x"});
        let errors = Deployment.validate_update(&new, &old);
        assert_eq!(errors.len(), 1);
        assert!(
            errors[0]
                .to_string()
                .starts_with("spec.selector: Invalid value")
        );
        assert!(errors[0].to_string().ends_with("field is immutable"));
    }

    #[test]
    fn a_rollout_must_be_able_to_move_and_pods_of_it_always_restart() {
        let mut deployment = deployment();
        deployment["spec"]["strategy"]["rollingUpdate"] =
            json!({"maxSurge": 0, "maxUnavailable": "0%"});
        deployment["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
        deployment["spec"]["replicas"] = json!(-1);
        assert_eq!(
            complaints(&deployment),
            [
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                r#"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#,
                r#"spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0"#,
            ]
        );
    }
}
