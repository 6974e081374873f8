//! One step of a job: what to create and delete, which ended pods to count, and the status before and after.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::indexes;
use super::manage::{self, NewPod};
use super::tally::{Tally, is_failed, is_indexed, is_tracked, tally};
use super::verdict::{self, Verdict, condition};
use crate::pods::state;
use crate::templated::Templated;

/// What one step does.
#[derive(Debug, Default)]
pub struct Plan {
    /// Pods to create.
    pub create: Vec<NewPod>,
    /// Pods to delete without counting them: their finalizer goes first.
    pub delete: Vec<Arc<Pod>>,
    /// Pods to delete because the job is over.
    pub stop: Vec<Arc<Pod>>,
    /// Pods whose finalizer can go once the status knows them.
    pub release: Vec<Arc<Pod>>,
    /// The status to publish before finalizers go; what is at work follows from what was really done.
    pub status: JobStatus,
    /// How the job ends, once nothing is left to wait for.
    pub verdict: Option<Verdict>,
    /// Whether suspension began (true) or ended (false) with this step.
    pub suspension: Option<bool>,
    /// Pods at work before this step.
    pub active: i32,
    /// Pods being deleted before this step.
    pub terminating: i32,
    /// When to look again.
    pub next: control::Next,
}

/// Plans one step of a job that has not ended.
pub fn plan(job: &Templated<Job>, pods: &[Arc<Pod>], now: Timestamp) -> Plan {
    let Some(spec) = &job.spec else {
        return Plan::default();
    };
    let tally = tally(job, pods);
    let mut status = job.status.clone().unwrap_or_default();
    let is_suspended = spec.suspend == Some(true);
    if status.start_time.is_none() && !is_suspended {
        status.start_time = Some(Time(now));
    }
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    let mut plan = Plan {
        active: count(tally.active.len()),
        terminating: tally.terminating,
        ..Plan::default()
    };

    plan.verdict = verdict::judge(job, &tally, now);
    if plan.verdict.is_some() {
        plan.stop = tally.active.clone();
    } else if job.metadata.deletion_timestamp.is_none() {
        let managed = manage::manage(spec, &tally, pods, now);
        plan.create = managed.create;
        plan.delete = managed.delete;
        plan.next = managed.next;
        plan.verdict = verdict::complete(spec, &tally, plan.active);
        if plan.verdict.is_none() {
            plan.suspension = suspend(&mut status, is_suspended, now);
        }
    }
    if let Some(verdict) = &plan.verdict {
        let (announcement, _) = verdict.types();
        if verdict::find(&status, announcement).is_none() {
            status
                .conditions
                .get_or_insert_default()
                .push(verdict.condition(announcement, now));
        }
    }
    count_ended(job, &tally, pods, &mut status, &mut plan);
    let deadline = verdict::time_left(job, now).or_else(|| {
        let seconds = spec.active_deadline_seconds.filter(|_| !is_suspended)?;
        Some(k8s_openapi::jiff::SignedDuration::from_secs(seconds))
    });
    if let Some(left) = deadline.filter(|left| left.is_positive() && plan.verdict.is_none()) {
        let left = Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(0) + 1);
        plan.next = Some(plan.next.map_or(left, |next| next.min(left)));
    }
    status.ready = Some(tally.ready);
    plan.status = status;
    plan
}

/// Notes the beginning or end of a suspension.
fn suspend(status: &mut JobStatus, is_suspended: bool, now: Timestamp) -> Option<bool> {
    let conditions = status.conditions.get_or_insert_default();
    let held = conditions
        .iter_mut()
        .find(|held| held.type_ == condition::SUSPENDED);
    let was_suspended = held.as_ref().is_some_and(|held| held.status == "True");
    if was_suspended == is_suspended {
        return None;
    }
    let (value, reason, message) = if is_suspended {
        ("True", "JobSuspended", "Job suspended")
    } else {
        ("False", "JobResumed", "Job resumed")
    };
    let desired = JobCondition {
        type_: condition::SUSPENDED.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    };
    match held {
        Some(held) => *held = desired,
        None => conditions.push(desired),
    }
    if !is_suspended {
        // The deadline counts from the last start.
        status.start_time = Some(Time(now));
    }
    Some(is_suspended)
}

