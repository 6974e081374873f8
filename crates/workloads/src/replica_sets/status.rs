//! What a replica set reports of its pods.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::Failure;
use crate::pods::state;
use crate::templated::Templated;

const REPLICA_FAILURE: &str = "ReplicaFailure";

/// The status these pods amount to. Counts of zero are left out, as everywhere in Kubernetes, except `replicas`.
pub fn desired(
    set: &Templated<ReplicaSet>,
    pods: &[Arc<Pod>],
    failure: Option<&Failure>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let spec = set.spec.clone().unwrap_or_default();
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let labels: crate::selector::Labels =
        serde_json::from_value(set.template["metadata"]["labels"].clone()).unwrap_or_default();
    let count = |matches: &dyn Fn(&Pod) -> bool| {
        let count = pods.iter().filter(|pod| matches(pod)).count();
        i32::try_from(count).unwrap_or(i32::MAX)
    };
    let some = |count: i32| (count > 0).then_some(count);
    let held = set.status.clone().unwrap_or_default();
    let mut conditions = held.conditions.clone().unwrap_or_default();
    match failure {
        Some(failure)
            if !conditions
                .iter()
                .any(|condition| condition.type_ == REPLICA_FAILURE) =>
        {
            conditions.push(ReplicaSetCondition {
                type_: REPLICA_FAILURE.to_owned(),
                status: "True".to_owned(),
                reason: Some(failure.reason.to_owned()),
                message: Some(super::message(&failure.error)),
                last_transition_time: Some(Time(now)),
            });
        }
        Some(_) => {}
        None => conditions.retain(|condition| condition.type_ != REPLICA_FAILURE),
    }
    ReplicaSetStatus {
        replicas: count(&|_| true),
        fully_labeled_replicas: some(count(&|pod| {
            labels
                .iter()
                .all(|(name, value)| pod.labels().get(name) == Some(value))
        })),
        ready_replicas: some(count(&state::is_ready)),
        available_replicas: some(count(&|pod| state::is_available(pod, min_ready, now))),
        observed_generation: set.metadata.generation,
        conditions: (!conditions.is_empty()).then_some(conditions),
        ..held
    }
}

/// When a ready pod will have been ready long enough to count as available.
pub fn next_check(set: &Templated<ReplicaSet>, pods: &[Arc<Pod>], now: Timestamp) -> control::Next {
    let min_ready = set
        .spec
        .as_ref()
        .and_then(|spec| spec.min_ready_seconds)
        .filter(|seconds| *seconds > 0)?;
    let waits = pods
        .iter()
        .filter(|pod| !state::is_available(pod, min_ready, now))
        .filter_map(|pod| {
            let waited = now.duration_since(state::ready_since(pod)?);
            let left = i64::from(min_ready) - waited.as_secs();
            Some(Duration::from_secs(u64::try_from(left).unwrap_or(0).max(1)))
        });
    waits.min()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(min_ready: i32) -> Templated<ReplicaSet> {
        serde_json::from_value(json!({
            "metadata": {"name": "s", "namespace": "ns", "uid": "u", "generation": 3},
            "spec": {
                "selector": {}, "minReadySeconds": min_ready,
                "template": {"metadata": {"labels": {"app": "web"}}},
            },
        }))
        .unwrap()
    }

    fn ready_pod(since: &str) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"labels": {"app": "web"}},
                "status": {"phase": "Running", "conditions": [
                    {"type": "Ready", "status": "True", "lastTransitionTime": since},
                ]},
            }))
            .unwrap(),
        )
    }

    fn now() -> Timestamp {
        "2026-01-01T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_empty_set_reports_only_its_size_and_generation() {
        let status = desired(&set(0), &[], None, now());
        assert_eq!(
            json!(status),
            json!({"replicas": 0, "observedGeneration": 3})
        );
    }

    #[test]
    fn a_pod_counts_as_available_after_its_minimum_ready_time() {
        let pods = [
            ready_pod("2026-01-01T09:59:56Z"),
            ready_pod("2026-01-01T09:00:00Z"),
        ];
        let status = desired(&set(10), &pods, None, now());
        assert_eq!(
            (status.ready_replicas, status.available_replicas),
            (Some(2), Some(1))
        );
        assert_eq!(
            next_check(&set(10), &pods, now()),
            Some(Duration::from_secs(6))
        );
        assert_eq!(next_check(&set(0), &pods, now()), None);
    }
}
