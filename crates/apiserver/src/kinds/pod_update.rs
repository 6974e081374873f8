//! What may change in a pod once it exists. Mirrors Kubernetes v1.33 `ValidatePodUpdate`.

use objects::FieldError;
use serde_json::{Value, json};

use super::fields::{Fields, at, each, is_same, list};

const FORBIDDEN: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// What is wrong with an update of a pod's spec.
pub(super) fn validate(pod: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (new, old) = (&pod["spec"], &old["spec"]);
    if is_same(new, old) {
        return errors;
    }
    for kind in ["containers", "initContainers"] {
        if list(&new[kind]).count() != list(&old[kind]).count() {
            errors.push(FieldError::forbidden(
                format!("spec.{kind}"),
                "pod updates may not add or remove containers",
            ));
            return errors;
        }
    }
    for (index, gate) in list(&new["schedulingGates"]).enumerate() {
        if !list(&old["schedulingGates"]).any(|was| was == gate) {
            let name = super::fields::text(&gate["name"]);
            errors.push(FieldError::forbidden(
                format!("spec.schedulingGates[{index}].name"),
                format!("only deletion is allowed, but found new scheduling gate '{name}'"),
            ));
            return errors;
        }
    }
    deadline(new, old, &mut errors);
    tolerations(new, old, &mut errors);
    let mut allowed = new.clone();
    if let Some(spec) = allowed.as_object_mut() {
        copy_what_may_change(spec, old);
    }
    if !is_same(&allowed, old) {
        errors.push(FieldError::forbidden("spec", FORBIDDEN));
    }
    errors
}

/// Makes the parts that an update may change the same as they were.
fn copy_what_may_change(spec: &mut Fields, old: &Value) {
    for kind in ["containers", "initContainers"] {
        for (container, old) in each(spec, kind).zip(list(&old[kind])) {
            container.insert("image".into(), old["image"].clone());
        }
    }
    for key in ["activeDeadlineSeconds", "tolerations"] {
        spec.insert(key.into(), old[key].clone());
    }
    let grace = "terminationGracePeriodSeconds";
    let was_negative = old[grace].as_i64().is_some_and(|seconds| seconds < 0);
    if was_negative && spec.get(grace) == Some(&json!(1)) {
        spec.insert(grace.into(), old[grace].clone());
    }
    // Gates are only ever taken away, and while they are there the pod may be steered.
    if !super::fields::is_empty(&old["schedulingGates"]) {
        let remaining: Vec<Value> = list(&spec.get("schedulingGates").cloned().unwrap_or_default())
            .cloned()
            .collect();
        if remaining
            .iter()
            .all(|gate| list(&old["schedulingGates"]).any(|was| was == gate))
        {
            spec.insert("schedulingGates".into(), old["schedulingGates"].clone());
        }
        let adds_only = list_of(&old["nodeSelector"]).iter().all(|(key, value)| {
            spec.get("nodeSelector")
                .is_some_and(|new| new[key.as_str()] == **value)
        });
        if adds_only {
            spec.insert("nodeSelector".into(), old["nodeSelector"].clone());
        }
        if let Some(affinity) = at(spec, "affinity")
            && super::fields::is_empty(&old["affinity"]["nodeAffinity"])
        {
            affinity.insert(
                "nodeAffinity".into(),
                old["affinity"]["nodeAffinity"].clone(),
            );
        }
    }
}

fn list_of(map: &Value) -> Vec<(&String, &Value)> {
    map.as_object().into_iter().flatten().collect()
}

fn deadline(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let field = "spec.activeDeadlineSeconds";
    let (after, before) = (&new["activeDeadlineSeconds"], &old["activeDeadlineSeconds"]);
    match (after.as_i64(), before.as_i64()) {
        (None, Some(_)) => errors.push(FieldError::invalid(
            field,
            Value::Null,
            "must not update from a positive integer to nil value",
        )),
        (Some(after), Some(before)) if after > before => errors.push(FieldError::invalid(
            field,
            after,
            "must be less than or equal to previous value",
        )),
        _ => {}
    }
}

