//! Whether a CronJob is to start a job now, which finished ones to delete, and when to look again.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::schedule::Schedule;
use crate::templated::Templated;

/// More missed times than this mean a clock that jumped or a very long pause.
const TOO_MANY: usize = 100;
const ANNOTATION_TIME: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// One step of a CronJob.
#[derive(Debug, Default)]
pub struct Plan {
    /// The time to start a job for.
    pub start: Option<Timestamp>,
    /// Running jobs to replace.
    pub replace: Vec<Arc<Templated<Job>>>,
    /// Finished jobs beyond the history limits.
    pub delete: Vec<Arc<Templated<Job>>>,
    /// The status before a job is started.
    pub status: CronJobStatus,
    /// Events to record: whether it warns, the reason, the message.
    pub events: Vec<(bool, &'static str, String)>,
    /// When the next time comes.
    pub next: control::Next,
}

fn is_complete(job: &Job) -> bool {
    let conditions = job
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|held| held.type_ == "Complete" && held.status == "True")
}

/// Plans one step.
pub fn plan(cron: &Templated<CronJob>, jobs: &[Arc<Templated<Job>>], now: Timestamp) -> Plan {
    let Some(spec) = &cron.spec else {
        return Plan::default();
    };
    let held = cron.status.clone().unwrap_or_default();
    let mut plan = Plan {
        status: held.clone(),
        ..Plan::default()
    };
    note_jobs(jobs, &held, &mut plan);
    plan.delete = beyond_history(jobs, true, spec.successful_jobs_history_limit.unwrap_or(3));
    plan.delete.extend(beyond_history(
        jobs,
        false,
        spec.failed_jobs_history_limit.unwrap_or(1),
    ));
    if cron.metadata.deletion_timestamp.is_some() || spec.suspend == Some(true) {
        return plan;
    }
    let schedule = match Schedule::parse(&spec.schedule, spec.time_zone.as_deref()) {
        Ok(schedule) => schedule,
        Err(error) => {
            let reason = if spec.time_zone.is_some() {
                "UnknownTimeZone"
            } else {
                "UnparseableSchedule"
            };
            plan.events.push((
                true,
                reason,
                format!("unparseable schedule: {:?} : {error}", spec.schedule),
            ));
            return plan;
        }
    };
    plan.next = schedule.next(now).map(|at| until(at, now));
    let Some(due) = last_due(cron, &schedule, &mut plan, now) else {
        return plan;
    };
    let deadline = spec
        .starting_deadline_seconds
        .map(|seconds| due + SignedDuration::from_secs(seconds));
    if deadline.is_some_and(|deadline| deadline < now) {
        let message = format!("Missed scheduled time to start a job: {}", rfc1123(due));
        plan.events.push((true, "MissSchedule", message));
        return plan;
    }
    let has_run = jobs
        .iter()
        .any(|job| job.name_any() == super::job_name(cron, due))
        || held
            .last_schedule_time
            .as_ref()
            .is_some_and(|last| last.0 == due);
    let running: Vec<_> = jobs
        .iter()
        .filter(|job| !crate::jobs::is_finished(job))
        .cloned()
        .collect();
    match spec.concurrency_policy.as_deref() {
        _ if has_run => {}
        Some("Forbid") if !running.is_empty() => {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.events
                .push((false, "JobAlreadyActive", message.to_owned()));
        }
        Some("Replace") => {
            plan.replace = running;
            plan.start = Some(due);
        }
        _ => plan.start = Some(due),
    }
    plan
}

fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(at.duration_since(now).as_millis()).unwrap_or(0) + 100)
}

