//! StatefulSets.

use objects::FieldError;
use serde_json::{Value, json};

use super::fields::{at, at_or_new, each, fill, fill_text, is_same, spec};
use super::persistent_volume_claim::default_claim;
use super::pod_spec::default_template;
use super::workload::{not_negative, validate_selector_and_template};
use super::{Strategy, start_status};

const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

pub(super) struct StatefulSet;

impl Strategy for StatefulSet {
    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = spec(object) else { return };
        fill_text(spec, "podManagementPolicy", "OrderedReady");
        if let Some(update) = at_or_new(spec, "updateStrategy") {
            fill_text(update, "type", "RollingUpdate");
            if update["type"] == "RollingUpdate" {
                fill(update, "rollingUpdate", json!({}));
                if let Some(rolling) = at(update, "rollingUpdate") {
                    fill(rolling, "partition", 0);
                }
            }
        }
        if let Some(retention) = at_or_new(spec, "persistentVolumeClaimRetentionPolicy") {
            fill_text(retention, "whenDeleted", "Retain");
            fill_text(retention, "whenScaled", "Retain");
        }
        fill(spec, "replicas", 1);
        fill(spec, "revisionHistoryLimit", 10);
        default_template(spec);
        for claim in each(spec, "volumeClaimTemplates") {
            claim.insert("apiVersion".into(), "v1".into());
            claim.insert("kind".into(), "PersistentVolumeClaim".into());
            default_claim(claim);
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        start_status(object, json!({"replicas": 0, "availableReplicas": 0}));
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for field in [
            "spec.replicas",
            "spec.minReadySeconds",
            "spec.ordinals.start",
        ] {
            not_negative(object, field, &mut errors);
        }
        let spec = &object["spec"];
        for (field, supported) in [
            ("podManagementPolicy", ["OrderedReady", "Parallel"]),
            ("updateStrategy", ["RollingUpdate", "OnDelete"]),
        ] {
            let (value, path) = match field {
                "updateStrategy" => (&spec[field]["type"], "spec.updateStrategy"),
                _ => (&spec[field], "spec.podManagementPolicy"),
            };
            if let Some(text) = value.as_str().filter(|text| !supported.contains(text)) {
                let detail = format!("must be '{}' or '{}'", supported[0], supported[1]);
                errors.push(FieldError::invalid(path, text, detail));
            }
        }
        let rolling = &spec["updateStrategy"]["rollingUpdate"];
        not_negative(
            object,
            "spec.updateStrategy.rollingUpdate.partition",
            &mut errors,
        );
        if spec["updateStrategy"]["type"] == "OnDelete" && !rolling.is_null() {
            errors.push(FieldError::invalid(
                "spec.updateStrategy.rollingUpdate",
                rolling.clone(),
                "only allowed for updateStrategy 'RollingUpdate'",
            ));
        }
        for field in ["whenDeleted", "whenScaled"] {
            let policy = super::fields::text(&spec["persistentVolumeClaimRetentionPolicy"][field]);
            let policies = ["Retain", "Delete"];
            if !policy.is_empty() && !policies.contains(&policy) {
                let field = format!("spec.persistentVolumeClaimRetentionPolicy.{field}");
                errors.push(FieldError::not_supported(field, policy, &policies));
            }
        }
        errors.extend(validate_selector_and_template(
            &with_claims_as_volumes(object),
            "StatefulSet",
        ));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        let mut allowed = object["spec"].clone();
        if let Some(spec) = allowed.as_object_mut() {
            for field in MUTABLE {
                spec.insert(field.into(), old["spec"][field].clone());
            }
        }
        if !is_same(&allowed, &old["spec"]) {
            errors.push(FieldError::forbidden(
                "spec",
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                 'minReadySeconds' are forbidden",
            ));
        }
        errors
    }
}

/// Containers may mount the claims of the set as if they were volumes of the template.
fn with_claims_as_volumes(object: &Value) -> Value {
    let mut object = object.clone();
    let names: Vec<Value> = super::fields::list(&object["spec"]["volumeClaimTemplates"])
        .map(|claim| claim["metadata"]["name"].clone())
        .collect();
    if let Some(template) = object
        .pointer_mut("/spec/template/spec")
        .and_then(Value::as_object_mut)
    {
        fill(template, "volumes", json!([]));
        if let Some(volumes) = template["volumes"].as_array_mut() {
            volumes.retain(|volume| !names.contains(&volume["name"]));
            volumes.extend(
                names.iter().map(
                    |name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}),
                ),
            );
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Value {
        let mut set = json!({"metadata": {"name": "s"}, "spec": {
            "serviceName": "s",
            "selector": {"matchLabels": {"app": "s"}},
            "template": {"metadata": {"labels": {"app": "s"}}, "spec": {"containers": [
                {"name": "a", "image": "a:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
            ]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            }}],
        }});
        StatefulSet.default(&mut set);
        set
    }

    #[test]
    fn a_bare_set_starts_in_order_and_keeps_its_claims() {
        let spec = &set()["spec"];
        assert_eq!(spec["podManagementPolicy"], "OrderedReady");
        assert_eq!(
            spec["updateStrategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
        );
        assert_eq!(
            spec["persistentVolumeClaimRetentionPolicy"],
            json!({"whenDeleted": "Retain", "whenScaled": "Retain"})
        );
        let claim = &spec["volumeClaimTemplates"][0];
        assert_eq!(
            (&claim["kind"], &claim["spec"]["volumeMode"]),
            (&json!("PersistentVolumeClaim"), &json!("Filesystem"))
        );
        assert_eq!(claim["status"]["phase"], "Pending");
    }

    #[test]
    fn a_container_may_mount_a_claim_of_the_set() {
        assert_eq!(StatefulSet.validate_create(&set()), []);
    }

    #[test]
    fn only_what_a_rollout_can_change_may_change() {
        let old = set();
        let mut new = old.clone();
        new["spec"]["replicas"] = json!(3);
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:2");
        assert_eq!(StatefulSet.validate_update(&new, &old), []);
        new["spec"]["serviceName"] = json!("other");
        assert_eq!(StatefulSet.validate_update(&new, &old).len(), 1);
    }
}