/// Enters ended pods in the status, and lists those whose finalizer can go then.
fn count_ended(
    job: &Templated<Job>,
    tally: &Tally,
    pods: &[Arc<Pod>],
    status: &mut JobStatus,
    plan: &mut Plan,
) {
    let Some(spec) = &job.spec else { return };
    let indexed = is_indexed(spec);
    let mut uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let is_over = plan.verdict.is_some() || job.metadata.deletion_timestamp.is_some();
    let fails = plan
        .verdict
        .as_ref()
        .is_some_and(|verdict| !verdict.is_success);
    for pod in pods.iter().filter(|pod| is_tracked(pod)) {
        let uid = pod.uid().unwrap_or_default();
        let is_known = |list: &Option<Vec<String>>| list.iter().flatten().any(|held| *held == uid);
        if is_known(&uncounted.succeeded) || is_known(&uncounted.failed) {
            plan.release.push(pod.clone());
            continue;
        }
        let succeeded = state::phase(pod) == "Succeeded";
        let failed = !succeeded && (is_failed(pod, spec) || fails);
        if succeeded && !indexed {
            uncounted.succeeded.get_or_insert_default().push(uid);
        } else if failed && !tally.ignored.contains(&uid) {
            uncounted.failed.get_or_insert_default().push(uid);
        }
        if succeeded || failed || is_over {
            plan.release.push(pod.clone());
        }
    }
    status.uncounted_terminated_pods = Some(uncounted);
    if indexed {
        let completed = indexes::format(&tally.succeeded_indexes);
        status.completed_indexes = (!completed.is_empty()).then_some(completed);
        status.succeeded = (tally.succeeded > 0).then_some(tally.succeeded);
        if spec.backoff_limit_per_index.is_some() {
            status.failed_indexes = Some(indexes::format(&tally.failed_indexes));
        }
    }
}

/// The status after finalizers went: pods without one count as counted, and a job with nothing left ends.
pub fn settle(
    mut status: JobStatus,
    still_tracked: impl Fn(&str) -> bool,
    active: i32,
    terminating: i32,
    verdict: Option<&Verdict>,
    now: Timestamp,
) -> JobStatus {
    let mut uncounted: UncountedTerminatedPods =
        status.uncounted_terminated_pods.take().unwrap_or_default();
    let settle_list = |list: &mut Option<Vec<String>>, total: &mut Option<i32>| {
        let Some(uids) = list else { return };
        let before = uids.len();
        uids.retain(|uid| still_tracked(uid));
        let counted = i32::try_from(before - uids.len()).unwrap_or(0);
        if counted > 0 {
            *total = Some(total.unwrap_or(0) + counted);
        }
        if uids.is_empty() {
            *list = None;
        }
    };
    settle_list(&mut uncounted.succeeded, &mut status.succeeded);
    settle_list(&mut uncounted.failed, &mut status.failed);
    let is_settled = uncounted.succeeded.is_none() && uncounted.failed.is_none();
    status.uncounted_terminated_pods = Some(uncounted);
    status.active = (active > 0).then_some(active);
    status.terminating = Some(terminating);
    if active == 0 {
        status.ready = Some(0);
    }
    if let Some(verdict) = verdict.filter(|_| is_settled && active == 0 && terminating == 0) {
        let (_, end) = verdict.types();
        if verdict::find(&status, end).is_none() {
            status
                .conditions
                .get_or_insert_default()
                .push(verdict.condition(end, now));
            if verdict.is_success {
                status.completion_time = Some(Time(now));
            }
        }
    }
    if status.conditions.as_ref().is_some_and(Vec::is_empty) {
        status.conditions = None;
    }
    status
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
