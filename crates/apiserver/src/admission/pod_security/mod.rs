//! Pod Security Standards: a namespace's labels say which level its pods must meet, and which they are warned about.
//! Mirrors Kubernetes v1.33 `pod-security-admission`; the checks are those of its latest version.

mod checks;

use objects::{FieldError, Status, meta};
use serde_json::Value;

use super::{Operation, Review};
use crate::lookup::Lookup;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How much a pod may ask of the node. `privileged`, the third level, forbids nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Baseline,
    Restricted,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// A level and the version of the standard, as the labels name them.
struct Policy {
    level: Level,
    version: String,
}

pub(super) fn validate(review: &mut Review<'_>, lookup: &dyn Lookup) -> Result<(), Status> {
    let is_write = matches!(review.operation, Operation::Create | Operation::Update);
    if is_write && review.group.is_empty() && review.resource == "namespaces" {
        return validate_labels(review);
    }
    let Some((path, is_pod)) = pod_of(review) else {
        return Ok(());
    };
    if !is_write || is_unchanged(review, path) {
        return Ok(());
    }
    let Some(namespace) = lookup.get("", "namespaces", "", review.namespace) else {
        return Ok(());
    };
    let pod = review.object.pointer(path).unwrap_or(&Value::Null).clone();
    if is_pod && let Some(policy) = policy(&namespace, "enforce") {
        let violations = checks::violations(&pod, policy.level);
        if !violations.is_empty() {
            return Err(review.forbid(&format!("violates {}", told(&policy, &violations))));
        }
    }
    if let Some(policy) = policy(&namespace, "warn") {
        let violations = checks::violations(&pod, policy.level);
        if !violations.is_empty() {
            review
                .warnings
                .push(format!("would violate {}", told(&policy, &violations)));
        }
    }
    Ok(())
}

/// A level that nobody knows would protect nothing: it is refused where it is written. What was stored before stays.
fn validate_labels(review: &Review<'_>) -> Result<(), Status> {
    if !review.subresource.is_empty() {
        return Ok(());
    }
    let wrong = wrong_labels(review.object);
    if wrong.is_empty() || review.old.is_some_and(|old| wrong_labels(old) == wrong) {
        return Ok(());
    }
    let name = meta::name(review.object);
    Err(Status::invalid("", "Namespace", name, wrong))
}

fn wrong_labels(namespace: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for mode in ["enforce", "audit", "warn"] {
        let level = format!("{PREFIX}{mode}");
        if let Some(value) = meta::label(namespace, &level)
            && !["privileged", "baseline", "restricted"].contains(&value)
        {
            errors.push(FieldError::invalid(
                format!("metadata.labels[{level}]"),
                value,
                "must be one of privileged, baseline, restricted",
            ));
        }
        let version = format!("{PREFIX}{mode}-version");
        if let Some(value) = meta::label(namespace, &version)
            && !is_version(value)
        {
            errors.push(FieldError::invalid(
                format!("metadata.labels[{version}]"),
                value,
                "must be \"latest\" or \"v1.x\"",
            ));
        }
    }
    errors
}

fn is_version(text: &str) -> bool {
    let is_number = |digits: &str| {
        !digits.is_empty()
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'))
    };
    text == "latest" || text.strip_prefix("v1.").is_some_and(is_number)
}

/// Where the pod stands in the object, and whether the object is the pod itself.
fn pod_of(review: &Review<'_>) -> Option<(&'static str, bool)> {
    let place = match (review.group, review.resource) {
        ("", "pods") if matches!(review.subresource, "" | "ephemeralcontainers") => {
            return Some(("", true));
        }
        ("", "replicationcontrollers")
        | ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets") => {
            "/spec/template"
        }
        ("batch", "jobs") => "/spec/template",
        ("batch", "cronjobs") => "/spec/jobTemplate/spec/template",
        _ => return None,
    };
    review.subresource.is_empty().then_some((place, false))
}

/// What an update does not touch was judged before.
fn is_unchanged(review: &Review<'_>, path: &str) -> bool {
    review.old.is_some_and(|old| {
        let spec = |object: &Value| object.pointer(path).map(|pod| pod["spec"].clone());
        spec(old) == spec(review.object)
    })
}

