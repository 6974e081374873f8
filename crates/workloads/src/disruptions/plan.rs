//! How many pods of a disruption budget may be evicted now.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::deployments::resolve;
use crate::pods::state;

/// How long an eviction may take to show before it no longer counts.
const EVICTION: SignedDuration = SignedDuration::from_mins(2);
const ALLOWED: &str = "DisruptionAllowed";

/// The scale of the owners of some pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// All of them together want this many pods.
    Known(i32),
    /// One of them is of a kind that has no scale.
    Unknown,
}

/// The status of a budget, and when to look again.
pub fn plan(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    scale: impl Fn() -> Scale,
    now: Timestamp,
) -> (PodDisruptionBudgetStatus, control::Next) {
    let held = budget.status.clone().unwrap_or_default();
    let mut status = PodDisruptionBudgetStatus {
        observed_generation: budget.metadata.generation,
        ..held
    };
    let (disrupted, next) = under_way(&status, pods, now);
    let is_healthy = |pod: &Pod| {
        state::is_ready(pod)
            && !state::is_terminating(pod)
            && !disrupted.contains_key(&pod.name_any())
    };
    let healthy =
        i32::try_from(pods.iter().filter(|pod| is_healthy(pod)).count()).unwrap_or(i32::MAX);
    let total = i32::try_from(pods.len()).unwrap_or(i32::MAX);
    status.disrupted_pods = (!disrupted.is_empty()).then_some(disrupted);
    let Some((expected, desired)) = expectation(budget, total, scale) else {
        status.disruptions_allowed = 0;
        let message = "found a pod whose controller has no scale";
        set(&mut status, budget, "False", "SyncFailed", message, now);
        return (status, next);
    };
    status.current_healthy = healthy;
    status.desired_healthy = desired;
    status.expected_pods = expected;
    status.disruptions_allowed = if expected <= 0 {
        0
    } else {
        (healthy - desired).max(0)
    };
    if status.disruptions_allowed > 0 {
        set(&mut status, budget, "True", "SufficientPods", "", now);
    } else {
        set(&mut status, budget, "False", "InsufficientPods", "", now);
    }
    (status, next)
}

/// Pods expected in all, and healthy pods that must stay.
fn expectation(
    budget: &PodDisruptionBudget,
    total: i32,
    scale: impl Fn() -> Scale,
) -> Option<(i32, i32)> {
    let spec = budget.spec.clone().unwrap_or_default();
    let known = || match scale() {
        Scale::Known(count) => Some(count),
        Scale::Unknown => None,
    };
    if let Some(limit) = spec.max_unavailable {
        let expected = known()?;
        return Some((
            expected,
            (expected - resolve(&limit, expected, true)).max(0),
        ));
    }
    match spec.min_available {
        Some(IntOrString::Int(least)) => Some((total, least)),
        Some(percent) => {
            let expected = known()?;
            Some((expected, resolve(&percent, expected, true)))
        }
        None => Some((total, 0)),
    }
}

/// Evictions that were let through and have not shown yet.
fn under_way(
    status: &PodDisruptionBudgetStatus,
    pods: &[Arc<Pod>],
    now: Timestamp,
) -> (BTreeMap<String, Time>, control::Next) {
    let mut held = BTreeMap::new();
    let mut next = None;
    for (name, since) in status.disrupted_pods.iter().flatten() {
        let is_there = pods
            .iter()
            .any(|pod| pod.name_any() == *name && !state::is_terminating(pod));
        let left = (since.0 + EVICTION).duration_since(now);
        if is_there && left.is_positive() {
            held.insert(name.clone(), since.clone());
            let wait = Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(0) + 1);
            next = Some(next.map_or(wait, |next: Duration| next.min(wait)));
        }
    }
    (held, next)
}

fn set(
    status: &mut PodDisruptionBudgetStatus,
    budget: &PodDisruptionBudget,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let condition = Condition {
        type_: ALLOWED.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: budget.metadata.generation,
        last_transition_time: Time(now),
    };
    control::conditions::set(status.conditions.get_or_insert_default(), condition);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pods(ready: usize, unready: usize) -> Vec<Arc<Pod>> {
        let pod = |number: usize| {
            let status = if number < ready { "True" } else { "False" };
            Arc::new(
                serde_json::from_value(json!({
                    "metadata": {"name": format!("p{number}")},
                    "status": {"conditions": [{"type": "Ready", "status": status}]},
                }))
                .unwrap(),
            )
        };
        (0..ready + unready).map(pod).collect()
    }

    fn now() -> Timestamp {
        "2026-01-01T10:00:00Z".parse().unwrap()
    }

    fn status(
        spec: Value,
        held: Value,
        pods: &[Arc<Pod>],
        scale: Scale,
    ) -> PodDisruptionBudgetStatus {
        let budget = serde_json::from_value(
            json!({"metadata": {"generation": 2}, "spec": spec, "status": held}),
        );
        plan(&budget.unwrap(), pods, || scale, now()).0
    }

    fn none() -> Value {
        json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0})
    }

    #[test]
    fn what_is_healthy_beyond_the_least_may_go() {
        let status = status(
            json!({"minAvailable": 2}),
            none(),
            &pods(3, 1),
            Scale::Unknown,
        );
        assert_eq!(
            (
                status.current_healthy,
                status.desired_healthy,
                status.expected_pods
            ),
            (3, 2, 4)
        );
        assert_eq!(status.disruptions_allowed, 1);
        assert_eq!(status.conditions.unwrap()[0].reason, "SufficientPods");
    }

    #[test]
    fn a_percentage_is_of_what_the_owners_want() {
        let half = status(
            json!({"minAvailable": "50%"}),
            none(),
            &pods(3, 0),
            Scale::Known(5),
        );
        assert_eq!((half.desired_healthy, half.disruptions_allowed), (3, 0));
        let one = status(
            json!({"maxUnavailable": 1}),
            none(),
            &pods(3, 0),
            Scale::Known(3),
        );
        assert_eq!((one.desired_healthy, one.disruptions_allowed), (2, 1));
        let unknown = status(
            json!({"maxUnavailable": 1}),
            none(),
            &pods(3, 0),
            Scale::Unknown,
        );
        assert_eq!(unknown.conditions.unwrap()[0].reason, "SyncFailed");
    }

    #[test]
    fn an_eviction_under_way_counts_until_it_shows_or_times_out() {
        let held = |since: &str| {
            let mut held = none();
            held["disruptedPods"] = json!({"p0": since});
            held
        };
        let recent = status(
            json!({"minAvailable": 1}),
            held("2026-01-01T09:59:30Z"),
            &pods(2, 0),
            Scale::Unknown,
        );
        assert_eq!((recent.current_healthy, recent.disruptions_allowed), (1, 0));
        let old = status(
            json!({"minAvailable": 1}),
            held("2026-01-01T09:50:00Z"),
            &pods(2, 0),
            Scale::Unknown,
        );
        assert_eq!((old.current_healthy, old.disrupted_pods), (2, None));
    }

    #[test]
    fn without_pods_nothing_may_be_disrupted() {
        assert_eq!(
            status(json!({"minAvailable": 0}), none(), &[], Scale::Unknown).disruptions_allowed,
            0
        );
    }
}
