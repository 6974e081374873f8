//! The conditions of a namespace on its way out, in the order and words kube-controller-manager writes them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::content::Outcome;

/// The status patch, or `None` if the status says so already.
pub fn patch(namespace: &Namespace, outcome: &Outcome, now: Timestamp) -> Option<Value> {
    let status = namespace.status.clone().unwrap_or_default();
    let held = status.conditions.clone().unwrap_or_default();
    let mut conditions = held.clone();
    for desired in desired(outcome, now) {
        set(&mut conditions, desired);
    }
    if conditions == held && status.phase.as_deref() == Some("Terminating") {
        return None;
    }
    Some(json!({"status": {"phase": "Terminating", "conditions": conditions}}))
}

fn set(conditions: &mut Vec<NamespaceCondition>, desired: NamespaceCondition) {
    match conditions
        .iter_mut()
        .find(|held| held.type_ == desired.type_)
    {
        Some(held) => {
            if held.status != desired.status
                || held.message != desired.message
                || held.reason != desired.reason
            {
                let time = if held.status == desired.status {
                    held.last_transition_time.clone()
                } else {
                    desired.last_transition_time.clone()
                };
                *held = NamespaceCondition {
                    last_transition_time: time,
                    ..desired
                };
            }
        }
        None => conditions.push(desired),
    }
}

fn desired(outcome: &Outcome, now: Timestamp) -> Vec<NamespaceCondition> {
    let condition =
        |type_: &str, is_true: bool, reason: &str, message: String| NamespaceCondition {
            type_: type_.to_owned(),
            status: if is_true { "True" } else { "False" }.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(Time(now)),
        };
    let discovery = if outcome.discovery_failures.is_empty() {
        (
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered".to_owned(),
        )
    } else {
        let failures = outcome.discovery_failures.join(", ");
        (
            true,
            "DiscoveryFailed",
            format!(
                "Discovery failed for some groups, {} failing: {failures}",
                outcome.discovery_failures.len()
            ),
        )
    };
    let deletion = if outcome.deletion_failures.is_empty() {
        (
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".to_owned(),
        )
    } else {
        let failures = outcome.deletion_failures.join(", ");
        (
            true,
            "ContentDeletionFailed",
            format!(
                "Failed to delete all resource types, {} remaining: {failures}",
                outcome.deletion_failures.len()
            ),
        )
    };
    let content = if outcome.remaining.is_empty() {
        (
            false,
            "ContentRemoved",
            "All content successfully removed".to_owned(),
        )
    } else {
        let counts = counts(&outcome.remaining, "has", "resource instances");
        (
            true,
            "SomeResourcesRemain",
            format!("Some resources are remaining: {counts}"),
        )
    };
    let finalizers = if outcome.held_by.is_empty() {
        (
            false,
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished".to_owned(),
        )
    } else {
        let counts = counts(&outcome.held_by, "in", "resource instances");
        (
            true,
            "SomeFinalizersRemain",
            format!("Some content in the namespace has finalizers remaining: {counts}"),
        )
    };
    vec![
        condition(
            "NamespaceDeletionDiscoveryFailure",
            discovery.0,
            discovery.1,
            discovery.2,
        ),
        condition(
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".to_owned(),
        ),
        condition(
            "NamespaceDeletionContentFailure",
            deletion.0,
            deletion.1,
            deletion.2,
        ),
        condition("NamespaceContentRemaining", content.0, content.1, content.2),
        condition(
            "NamespaceFinalizersRemaining",
            finalizers.0,
            finalizers.1,
            finalizers.2,
        ),
    ]
}

fn counts(counts: &BTreeMap<String, usize>, verb: &str, what: &str) -> String {
    let parts: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{name} {verb} {count} {what}"))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn what_is_left_and_what_holds_it_is_told() {
        let outcome = Outcome {
            remaining: [("pods.".to_owned(), 2)].into(),
            held_by: [("example.com/guard".to_owned(), 2)].into(),
            ..Outcome::default()
        };
        let patch = patch(&Namespace::default(), &outcome, at(1)).unwrap();
        let conditions = patch["status"]["conditions"].as_array().unwrap();
        let types: Vec<&str> = conditions
            .iter()
            .map(|condition| condition["type"].as_str().unwrap())
            .collect();
        assert_eq!(
            types,
            [
                "NamespaceDeletionDiscoveryFailure",
                "NamespaceDeletionGroupVersionParsingFailure",
                "NamespaceDeletionContentFailure",
                "NamespaceContentRemaining",
                "NamespaceFinalizersRemaining",
            ]
        );
        assert_eq!(
            conditions[3]["message"],
            "Some resources are remaining: pods. has 2 resource instances"
        );
        assert_eq!(
            conditions[4]["message"],
            "Some content in the namespace has finalizers remaining: example.com/guard in 2 resource instances"
        );
    }

    #[test]
    fn an_unchanged_outcome_is_not_written_again() {
        let mut namespace = Namespace::default();
        let first = patch(&namespace, &Outcome::default(), at(1)).unwrap();
        namespace.status = serde_json::from_value(first["status"].clone()).unwrap();
        assert_eq!(patch(&namespace, &Outcome::default(), at(2)), None);
    }
}
