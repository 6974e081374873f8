//! Jobs.

use objects::selector::LabelSelector;
use objects::{FieldError, meta};
use serde_json::{Value, json};

use super::fields::{
    Fields, at, at_or_new, each, fill, fill_text, is_absent, is_empty, is_same, list, spec, text,
};
use super::pod_spec::default_template;
use super::workload::{immutable, not_negative, validate_template};
use super::{Strategy, start_status};

/// The labels by which a Job finds its pods, old and new names.
const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

pub(super) struct Job;

impl Strategy for Job {
    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = spec(object) else { return };
        default_job_spec(spec);
        fill(spec, "manualSelector", false);
        default_template(spec);
        label_like_template(object);
    }

    /// Needs `metadata.uid`, from which the selector is made.
    fn prepare_create(&self, object: &mut Value) {
        start_status(object, json!({}));
        // Labels taken over from the template go on being the template's.
        let are_taken_over = is_empty(&object["metadata"]["labels"])
            || object["metadata"]["labels"] == object["spec"]["template"]["metadata"]["labels"];
        generate_selector(object);
        if are_taken_over {
            meta::remove(object, "labels");
            label_like_template(object);
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = validate_selector(object);
        errors.extend(validate_job_spec(object, "spec"));
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        for field in [
            "spec.selector",
            "spec.completionMode",
            "spec.podFailurePolicy",
            "spec.backoffLimitPerIndex",
            "spec.managedBy",
            "spec.successPolicy",
        ] {
            immutable(object, old, field, &mut errors);
        }
        completions(object, old, &mut errors);
        template(object, old, &mut errors);
        errors
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["status.successful"]
    }

    fn selectable_field(&self, object: &Value, field: &str) -> String {
        match field {
            "status.successful" => object["status"]["succeeded"]
                .as_i64()
                .unwrap_or_default()
                .to_string(),
            _ => super::read_path(object, field),
        }
    }
}

