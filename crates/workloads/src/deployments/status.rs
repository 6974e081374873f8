//! What a deployment reports of its replica sets, and how its conditions are kept: the one that changed last is last.

use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::plan::Rollout;

/// Minimum availability.
pub const AVAILABLE: &str = "Available";
/// Movement of the rollout.
pub const PROGRESSING: &str = "Progressing";
/// Pods that could not be created or deleted.
pub const REPLICA_FAILURE: &str = "ReplicaFailure";

/// A condition that became so at `now`.
pub fn condition(
    type_: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// The condition of this type.
pub fn find<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == type_)
}

/// Sets a condition unless one of the same status and reason is there.
pub fn set(status: &mut DeploymentStatus, mut desired: DeploymentCondition) {
    if let Some(held) = find(status, &desired.type_) {
        if held.status == desired.status && held.reason == desired.reason {
            return;
        }
        if held.status == desired.status {
            desired.last_transition_time = held.last_transition_time.clone();
        }
    }
    remove(status, &desired.type_);
    status.conditions.get_or_insert_default().push(desired);
}

/// Removes the condition of this type.
pub fn remove(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != type_);
    }
}

/// Counts and availability as these replica sets amount to.
pub fn counts(state: &Rollout<'_>, held: &DeploymentStatus, now: Timestamp) -> DeploymentStatus {
    let sum =
        |count: &dyn Fn(&super::observe::Set) -> i32| state.sets.iter().map(count).sum::<i32>();
    let some = |count: i32| (count > 0).then_some(count);
    let available = sum(&|set| set.available);
    let mut status = DeploymentStatus {
        observed_generation: state.deployment.metadata.generation,
        replicas: some(sum(&|set| set.actual)),
        updated_replicas: some(state.current().map_or(0, |set| set.actual)),
        ready_replicas: some(sum(&|set| set.ready)),
        available_replicas: some(available),
        unavailable_replicas: some(state.total() - available),
        collision_count: held.collision_count,
        conditions: held.conditions.clone(),
        terminating_replicas: held.terminating_replicas,
    };
    let availability = if available >= state.replicas - state.max_unavailable {
        condition(
            AVAILABLE,
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
            now,
        )
    } else {
        condition(
            AVAILABLE,
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
            now,
        )
    };
    set(&mut status, availability);
    status
}