fn rfc1123(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// The latest time that has come since the last one that was served.
fn last_due(
    cron: &Templated<CronJob>,
    schedule: &Schedule,
    plan: &mut Plan,
    now: Timestamp,
) -> Option<Timestamp> {
    let created = cron.creation_timestamp().map_or(now, |time| time.0);
    let served = cron
        .status
        .as_ref()
        .and_then(|status| status.last_schedule_time.as_ref())
        .map(|time| time.0);
    let mut from = served.unwrap_or(created);
    let spec = cron.spec.as_ref()?;
    if let Some(seconds) = spec.starting_deadline_seconds {
        from = from.max(now - SignedDuration::from_secs(seconds));
    }
    let mut due = None;
    let mut missed = 0;
    while let Some(next) = schedule
        .next(due.unwrap_or(from))
        .filter(|next| *next <= now)
    {
        due = Some(next);
        missed += 1;
        if missed == TOO_MANY {
            let message = format!(
                "too many missed start times: more than {TOO_MANY}. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            );
            plan.events.push((true, "TooManyMissedTimes", message));
            // Far behind: the latest time is found from the near end.
            let mut from_end = now - SignedDuration::from_mins(1);
            while schedule.next(from_end).is_none_or(|next| next > now) {
                from_end -= from_end.duration_until(now);
            }
            while let Some(next) = schedule.next(from_end).filter(|next| *next <= now) {
                from_end = next;
            }
            return Some(from_end);
        }
    }
    due
}

/// Brings the list of running jobs up to date.
fn note_jobs(jobs: &[Arc<Templated<Job>>], held: &CronJobStatus, plan: &mut Plan) {
    let mut active = Vec::new();
    for reference in held.active.iter().flatten() {
        match jobs.iter().find(|job| job.uid() == reference.uid) {
            Some(job) if crate::jobs::is_finished(job) => {
                let status = if is_complete(job) {
                    "Complete"
                } else {
                    "Failed"
                };
                plan.events.push((
                    false,
                    "SawCompletedJob",
                    format!("Saw completed job: {}, condition: {status}", job.name_any()),
                ));
            }
            Some(_) => active.push(reference.clone()),
            None => {
                let name = reference.name.clone().unwrap_or_default();
                plan.events.push((
                    false,
                    "MissingJob",
                    format!("Active job went missing: {name}"),
                ));
            }
        }
    }
    for job in jobs.iter().filter(|job| !crate::jobs::is_finished(job)) {
        if !active.iter().any(|reference| reference.uid == job.uid()) {
            active.push(reference(job));
        }
    }
    let completed = jobs
        .iter()
        .filter(|job| is_complete(job))
        .filter_map(|job| job.status.as_ref()?.completion_time.clone());
    plan.status.last_successful_time = completed.max().max(held.last_successful_time.clone());
    plan.status.active = (!active.is_empty()).then_some(active);
}

/// The reference by which a CronJob's status names a job.
pub fn reference(job: &Templated<Job>) -> ObjectReference {
    ObjectReference {
        api_version: Some("batch/v1".to_owned()),
        kind: Some("Job".to_owned()),
        namespace: job.namespace(),
        name: Some(job.name_any()),
        uid: job.uid(),
        resource_version: job.resource_version(),
        field_path: None,
    }
}

/// Finished jobs of one outcome that the history does not keep, oldest first.
fn beyond_history(
    jobs: &[Arc<Templated<Job>>],
    succeeded: bool,
    limit: i32,
) -> Vec<Arc<Templated<Job>>> {
    let mut finished: Vec<_> = jobs
        .iter()
        .filter(|job| crate::jobs::is_finished(job) && is_complete(job) == succeeded)
        .cloned()
        .collect();
    finished.sort_by_key(|job| {
        (
            job.status
                .as_ref()
                .and_then(|status| status.start_time.clone()),
            job.name_any(),
        )
    });
    let surplus = finished
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or(0));
    finished.truncate(surplus);
    finished
}

/// The annotation that says which time a job was started for.
pub fn time_annotation(at: Timestamp) -> (&'static str, String) {
    let text = serde_json::json!(Time(at));
    (
        ANNOTATION_TIME,
        text.as_str().unwrap_or_default().to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T10:00:30Z".parse().unwrap()
    }

    fn cron(spec: Value, status: Value) -> Templated<CronJob> {
        let mut object = json!({
            "metadata": {"name": "nightly", "namespace": "ns", "uid": "c", "creationTimestamp": "2026-01-01T09:30:00Z"},
            "spec": {"schedule": "0 * * * *", "jobTemplate": {"spec": {"template": {}}}},
            "status": status,
        });
        for (field, value) in spec.as_object().unwrap() {
            object["spec"][field] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    fn job(name: &str, end: Option<&str>) -> Arc<Templated<Job>> {
        let conditions: Vec<Value> = end
            .map(|type_| json!({"type": type_, "status": "True"}))
            .into_iter()
            .collect();
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "namespace": "ns", "uid": name},
                "spec": {"template": {}},
                "status": {"conditions": conditions, "startTime": "2026-01-01T08:00:00Z"},
            }))
            .unwrap(),
        )
    }

    fn at(text: &str) -> Option<Timestamp> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_time_that_has_come_starts_a_job_once() {
        let due = plan(&cron(json!({}), json!({})), &[], now());
        assert_eq!(due.start, at("2026-01-01T10:00:00Z"));
        assert_eq!(due.next.map(|next| next.as_secs()), Some(3570));
        let served = plan(
            &cron(
                json!({}),
                json!({"lastScheduleTime": "2026-01-01T10:00:00Z"}),
            ),
            &[],
            now(),
        );
        assert_eq!(served.start, None);
    }

    #[test]
    fn of_several_missed_times_only_the_latest_is_served() {
        let held = json!({"lastScheduleTime": "2026-01-01T05:00:00Z"});
        assert_eq!(
            plan(&cron(json!({}), held), &[], now()).start,
            at("2026-01-01T10:00:00Z")
        );
        let long_ago = json!({"lastScheduleTime": "2025-01-01T05:00:00Z"});
        let late = plan(&cron(json!({}), long_ago), &[], now());
        assert_eq!(late.start, at("2026-01-01T10:00:00Z"));
        assert_eq!(late.events[0].1, "TooManyMissedTimes");
    }

    #[test]
    fn a_running_job_keeps_or_is_replaced_by_the_next_as_the_policy_says() {
        let running = [job("old", None)];
        let forbid = plan(
            &cron(json!({"concurrencyPolicy": "Forbid"}), json!({})),
            &running,
            now(),
        );
        assert_eq!(forbid.start, None);
        assert!(
            forbid
                .events
                .iter()
                .any(|event| event.1 == "JobAlreadyActive")
        );
        let replace = plan(
            &cron(json!({"concurrencyPolicy": "Replace"}), json!({})),
            &running,
            now(),
        );
        assert_eq!((replace.start.is_some(), replace.replace.len()), (true, 1));
        let allow = plan(&cron(json!({}), json!({})), &running, now());
        assert_eq!((allow.start.is_some(), allow.replace.len()), (true, 0));
    }

    #[test]
    fn past_the_starting_deadline_nothing_starts() {
        let late = plan(
            &cron(json!({"startingDeadlineSeconds": 10}), json!({})),
            &[],
            now(),
        );
        assert_eq!(late.start, None);
    }

    #[test]
    fn only_the_latest_finished_jobs_are_kept() {
        let jobs = [
            job("a", Some("Complete")),
            job("b", Some("Complete")),
            job("c", Some("Failed")),
            job("d", Some("Failed")),
        ];
        let spec = json!({"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1});
        let deleted: Vec<String> = plan(&cron(spec, json!({})), &jobs, now())
            .delete
            .iter()
            .map(|job| job.name_any())
            .collect();
        assert_eq!(deleted, ["a", "c"]);
    }

    #[test]
    fn a_suspended_cron_job_starts_nothing_but_follows_its_jobs() {
        let suspended = plan(
            &cron(json!({"suspend": true}), json!({})),
            &[job("a", None)],
            now(),
        );
        assert_eq!(
            (
                suspended.start,
                suspended.status.active.map(|active| active.len())
            ),
            (None, Some(1))
        );
    }

    #[test]
    fn a_schedule_that_cannot_be_read_is_said() {
        let wrong = plan(
            &cron(json!({"schedule": "nonsense"}), json!({})),
            &[],
            now(),
        );
        assert_eq!(wrong.events[0].1, "UnparseableSchedule");
    }
}
