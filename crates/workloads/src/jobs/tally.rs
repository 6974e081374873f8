//! Counts a job's pods: those at work, those on their way out, and those that ended and are not in the status yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::failure_policy::{self, Action};
use super::{INDEX, INDEX_FAILURES, TRACKING, indexes};
use crate::pods::state;
use crate::templated::Templated;

/// A job's pods, counted.
#[derive(Debug, Default)]
pub struct Tally {
    /// Pods at work.
    pub active: Vec<Arc<Pod>>,
    /// Pods at work that are ready.
    pub ready: i32,
    /// Pods being deleted that have not ended.
    pub terminating: i32,
    /// Pods that succeeded and are not counted yet.
    pub new_succeeded: Vec<Arc<Pod>>,
    /// Pods that failed and are not counted yet, those of no account included.
    pub new_failed: Vec<Arc<Pod>>,
    /// Of those, the ones the failure policy ignores.
    pub ignored: BTreeSet<String>,
    /// Successes in all; of an indexed job, indexes that succeeded.
    pub succeeded: i32,
    /// Failures in all.
    pub failed: i32,
    /// Indexes that succeeded.
    pub succeeded_indexes: BTreeSet<i32>,
    /// Indexes that failed for good.
    pub failed_indexes: BTreeSet<i32>,
    /// Why the failure policy fails the job.
    pub policy_failure: Option<String>,
    /// Failures of each index that has not failed for good.
    pub index_failures: BTreeMap<i32, i32>,
}

/// Whether pods are replaced only after they have ended.
pub fn replaces_only_failed(spec: &JobSpec) -> bool {
    spec.pod_replacement_policy.as_deref() == Some("Failed")
}

/// Whether a job numbers its completions.
pub fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

/// The completion index of a pod.
pub fn index_of(pod: &Pod) -> Option<i32> {
    pod.annotations().get(INDEX)?.parse().ok()
}

/// Whether a pod still has to be counted.
pub fn is_tracked(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|held| held == TRACKING)
}

/// Whether a pod failed, or never will succeed because it is being deleted.
pub fn is_failed(pod: &Pod, spec: &JobSpec) -> bool {
    match state::phase(pod) {
        "Failed" => true,
        "Succeeded" => false,
        _ => !replaces_only_failed(spec) && state::is_terminating(pod),
    }
}

/// Counts.
pub fn tally(job: &Templated<Job>, pods: &[Arc<Pod>]) -> Tally {
    let none = JobStatus::default();
    let status = job.status.as_ref().unwrap_or(&none);
    let Some(spec) = &job.spec else {
        return Tally::default();
    };
    let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let known_succeeded: BTreeSet<String> = uncounted.succeeded.into_iter().flatten().collect();
    let known_failed: BTreeSet<String> = uncounted.failed.into_iter().flatten().collect();
    let mut tally = Tally::default();
    for pod in pods {
        let uid = pod.uid().unwrap_or_default();
        if state::is_active(pod) {
            tally.ready += i32::from(state::is_ready(pod));
            tally.active.push(pod.clone());
        } else if state::is_terminating(pod) && !state::is_terminal(pod) {
            tally.terminating += 1;
        }
        if !is_tracked(pod) || known_succeeded.contains(&uid) || known_failed.contains(&uid) {
            continue;
        }
        if state::phase(pod) == "Succeeded" {
            tally.new_succeeded.push(pod.clone());
        } else if is_failed(pod, spec) {
            match failure_policy::action(spec, pod) {
                Action::Ignore => {
                    tally.ignored.insert(uid);
                }
                Action::FailJob(message) => {
                    tally.policy_failure.get_or_insert(message);
                }
                Action::Count | Action::FailIndex => {}
            }
            tally.new_failed.push(pod.clone());
        }
    }
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    tally.failed = status.failed.unwrap_or(0)
        + count(known_failed.len())
        + count(tally.new_failed.len() - tally.ignored.len());
    if is_indexed(spec) {
        count_indexes(&mut tally, spec, status, pods);
    } else {
        tally.succeeded = status.succeeded.unwrap_or(0)
            + count(known_succeeded.len())
            + count(tally.new_succeeded.len());
    }
    tally
}

fn count_indexes(tally: &mut Tally, spec: &JobSpec, status: &JobStatus, pods: &[Arc<Pod>]) {
    let completions = spec.completions.unwrap_or(0);
    let read =
        |text: &Option<String>| indexes::parse(text.as_deref().unwrap_or_default(), completions);
    tally.succeeded_indexes = read(&status.completed_indexes);
    let ended = tally.new_succeeded.iter().filter_map(|pod| index_of(pod));
    tally
        .succeeded_indexes
        .extend(ended.filter(|index| *index < completions));
    tally.succeeded = i32::try_from(tally.succeeded_indexes.len()).unwrap_or(i32::MAX);
    let Some(limit) = spec.backoff_limit_per_index else {
        return;
    };
    tally.failed_indexes = read(&status.failed_indexes);
    for pod in pods.iter().filter(|pod| is_failed(pod, spec)) {
        let Some(index) = index_of(pod).filter(|index| !tally.succeeded_indexes.contains(index))
        else {
            continue;
        };
        let before: i32 = pod
            .annotations()
            .get(INDEX_FAILURES)
            .and_then(|count| count.parse().ok())
            .unwrap_or(0);
        let (counts, fails) = match failure_policy::action(spec, pod) {
            Action::Ignore => (0, false),
            Action::FailIndex => (1, true),
            Action::Count | Action::FailJob(_) => (1, false),
        };
        let failures = tally.index_failures.entry(index).or_default();
        *failures = (*failures).max(before + counts);
        if fails || *failures > limit {
            tally.failed_indexes.insert(index);
        }
    }
}

/// When a pod ended.
pub fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let ends = status
        .container_statuses
        .iter()
        .flatten()
        .filter_map(|held| {
            held.state
                .as_ref()?
                .terminated
                .as_ref()?
                .finished_at
                .as_ref()
                .map(|time| time.0)
        });
    let deleted = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    ends.max()
        .or(deleted)
        .or_else(|| pod.creation_timestamp().map(|time| time.0))
}