fn tolerations(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let is_kept = |toleration: &Value| {
        list(&new["tolerations"]).any(|other| {
            // The time a toleration lasts may be changed.
            let without_seconds = |toleration: &Value| {
                let mut toleration = toleration.clone();
                if let Some(fields) = toleration.as_object_mut() {
                    fields.remove("tolerationSeconds");
                }
                toleration
            };
            is_same(&without_seconds(toleration), &without_seconds(other))
        })
    };
    if !list(&old["tolerations"]).all(is_kept) {
        errors.push(FieldError::forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
}

/// A container that ended for good in a pod that never restarts it does not come back.
pub(super) fn validate_restarts(pod: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let policy = &pod["spec"]["restartPolicy"];
    if policy == "Always" {
        return errors;
    }
    for (index, new) in list(&pod["status"]["containerStatuses"]).enumerate() {
        let ended = list(&old["status"]["containerStatuses"])
            .filter(|old| old["name"] == new["name"])
            .map(|old| &old["state"]["terminated"])
            .find(|ended| ended.is_object());
        let Some(ended) = ended else { continue };
        let ends_for_good = policy == "Never" || ended["exitCode"] == 0;
        if ends_for_good && new["state"]["terminated"].is_null() {
            errors.push(FieldError::forbidden(
                format!("status.containerStatuses[{index}].state"),
                "may not be transitioned to non-terminated state",
            ));
        }
    }
    errors
}

/// How much a pod gets may change, but not whether it is promised: nothing that was asked for is taken back either.
pub(super) fn validate_resize(pod: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (was, is) = (super::pod::qos_class(old), super::pod::qos_class(pod));
    if was != is {
        errors.push(FieldError::invalid(
            "spec",
            was,
            "Pod QOS Class may not change as a result of resizing",
        ));
    }
    let containers = list(&pod["spec"]["containers"]).zip(list(&old["spec"]["containers"]));
    for (index, (new, old)) in containers.enumerate() {
        for kind in ["requests", "limits"] {
            let (new, old) = (&new["resources"][kind], &old["resources"][kind]);
            if list_of(old)
                .iter()
                .any(|(name, _)| new[name.as_str()].is_null())
            {
                errors.push(FieldError::forbidden(
                    format!("spec.containers[{index}].resources.{kind}"),
                    format!("resource {kind} cannot be removed"),
                ));
            }
        }
    }
    errors
}

/// Ephemeral containers only ever come.
pub(super) fn validate_ephemeral_containers(pod: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for old in list(&old["spec"]["ephemeralContainers"]) {
        let name = super::fields::text(&old["name"]);
        let present = list(&pod["spec"]["ephemeralContainers"])
            .find(|container| container["name"] == old["name"]);
        let done = match present {
            None => "removed",
            Some(present) if !is_same(present, old) => "changed",
            Some(_) => continue,
        };
        errors.push(FieldError::forbidden(
            "spec.ephemeralContainers",
            format!("existing ephemeral containers {name:?} may not be {done}\n"),
        ));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        json!({"spec": {
            "containers": [{"name": "a", "image": "a:1"}],
            "restartPolicy": "Never",
            "tolerations": [{"key": "a", "operator": "Exists"}],
            "activeDeadlineSeconds": 10,
        }})
    }

    fn changed(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let old = pod();
        let mut new = old.clone();
        change(&mut new);
        validate(&new, &old)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn an_image_a_shorter_deadline_and_more_tolerations_may_change() {
        let errors = changed(|pod| {
            pod["spec"]["containers"][0]["image"] = json!("a:2");
            pod["spec"]["activeDeadlineSeconds"] = json!(5);
            pod["spec"]["tolerations"] = json!([{"key": "a", "operator": "Exists", "tolerationSeconds": 3}, {"key": "b", "operator": "Exists"}]);
        });
        assert_eq!(errors, Vec::<String>::new());
    }

    #[test]
    fn nothing_else_may_change() {
        let errors = changed(|pod| pod["spec"]["containers"][0]["command"] = json!(["sh"]));
        assert_eq!(errors.len(), 1);
        assert!(
            errors[0].starts_with("spec: Forbidden: pod updates may not change fields other than"),
            "{errors:?}"
        );
        assert_eq!(
            changed(|pod| pod["spec"]["containers"] = json!([])),
            ["spec.containers: Forbidden: pod updates may not add or remove containers"]
        );
        assert_eq!(
            changed(|pod| pod["spec"]["tolerations"] = json!([])),
            [
                "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"
            ]
        );
        assert_eq!(
            changed(|pod| pod["spec"]["activeDeadlineSeconds"] = json!(11)),
            [
                "spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value"
            ]
        );
    }

    #[test]
    fn a_container_that_ended_for_good_stays_ended() {
        let mut old = pod();
        old["status"] =
            json!({"containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 1}}}]});
        let mut new = old.clone();
        new["status"] = json!({"containerStatuses": [{"name": "a", "state": {"running": {}}}]});
        assert_eq!(validate_restarts(&new, &old).len(), 1);
        new["spec"]["restartPolicy"] = json!("OnFailure");
        assert_eq!(validate_restarts(&new, &old).len(), 0);
    }

    fn resized(resources: Value) -> Vec<String> {
        let mut old = pod();
        old["spec"]["containers"][0]["resources"] =
            json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}});
        let mut new = old.clone();
        new["spec"]["containers"][0]["resources"] = resources;
        validate_resize(&new, &old)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_resize_keeps_the_pods_class_and_takes_nothing_back() {
        let more = json!({"requests": {"cpu": "1500m"}, "limits": {"cpu": "3"}});
        assert_eq!(resized(more), Vec::<String>::new());
        let full = json!({"cpu": "2", "memory": "1Gi"});
        assert_eq!(
            resized(json!({"requests": full, "limits": full})),
            [
                "spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing"
            ]
        );
        assert_eq!(
            resized(json!({"requests": {"cpu": "1"}})),
            ["spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed"]
        );
    }

    #[test]
    fn ephemeral_containers_come_and_stay_as_they_are() {
        let mut old = pod();
        old["spec"]["ephemeralContainers"] = json!([{"name": "look", "image": "a:1"}]);
        let changed = |containers: Value| {
            let mut new = old.clone();
            new["spec"]["ephemeralContainers"] = containers;
            validate_ephemeral_containers(&new, &old).len()
        };
        let added = json!([{"name": "look", "image": "a:1"}, {"name": "again", "image": "a:1"}]);
        assert_eq!(changed(added), 0);
        assert_eq!(changed(json!([{"name": "look", "image": "a:2"}])), 1);
        assert_eq!(changed(json!([])), 1);
    }
}