fn policy(namespace: &Value, mode: &str) -> Option<Policy> {
    let level = match meta::label(namespace, &format!("{PREFIX}{mode}"))? {
        "baseline" => Level::Baseline,
        "restricted" => Level::Restricted,
        _ => return None,
    };
    let version = meta::label(namespace, &format!("{PREFIX}{mode}-version")).unwrap_or("latest");
    Some(Policy {
        level,
        version: version.to_owned(),
    })
}

fn told(policy: &Policy, violations: &[String]) -> String {
    let named = format!("{}:{}", policy.level.name(), policy.version);
    format!("PodSecurity {named:?}: {}", violations.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::test_review::Write;
    use super::*;
    use crate::lookup::Fixed;
    use serde_json::json;

    fn namespace(labels: Value) -> Fixed {
        Fixed::default().with(
            "",
            "namespaces",
            json!({"metadata": {"name": "dev", "labels": labels}}),
        )
    }

    fn pod(spec: Value) -> Value {
        json!({"metadata": {"name": "p", "namespace": "dev"}, "spec": spec})
    }

    fn bare() -> Value {
        json!({"containers": [{"name": "a"}]})
    }

    fn restricted() -> Fixed {
        namespace(json!({"pod-security.kubernetes.io/enforce": "restricted"}))
    }

    #[test]
    fn a_bare_pod_is_not_restricted_enough_and_is_told_what_is_missing() {
        let status = Write::create("", "pods", pod(bare()))
            .pass(|review| validate(review, &restricted()))
            .unwrap_err();
        assert_eq!(
            status.message,
            r#"pods "p" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "a" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "a" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "a" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "a" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#
        );
    }

    #[test]
    fn a_pod_that_gives_everything_up_is_let_in() {
        let spec = json!({
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "a", "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
            "volumes": [{"name": "v", "emptyDir": {}}],
        });
        assert!(
            Write::create("", "pods", pod(spec))
                .pass(|review| validate(review, &restricted()))
                .is_ok()
        );
    }

    #[test]
    fn without_a_label_everything_goes() {
        let spec = json!({"hostNetwork": true, "containers": [{"name": "a", "securityContext": {"privileged": true}}]});
        assert!(
            Write::create("", "pods", pod(spec))
                .pass(|review| validate(review, &namespace(json!({}))))
                .is_ok()
        );
    }

    #[test]
    fn a_workload_is_warned_about_and_never_refused() {
        let labels = json!({
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/warn": "baseline", "pod-security.kubernetes.io/warn-version": "v1.30",
        });
        let spec = json!({"containers": [{"name": "a", "securityContext": {"privileged": true}}]});
        let deployment = json!({"metadata": {"name": "d", "namespace": "dev"}, "spec": {"template": {"spec": spec}}});
        let mut write = Write::create("apps", "deployments", deployment);
        write
            .pass(|review| validate(review, &namespace(labels)))
            .unwrap();
        assert_eq!(
            write.warnings,
            [
                r#"would violate PodSecurity "baseline:v1.30": privileged (container "a" must not set securityContext.privileged=true)"#
            ]
        );
    }

    #[test]
    fn what_was_let_in_before_stays() {
        let old = pod(bare());
        let mut labelled = old.clone();
        labelled["metadata"]["labels"] = json!({"a": "b"});
        assert!(
            Write::update("", "pods", &old, labelled)
                .pass(|review| validate(review, &restricted()))
                .is_ok()
        );
    }

    #[test]
    fn a_level_that_nobody_knows_is_refused_where_it_is_written() {
        let labelled = |labels: Value| json!({"metadata": {"name": "dev", "labels": labels}});
        let create = |labels| {
            Write::create("", "namespaces", labelled(labels))
                .pass(|review| validate(review, &Fixed::default()))
        };
        let bad = json!({"pod-security.kubernetes.io/enforce": "strict"});
        assert_eq!(
            create(bad.clone()).unwrap_err().message,
            "Namespace \"dev\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \
             \"strict\": must be one of privileged, baseline, restricted"
        );
        assert!(create(json!({"pod-security.kubernetes.io/warn-version": "1.30"})).is_err());
        let good = json!({
            "pod-security.kubernetes.io/enforce": "baseline",
            "pod-security.kubernetes.io/enforce-version": "v1.30",
        });
        assert!(create(good).is_ok());
        // What was stored with it may still be written for another reason.
        let mut more = labelled(bad.clone());
        more["metadata"]["annotations"] = json!({"a": "b"});
        assert!(
            Write::update("", "namespaces", &labelled(bad), more)
                .pass(|review| validate(review, &Fixed::default()))
                .is_ok()
        );
    }
}
