//! Whether a rollout moves, is done, or is stuck past its deadline, and the Progressing condition that says so.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::plan::Rollout;
use super::status::{PROGRESSING, REPLICA_FAILURE, condition, find, remove, set};
use crate::templated::Templated;

const AVAILABLE: &str = "NewReplicaSetAvailable";
const CREATED: &str = "NewReplicaSetCreated";
const FOUND: &str = "FoundNewReplicaSet";
const UPDATED: &str = "ReplicaSetUpdated";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
const RESUMED: &str = "DeploymentResumed";

fn deadline(deployment: &Templated<Deployment>) -> Option<i32> {
    let seconds = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.progress_deadline_seconds);
    seconds.filter(|seconds| *seconds != i32::MAX)
}

/// Says that a rollout was paused or goes on, so that time spent paused does not count against the deadline.
pub fn note_pause(
    deployment: &Templated<Deployment>,
    status: &mut DeploymentStatus,
    now: Timestamp,
) {
    if deadline(deployment).is_none() {
        return;
    }
    let reason = find(status, PROGRESSING).and_then(|held| held.reason.clone());
    if reason.as_deref() == Some(TIMED_OUT) {
        return;
    }
    let is_paused = deployment
        .spec
        .as_ref()
        .is_some_and(|spec| spec.paused == Some(true));
    let was_paused = reason.as_deref() == Some(PAUSED);
    if is_paused && !was_paused {
        set(
            status,
            condition(PROGRESSING, "Unknown", PAUSED, "Deployment is paused", now),
        );
    } else if !is_paused && was_paused {
        set(
            status,
            condition(
                PROGRESSING,
                "Unknown",
                RESUMED,
                "Deployment is resumed",
                now,
            ),
        );
    }
}

/// Says that the replica set of the template was created or found.
pub fn note_current(state: &Rollout<'_>, status: &mut DeploymentStatus, now: Timestamp) {
    let Some(current) = state.current() else {
        return;
    };
    if deadline(state.deployment).is_none() {
        return;
    }
    let name = &current.name;
    if state.creates {
        let message = format!("Created new replica set \"{name}\"");
        set(
            status,
            condition(PROGRESSING, "True", CREATED, &message, now),
        );
    } else if find(status, PROGRESSING).is_none() {
        let message = format!("Found new replica set \"{name}\"");
        set(status, condition(PROGRESSING, "True", FOUND, &message, now));
    }
}

/// Whether everything wanted is updated and available, and nothing old is left.
pub fn is_complete(
    state: &Rollout<'_>,
    status: &DeploymentStatus,
    deployment: &Templated<Deployment>,
) -> bool {
    let all = |count: Option<i32>| count.unwrap_or(0) == state.replicas;
    all(status.updated_replicas)
        && all(status.replicas)
        && all(status.available_replicas)
        && status.observed_generation >= deployment.metadata.generation
}

/// Completes the status of a rollout that is neither paused nor being scaled.
pub fn conclude(
    state: &Rollout<'_>,
    deployment: &Templated<Deployment>,
    held: &DeploymentStatus,
    mut status: DeploymentStatus,
    now: Timestamp,
) -> (DeploymentStatus, control::Next) {
    let what = match state.current() {
        Some(set) => format!("ReplicaSet \"{}\"", set.name),
        None => format!("Deployment \"{}\"", deployment.name_any()),
    };
    let progressing = find(held, PROGRESSING).cloned();
    let reason = progressing
        .as_ref()
        .and_then(|condition| condition.reason.as_deref());
    let was_complete = status.replicas == status.updated_replicas && reason == Some(AVAILABLE);
    if deadline(deployment).is_none() {
        remove(&mut status, PROGRESSING);
    } else if !was_complete {
        if is_complete(state, &status, deployment) {
            let message = format!("{what} has successfully progressed.");
            set(
                &mut status,
                condition(PROGRESSING, "True", AVAILABLE, &message, now),
            );
        } else if has_moved(held, &status) {
            let mut moved = condition(
                PROGRESSING,
                "True",
                UPDATED,
                &format!("{what} is progressing."),
                now,
            );
            if let Some(held) = progressing.as_ref().filter(|held| held.status == "True") {
                moved.last_transition_time = held.last_transition_time.clone();
            }
            // Replaced even if nothing but its time changes: the deadline counts from the last movement.
            remove(&mut status, PROGRESSING);
            set(&mut status, moved);
        } else if is_late(&status, deployment, now) {
            let message = format!("{what} has timed out progressing.");
            set(
                &mut status,
                condition(PROGRESSING, "False", TIMED_OUT, &message, now),
            );
        }
    }
    match state
        .sets
        .iter()
        .filter(|set| set.is_current)
        .chain(state.old())
        .find_map(|set| set.failure.as_ref())
    {
        Some(failure) => {
            let reason = failure.reason.as_deref().unwrap_or_default();
            let message = failure.message.as_deref().unwrap_or_default();
            set(
                &mut status,
                condition(REPLICA_FAILURE, "True", reason, message, now),
            );
        }
        None => remove(&mut status, REPLICA_FAILURE),
    }
    let next = next_check(state, deployment, &status, now);
    (status, next)
}

fn has_moved(held: &DeploymentStatus, status: &DeploymentStatus) -> bool {
    let count = |count: Option<i32>| count.unwrap_or(0);
    let old = |status: &DeploymentStatus| count(status.replicas) - count(status.updated_replicas);
    count(status.updated_replicas) > count(held.updated_replicas)
        || old(status) < old(held)
        || count(status.ready_replicas) > count(held.ready_replicas)
        || count(status.available_replicas) > count(held.available_replicas)
}

fn is_late(status: &DeploymentStatus, deployment: &Templated<Deployment>, now: Timestamp) -> bool {
    let (Some(seconds), Some(progressing)) = (deadline(deployment), find(status, PROGRESSING))
    else {
        return false;
    };
    match progressing.reason.as_deref() {
        Some(AVAILABLE) => false,
        Some(TIMED_OUT) => true,
        _ => progressing
            .last_update_time
            .as_ref()
            .is_some_and(|time| time.0 + SignedDuration::from_secs(seconds.into()) < now),
    }
}

/// When the deadline will have passed.
fn next_check(
    state: &Rollout<'_>,
    deployment: &Templated<Deployment>,
    status: &DeploymentStatus,
    now: Timestamp,
) -> control::Next {
    let seconds = deadline(deployment)?;
    let progressing = find(status, PROGRESSING)?;
    if is_complete(state, status, deployment) || progressing.reason.as_deref() == Some(TIMED_OUT) {
        return None;
    }
    let since = now
        .duration_since(progressing.last_update_time.as_ref()?.0)
        .as_secs();
    Some(Duration::from_secs(
        u64::try_from(i64::from(seconds) - since).unwrap_or(0) + 1,
    ))
}