fn default_job_spec(spec: &mut Fields) {
    if is_absent(spec, "completions") && is_absent(spec, "parallelism") {
        fill(spec, "completions", 1);
    }
    fill(spec, "parallelism", 1);
    let limit = if is_absent(spec, "backoffLimitPerIndex") {
        6
    } else {
        i32::MAX
    };
    fill(spec, "backoffLimit", limit);
    fill_text(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
    if let Some(policy) = at(spec, "podFailurePolicy") {
        for rule in each(policy, "rules") {
            for pattern in each(rule, "onPodConditions") {
                fill_text(pattern, "status", "True");
            }
        }
    }
    let replacement = if is_absent(spec, "podFailurePolicy") {
        "TerminatingOrFailed"
    } else {
        "Failed"
    };
    fill_text(spec, "podReplacementPolicy", replacement);
}

/// A Job without labels has those of its template.
fn label_like_template(object: &mut Value) {
    let labels = object["spec"]["template"]["metadata"]["labels"].clone();
    if is_empty(&object["metadata"]["labels"]) && !is_empty(&labels) && labels.is_object() {
        meta::set(object, "labels", labels);
    }
}

/// Unless the selector is the user's own, pods are found by labels made from the Job's uid.
fn generate_selector(object: &mut Value) {
    if object["spec"]["manualSelector"] == true {
        return;
    }
    let (uid, name) = (meta::uid(object).to_owned(), meta::name(object).to_owned());
    if uid.is_empty() {
        return;
    }
    let Some(spec) = spec(object) else { return };
    spec.insert("manualSelector".into(), false.into());
    let labels = at_or_new(spec, "template")
        .and_then(|template| at_or_new(template, "metadata"))
        .and_then(|metadata| at_or_new(metadata, "labels"));
    if let Some(labels) = labels {
        // A label the user set to something else is left, and validation names it.
        for label in NAME_LABELS {
            fill(labels, label, name.as_str());
        }
        for label in UID_LABELS {
            fill(labels, label, uid.as_str());
        }
    }
    if let Some(labels) =
        at_or_new(spec, "selector").and_then(|selector| at_or_new(selector, "matchLabels"))
    {
        fill(labels, UID_LABELS[0], uid);
    }
}

fn validate_selector(object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (selector, template) = (&object["spec"]["selector"], &object["spec"]["template"]);
    if selector.is_null() {
        errors.push(FieldError::required("spec.selector", ""));
    }
    if object["spec"]["manualSelector"] != true {
        let (uid, name) = (meta::uid(object), meta::name(object));
        for (labels, expected) in [(UID_LABELS, uid), (NAME_LABELS, name)] {
            for label in labels {
                let found = &template["metadata"]["labels"][label];
                if *found != expected {
                    errors.push(FieldError::invalid(
                        format!("spec.template.metadata.labels[{label}]"),
                        template["metadata"]["labels"].clone(),
                        format!("must be '{expected}'"),
                    ));
                }
            }
        }
        let found = &selector["matchLabels"];
        let is_generated = found.as_object().is_some_and(|labels| {
            labels.len() == 1 && (found[UID_LABELS[0]] == uid || found[UID_LABELS[1]] == uid)
        });
        if !is_generated {
            errors.push(FieldError::invalid(
                "spec.selector",
                selector.clone(),
                "`selector` not auto-generated",
            ));
        }
    }
    let matches =
        LabelSelector::from_json(selector).is_ok_and(|selector| selector.matches_object(template));
    if !matches {
        errors.push(FieldError::invalid(
            "spec.template.metadata.labels",
            template["metadata"]["labels"].clone(),
            "`selector` does not match template `labels`",
        ));
    }
    errors
}

/// What is wrong with the spec of a Job, also inside a CronJob.
pub(super) fn validate_job_spec(holder: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = path.split('.').fold(holder, |value, key| &value[key]);
    for field in [
        "parallelism",
        "completions",
        "backoffLimit",
        "activeDeadlineSeconds",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        not_negative(holder, &format!("{path}.{field}"), &mut errors);
    }
    if !is_empty(&spec["completionMode"]) && spec["completionMode"] != "NonIndexed" {
        if spec["completionMode"] != "Indexed" {
            errors.push(FieldError::not_supported(
                format!("{path}.completionMode"),
                text(&spec["completionMode"]),
                &["NonIndexed", "Indexed"],
            ));
        } else if spec["completions"].is_null() {
            errors.push(FieldError::required(
                format!("{path}.completions"),
                "when completion mode is Indexed",
            ));
        }
    }
    if !spec["backoffLimitPerIndex"].is_null() && spec["completionMode"] != "Indexed" {
        errors.push(FieldError::invalid(
            format!("{path}.backoffLimitPerIndex"),
            spec["backoffLimitPerIndex"].clone(),
            "requires indexed completion mode",
        ));
    }
    let indexed_max = 100_000;
    if spec["completionMode"] == "Indexed" {
        let completions = spec["completions"].as_i64().unwrap_or_default();
        let parallelism = spec["parallelism"].as_i64().unwrap_or_default();
        if parallelism > indexed_max {
            errors.push(FieldError::invalid(
                format!("{path}.parallelism"),
                parallelism,
                format!(
                    "must be less than or equal to {indexed_max} when completion mode is Indexed"
                ),
            ));
        }
        if spec["maxFailedIndexes"]
            .as_i64()
            .is_some_and(|max| max > completions)
        {
            errors.push(FieldError::invalid(
                format!("{path}.maxFailedIndexes"),
                spec["maxFailedIndexes"].clone(),
                "must be less than or equal to completions",
            ));
        }
    } else if spec["successPolicy"].is_object() {
        errors.push(FieldError::invalid(
            format!("{path}.successPolicy"),
            spec["successPolicy"].clone(),
            "requires indexed completion mode",
        ));
    }
    let policies = ["Failed", "TerminatingOrFailed"];
    let policy = text(&spec["podReplacementPolicy"]);
    if !policy.is_empty() && !policies.contains(&policy) {
        let field = format!("{path}.podReplacementPolicy");
        errors.push(FieldError::not_supported(field, policy, &policies));
    }
    if let Some(manager) = spec["managedBy"].as_str()
        && !is_domain_path(manager)
    {
        errors.push(FieldError::invalid(
            format!("{path}.managedBy"),
            manager,
            "must be a domain-prefixed path (such as \"acme.io/foo\")",
        ));
    }
    pod_failure_policy(
        &spec["podFailurePolicy"],
        &format!("{path}.podFailurePolicy"),
        &mut errors,
    );
    if spec["podFailurePolicy"].is_object() && spec["template"]["spec"]["restartPolicy"] != "Never"
    {
        errors.push(FieldError::invalid(
            format!("{path}.template.spec.restartPolicy"),
            text(&spec["template"]["spec"]["restartPolicy"]),
            "only \"Never\" is supported when podFailurePolicy is specified",
        ));
    }
    let template = format!("{path}.template");
    errors.extend(validate_template(&spec["template"], &template));
    // `Always` is what was filled in when nothing was said.
    let field = format!("{template}.spec.restartPolicy");
    match text(&spec["template"]["spec"]["restartPolicy"]) {
        "" | "Always" => errors.push(FieldError::required(
            field,
            "valid values: \"OnFailure\", \"Never\"",
        )),
        "OnFailure" | "Never" => {}
        other => errors.push(FieldError::not_supported(
            field,
            other,
            &["OnFailure", "Never"],
        )),
    }
    errors
}

/// A DNS name, a slash and a path.
fn is_domain_path(text: &str) -> bool {
    text.split_once('/').is_some_and(|(domain, path)| {
        objects::names::dns_subdomain(domain).is_empty()
            && !path.is_empty()
            && !path.contains(char::is_whitespace)
    })
}

fn pod_failure_policy(policy: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, rule) in list(&policy["rules"]).enumerate() {
        let path = format!("{path}.rules[{index}]");
        let actions = ["Count", "FailIndex", "FailJob", "Ignore"];
        let action = text(&rule["action"]);
        if !actions.contains(&action) {
            errors.push(FieldError::not_supported(
                format!("{path}.action"),
                action,
                &actions,
            ));
        }
        let has_codes = rule["onExitCodes"].is_object();
        let has_conditions = !is_empty(&rule["onPodConditions"]);
        if has_codes && has_conditions {
            errors.push(FieldError::invalid(
                path.as_str(),
                Value::Null,
                "specifying both OnExitCodes and OnPodConditions is not supported",
            ));
        }
        if !has_codes && !has_conditions {
            errors.push(FieldError::invalid(
                path.as_str(),
                Value::Null,
                "specifying one of OnExitCodes and OnPodConditions is required",
            ));
        }
        if has_codes && is_empty(&rule["onExitCodes"]["values"]) {
            errors.push(FieldError::invalid(
                format!("{path}.onExitCodes.values"),
                json!([]),
                "at least one value is required",
            ));
        }
        if rule["onExitCodes"]["operator"] == "In" {
            for (at, value) in list(&rule["onExitCodes"]["values"]).enumerate() {
                if *value == 0 {
                    errors.push(FieldError::invalid(
                        format!("{path}.onExitCodes.values[{at}]"),
                        0,
                        "must not be 0 for the In operator",
                    ));
                }
            }
        }
    }
}

