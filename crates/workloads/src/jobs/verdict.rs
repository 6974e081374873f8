//! Whether a job has to end now, and why.

use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::indexes;
use super::tally::{Tally, is_indexed};
use crate::pods::state;
use crate::templated::Templated;

/// Conditions of a job, in the order in which they can appear.
pub mod condition {
    /// Nothing is created while this is true.
    pub const SUSPENDED: &str = "Suspended";
    /// The job will be complete once its pods have ended.
    pub const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
    /// The job is done.
    pub const COMPLETE: &str = "Complete";
    /// The job will have failed once its pods have ended.
    pub const FAILURE_TARGET: &str = "FailureTarget";
    /// The job has failed.
    pub const FAILED: &str = "Failed";
}

/// How a job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it ends well.
    pub is_success: bool,
    /// The reason in one word.
    pub reason: String,
    /// The reason in a sentence.
    pub message: String,
}

impl Verdict {
    fn failure(reason: &str, message: &str) -> Self {
        Self {
            is_success: false,
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    fn success(reason: &str, message: &str) -> Self {
        Self {
            is_success: true,
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    /// The condition that announces the end, and the one that is the end.
    pub fn types(&self) -> (&'static str, &'static str) {
        if self.is_success {
            (condition::SUCCESS_CRITERIA_MET, condition::COMPLETE)
        } else {
            (condition::FAILURE_TARGET, condition::FAILED)
        }
    }

    /// A condition that carries the verdict.
    pub fn condition(&self, type_: &str, now: Timestamp) -> JobCondition {
        JobCondition {
            type_: type_.to_owned(),
            status: "True".to_owned(),
            reason: Some(self.reason.clone()),
            message: Some(self.message.clone()),
            last_probe_time: Some(Time(now)),
            last_transition_time: Some(Time(now)),
        }
    }
}

/// The true condition of this type.
pub fn find<'a>(status: &'a JobStatus, type_: &str) -> Option<&'a JobCondition> {
    status
        .conditions
        .as_ref()?
        .iter()
        .find(|held| held.type_ == type_ && held.status == "True")
}

/// Whether the job has ended.
pub fn is_finished(job: &Job) -> bool {
    job.status.as_ref().is_some_and(|status| {
        find(status, condition::COMPLETE).is_some() || find(status, condition::FAILED).is_some()
    })
}

/// Judges a job that has not ended; `None` lets it go on. Whether all its completions are there is judged later, by
/// [`complete`], because that also asks that nothing is at work.
pub fn judge(job: &Templated<Job>, tally: &Tally, now: Timestamp) -> Option<Verdict> {
    let spec = job.spec.as_ref()?;
    let none = JobStatus::default();
    let status = job.status.as_ref().unwrap_or(&none);
    let announced = [condition::SUCCESS_CRITERIA_MET, condition::FAILURE_TARGET];
    if let Some(held) = announced.iter().find_map(|type_| find(status, type_)) {
        return Some(Verdict {
            is_success: held.type_ == condition::SUCCESS_CRITERIA_MET,
            reason: held.reason.clone().unwrap_or_default(),
            message: held.message.clone().unwrap_or_default(),
        });
    }
    if let Some(message) = &tally.policy_failure {
        return Some(Verdict::failure("PodFailurePolicy", message));
    }
    let limit = spec.backoff_limit.unwrap_or(6);
    if tally.failed > limit || restarts_exceed(spec, tally, limit) {
        let message = "Job has reached the specified backoff limit";
        return Some(Verdict::failure("BackoffLimitExceeded", message));
    }
    if time_left(job, now).is_some_and(|left| !left.is_positive()) {
        let message = "Job was active longer than specified deadline";
        return Some(Verdict::failure("DeadlineExceeded", message));
    }
    if is_indexed(spec) {
        return judge_indexes(spec, tally);
    }
    None
}

/// Containers that are restarted in place count as failures too.
fn restarts_exceed(spec: &JobSpec, tally: &Tally, limit: i32) -> bool {
    let in_place = spec
        .template
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref())
        == Some("OnFailure");
    if !in_place {
        return false;
    }
    let restarts: i32 = tally
        .active
        .iter()
        .filter(|pod| matches!(state::phase(pod), "Running" | "Pending"))
        .map(|pod| state::restarts(pod))
        .sum();
    if limit == 0 {
        restarts > 0
    } else {
        restarts >= limit
    }
}

fn judge_indexes(spec: &JobSpec, tally: &Tally) -> Option<Verdict> {
    let completions = spec.completions.unwrap_or(0);
    if spec.backoff_limit_per_index.is_some() {
        let failed = i32::try_from(tally.failed_indexes.len()).unwrap_or(i32::MAX);
        if spec.max_failed_indexes.is_some_and(|most| failed > most) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return Some(Verdict::failure("MaxFailedIndexesExceeded", message));
        }
        if failed > 0 && failed + tally.succeeded >= completions {
            return Some(Verdict::failure("FailedIndexes", "Job has failed indexes"));
        }
    }
    let rules = spec
        .success_policy
        .as_ref()
        .map(|policy| policy.rules.as_slice())
        .unwrap_or_default();
    let met = rules.iter().position(|rule| {
        let wanted = rule
            .succeeded_indexes
            .as_ref()
            .map(|text| indexes::parse(text, completions));
        let held = match &wanted {
            Some(wanted) => wanted.intersection(&tally.succeeded_indexes).count(),
            None => tally.succeeded_indexes.len(),
        };
        let needed = match (rule.succeeded_count, &wanted) {
            (Some(count), _) => usize::try_from(count).unwrap_or(0),
            (None, Some(wanted)) => wanted.len(),
            (None, None) => return false,
        };
        held >= needed
    });
    met.map(|position| {
        Verdict::success(
            "SuccessPolicy",
            &format!("Matched rules at index {position}"),
        )
    })
}

/// The verdict of a job with all its completions and nothing at work.
pub fn complete(spec: &JobSpec, tally: &Tally, active: i32) -> Option<Verdict> {
    let done = match spec.completions {
        None => tally.succeeded > 0,
        Some(completions) => tally.succeeded >= completions,
    };
    let message = "Reached expected number of succeeded pods";
    (done && active == 0).then(|| Verdict::success("CompletionsReached", message))
}

/// Time until the deadline; nothing while suspended or without a deadline.
pub fn time_left(job: &Templated<Job>, now: Timestamp) -> Option<SignedDuration> {
    let spec = job.spec.as_ref()?;
    let seconds = spec
        .active_deadline_seconds
        .filter(|_| spec.suspend != Some(true))?;
    let started = job.status.as_ref()?.start_time.as_ref()?.0;
    Some((started + SignedDuration::from_secs(seconds)).duration_since(now))
}