/// Completions of an indexed Job may change together with its parallelism.
fn completions(object: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let (new_spec, old_spec) = (&object["spec"], &old["spec"]);
    let is_elastic = new_spec["completionMode"] == "Indexed"
        && !new_spec["completions"].is_null()
        && new_spec["completions"] == new_spec["parallelism"];
    if !is_elastic && new_spec["completions"] != old_spec["completions"] {
        immutable(object, old, "spec.completions", errors);
    }
}

/// The template never changes, except where a suspended Job may run once it goes on.
fn template(object: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let mut allowed = object.clone();
    let never_started = old["spec"]["suspend"] == true && old["status"]["startTime"].is_null();
    if never_started
        && let Some(template) = spec(&mut allowed).and_then(|spec| at(spec, "template"))
    {
        for field in ["nodeSelector", "affinity", "tolerations", "schedulingGates"] {
            let before = old["spec"]["template"]["spec"][field].clone();
            if let Some(spec) = at(template, "spec") {
                spec.insert(field.into(), before);
            }
        }
        for field in ["labels", "annotations"] {
            let before = old["spec"]["template"]["metadata"][field].clone();
            if let Some(metadata) = at(template, "metadata") {
                metadata.insert(field.into(), before);
            }
        }
    }
    if !is_same(&allowed["spec"]["template"], &old["spec"]["template"]) {
        errors.push(FieldError::invalid(
            "spec.template",
            object["spec"]["template"].clone(),
            "field is immutable",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Value {
        let mut job = json!({"metadata": {"name": "j", "uid": "u1"}, "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "a", "image": "a:1"}],
        }}}});
        Job.default(&mut job);
        Job.prepare_create(&mut job);
        job
    }

    fn complaints(job: &Value) -> Vec<String> {
        Job.validate_create(job)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_bare_job_runs_once_with_six_retries() {
        let job = job();
        let spec = &job["spec"];
        assert_eq!(
            (
                &spec["completions"],
                &spec["parallelism"],
                &spec["backoffLimit"]
            ),
            (&json!(1), &json!(1), &json!(6))
        );
        assert_eq!(
            (&spec["completionMode"], &spec["suspend"]),
            (&json!("NonIndexed"), &json!(false))
        );
        assert_eq!(spec["podReplacementPolicy"], "TerminatingOrFailed");
        assert_eq!(complaints(&job), Vec::<String>::new());
    }

    #[test]
    fn a_job_that_says_only_how_many_at_once_has_no_fixed_number_of_completions() {
        let mut job = json!({"spec": {"parallelism": 3, "template": {}}});
        Job.default(&mut job);
        assert!(job["spec"]["completions"].is_null());
    }

    #[test]
    fn a_job_finds_its_pods_by_its_uid_and_carries_their_labels() {
        let job = job();
        let labels = json!({
            "batch.kubernetes.io/controller-uid": "u1", "controller-uid": "u1",
            "batch.kubernetes.io/job-name": "j", "job-name": "j",
        });
        assert_eq!(job["spec"]["template"]["metadata"]["labels"], labels);
        assert_eq!(job["metadata"]["labels"], labels);
        assert_eq!(
            job["spec"]["selector"],
            json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u1"}})
        );
    }

    #[test]
    fn a_job_must_say_whether_its_containers_restart() {
        let mut job = job();
        job["spec"]["template"]["spec"]["restartPolicy"] = json!("Always");
        assert_eq!(
            complaints(&job),
            [
                r#"spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never""#
            ]
        );
    }

    #[test]
    fn the_template_of_a_job_never_changes_and_parallelism_may() {
        let old = job();
        let mut new = old.clone();
        new["spec"]["parallelism"] = json!(0);
        new["spec"]["suspend"] = json!(true);
        assert_eq!(Job.validate_update(&new, &old), []);
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("a:2");
        let errors = Job.validate_update(&new, &old);
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].field, "spec.template");
    }

    #[test]
    fn a_suspended_job_that_never_ran_may_be_sent_elsewhere() {
        let mut old = job();
        old["spec"]["suspend"] = json!(true);
        let mut new = old.clone();
        new["spec"]["template"]["spec"]["nodeSelector"] = json!({"gpu": "yes"});
        assert_eq!(Job.validate_update(&new, &old), []);
        old["status"]["startTime"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(Job.validate_update(&new, &old).len(), 1);
    }

    #[test]
    fn an_indexed_job_needs_a_number_of_completions() {
        let mut job = job();
        job["spec"]["completionMode"] = json!("Indexed");
        job["spec"]["completions"] = Value::Null;
        assert_eq!(
            complaints(&job),
            ["spec.completions: Required value: when completion mode is Indexed"]
        );
    }
}
