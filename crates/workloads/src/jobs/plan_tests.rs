//! Jobs step by step, on values.

use serde_json::{Value, json};

use super::super::{INDEX, INDEX_FAILURES, TRACKING};
use super::*;

fn now() -> Timestamp {
    "2026-01-01T10:00:00Z".parse().unwrap()
}

fn job(spec: Value, status: Value) -> Templated<Job> {
    let mut object = json!({
        "metadata": {"name": "train", "namespace": "ns", "uid": "j", "generation": 1},
        "spec": {
            "parallelism": 1, "completions": 1, "backoffLimit": 6,
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}},
        },
        "status": status,
    });
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn pod(name: &str, phase: &str, change: Value) -> Arc<Pod> {
    let mut object = json!({
        "metadata": {
            "name": name, "namespace": "ns", "uid": name, "finalizers": [TRACKING],
            "creationTimestamp": "2026-01-01T09:00:00Z", "annotations": {}, "labels": {},
        },
        "spec": {"containers": [], "nodeName": "n1"},
        "status": {"phase": phase, "containerStatuses": []},
    });
    for (pointer, value) in change.as_object().unwrap() {
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[field.replace("~1", "/")] = value.clone();
    }
    Arc::new(serde_json::from_value(object).unwrap())
}

fn indexed(name: &str, phase: &str, index: i32) -> Arc<Pod> {
    pod(
        name,
        phase,
        json!({format!("/metadata/annotations/{}", INDEX.replace('/', "~1")): index.to_string()}),
    )
}

fn failed_at(name: &str, time: &str) -> Arc<Pod> {
    let statuses = json!([{
        "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": 1, "finishedAt": time}},
    }]);
    pod(
        name,
        "Failed",
        json!({"/status/containerStatuses": statuses}),
    )
}

fn conditions(status: &JobStatus) -> Vec<(String, String)> {
    let conditions = status.conditions.iter().flatten();
    conditions
        .map(|held| (held.type_.clone(), held.reason.clone().unwrap_or_default()))
        .collect()
}

fn pair(type_: &str, reason: &str) -> (String, String) {
    (type_.to_owned(), reason.to_owned())
}

/// The status once every finalizer of the plan is off.
fn settled(plan: &Plan, active: i32, terminating: i32) -> JobStatus {
    settle(
        plan.status.clone(),
        |_| false,
        active,
        terminating,
        plan.verdict.as_ref(),
        now(),
    )
}

#[test]
fn a_new_job_starts_and_creates_its_pods() {
    let plan = plan(
        &job(json!({"parallelism": 3, "completions": 5}), json!({})),
        &[],
        now(),
    );
    assert_eq!(plan.create.len(), 3);
    assert_eq!(plan.status.start_time, Some(Time(now())));
    let status = settled(&plan, 3, 0);
    assert_eq!(
        json!(status),
        json!({
            "active": 3, "ready": 0, "startTime": "2026-01-01T10:00:00Z", "terminating": 0,
            "uncountedTerminatedPods": {},
        })
    );
}

#[test]
fn a_success_is_entered_before_its_finalizer_goes_and_counted_after() {
    let plan = plan(
        &job(json!({}), json!({})),
        &[pod("a", "Succeeded", json!({}))],
        now(),
    );
    let uncounted = plan.status.uncounted_terminated_pods.clone().unwrap();
    assert_eq!(uncounted.succeeded, Some(vec!["a".to_owned()]));
    assert_eq!(plan.release.len(), 1);
    let status = settled(&plan, 0, 0);
    assert_eq!(status.succeeded, Some(1));
    assert_eq!(
        conditions(&status),
        [
            pair("SuccessCriteriaMet", "CompletionsReached"),
            pair("Complete", "CompletionsReached")
        ]
    );
    assert_eq!(status.completion_time, Some(Time(now())));
}

#[test]
fn a_pod_whose_finalizer_stays_is_not_counted_and_the_job_does_not_end() {
    let plan = plan(
        &job(json!({}), json!({})),
        &[pod("a", "Succeeded", json!({}))],
        now(),
    );
    let status = settle(
        plan.status.clone(),
        |uid| uid == "a",
        0,
        0,
        plan.verdict.as_ref(),
        now(),
    );
    assert_eq!(status.succeeded, None);
    assert_eq!(
        conditions(&status),
        [pair("SuccessCriteriaMet", "CompletionsReached")]
    );
}

#[test]
fn a_pod_that_is_counted_already_is_not_counted_again() {
    let status =
        json!({"succeeded": 1, "uncountedTerminatedPods": {}, "startTime": "2026-01-01T09:00:00Z"});
    let counted = pod("a", "Succeeded", json!({"/metadata/finalizers": []}));
    let plan = plan(&job(json!({"completions": 2}), status), &[counted], now());
    assert_eq!(
        (plan.create.len(), settled(&plan, 1, 0).succeeded),
        (1, Some(1))
    );
}

#[test]
fn a_failure_is_retried_after_a_wait_that_doubles() {
    let object = job(json!({}), json!({"startTime": "2026-01-01T09:00:00Z"}));
    let recent = plan(&object, &[failed_at("a", "2026-01-01T09:59:55Z")], now());
    assert_eq!(
        (
            recent.create.len(),
            recent.next.map(|wait| wait.as_millis())
        ),
        (0, Some(5001))
    );
    let twice = [
        failed_at("a", "2026-01-01T09:58:00Z"),
        failed_at("b", "2026-01-01T09:59:45Z"),
    ];
    assert_eq!(
        plan(&object, &twice, now())
            .next
            .map(|wait| wait.as_millis()),
        Some(5001)
    );
    let over = plan(&object, &[failed_at("a", "2026-01-01T09:59:49Z")], now());
    assert_eq!(over.create.len(), 1);
}

#[test]
fn past_the_backoff_limit_the_job_fails_and_stops_its_pods() {
    let object = job(
        json!({"backoffLimit": 0, "parallelism": 2, "completions": 2}),
        json!({}),
    );
    let pods = [
        failed_at("a", "2026-01-01T09:59:00Z"),
        pod("b", "Running", json!({})),
    ];
    let plan = plan(&object, &pods, now());
    assert_eq!((plan.create.len(), plan.stop.len()), (0, 1));
    assert_eq!(
        conditions(&plan.status),
        [pair("FailureTarget", "BackoffLimitExceeded")]
    );
    let waiting = settled(&plan, 0, 1);
    assert_eq!(
        conditions(&waiting),
        [pair("FailureTarget", "BackoffLimitExceeded")],
        "one pod is still ending"
    );
    let ended = settled(&plan, 0, 0);
    assert_eq!(
        ended.failed,
        Some(2),
        "a pod that is stopped counts as failed"
    );
    assert_eq!(
        conditions(&ended),
        [
            pair("FailureTarget", "BackoffLimitExceeded"),
            pair("Failed", "BackoffLimitExceeded")
        ]
    );
    assert_eq!(ended.completion_time, None);
}

#[test]
fn an_announced_end_is_kept_whatever_happens_later() {
    let announced = json!({"conditions": [{
        "type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded", "message": "m",
    }]});
    let plan = plan(
        &job(json!({}), announced),
        &[pod("a", "Succeeded", json!({}))],
        now(),
    );
    assert_eq!(
        conditions(&settled(&plan, 0, 0)),
        [
            pair("FailureTarget", "DeadlineExceeded"),
            pair("Failed", "DeadlineExceeded")
        ]
    );
}

#[test]
fn restarts_in_place_count_towards_the_limit() {
    let template = json!({"spec": {"restartPolicy": "OnFailure", "containers": []}});
    let object = job(json!({"backoffLimit": 2, "template": template}), json!({}));
    let restarted = |count: i32| {
        let statuses = json!([{"name": "m", "image": "", "imageID": "", "ready": false, "restartCount": count}]);
        pod(
            "a",
            "Running",
            json!({"/status/containerStatuses": statuses}),
        )
    };
    assert!(plan(&object, &[restarted(1)], now()).verdict.is_none());
    assert_eq!(
        plan(&object, &[restarted(2)], now())
            .verdict
            .unwrap()
            .reason,
        "BackoffLimitExceeded"
    );
}

#[test]
fn the_deadline_ends_the_job_when_it_is_reached() {
    let object = job(
        json!({"activeDeadlineSeconds": 60}),
        json!({"startTime": "2026-01-01T09:59:30Z"}),
    );
    let before = plan(&object, &[pod("a", "Running", json!({}))], now());
    assert_eq!(before.next.map(|wait| wait.as_millis()), Some(30_001));
    let object = job(
        json!({"activeDeadlineSeconds": 30}),
        json!({"startTime": "2026-01-01T09:59:30Z"}),
    );
    let after = plan(&object, &[pod("a", "Running", json!({}))], now());
    assert_eq!(after.verdict.unwrap().reason, "DeadlineExceeded");
}

#[test]
fn a_suspended_job_deletes_its_pods_and_starts_afresh_when_resumed() {
    let running = pod("a", "Running", json!({}));
    let suspended = plan(&job(json!({"suspend": true}), json!({})), &[running], now());
    assert_eq!(
        (suspended.delete.len(), suspended.suspension),
        (1, Some(true))
    );
    assert_eq!(
        conditions(&suspended.status),
        [pair("Suspended", "JobSuspended")]
    );
    assert_eq!(suspended.status.start_time, None);
    let held =
        json!({"conditions": [{"type": "Suspended", "status": "True", "reason": "JobSuspended"}]});
    let resumed = plan(&job(json!({}), held), &[], now());
    assert_eq!((resumed.create.len(), resumed.suspension), (1, Some(false)));
    assert_eq!(resumed.status.start_time, Some(Time(now())));
}

#[test]
fn fewer_wanted_pods_mean_deletions_of_the_least_advanced() {
    let pods = [
        pod("running", "Running", json!({})),
        pod("pending", "Pending", json!({"/spec/nodeName": null})),
    ];
    let plan = plan(
        &job(json!({"parallelism": 1, "completions": 3}), json!({})),
        &pods,
        now(),
    );
    assert_eq!(
        plan.delete
            .iter()
            .map(|pod| pod.name_any())
            .collect::<Vec<_>>(),
        ["pending"]
    );
}

#[test]
fn without_completions_the_first_success_is_enough_once_all_have_ended() {
    let object = job(json!({"completions": null, "parallelism": 2}), json!({}));
    let pods = [
        pod("a", "Succeeded", json!({})),
        pod("b", "Running", json!({})),
    ];
    let working = plan(&object, &pods, now());
    assert!(working.create.is_empty() && working.verdict.is_none());
    let done = plan(
        &object,
        &[
            pod("a", "Succeeded", json!({})),
            pod("b", "Succeeded", json!({})),
        ],
        now(),
    );
    assert_eq!(conditions(&settled(&done, 0, 0)).len(), 2);
}

#[test]
fn an_indexed_job_creates_the_lowest_indexes_that_are_missing() {
    let object = job(
        json!({"completionMode": "Indexed", "completions": 5, "parallelism": 3}),
        json!({"completedIndexes": "0", "succeeded": 1}),
    );
    let pods = [indexed("b", "Running", 2), indexed("c", "Succeeded", 1)];
    let plan = plan(&object, &pods, now());
    let created: Vec<Option<i32>> = plan.create.iter().map(|new| new.index).collect();
    assert_eq!(created, [Some(3), Some(4)]);
    assert_eq!(plan.status.completed_indexes.as_deref(), Some("0,1"));
    assert_eq!(settled(&plan, 3, 0).succeeded, Some(2));
}

#[test]
fn an_index_that_fails_too_often_fails_alone() {
    let object = job(
        json!({"completionMode": "Indexed", "completions": 2, "parallelism": 2, "backoffLimitPerIndex": 0, "backoffLimit": 100}),
        json!({}),
    );
    let pods = [indexed("a", "Failed", 0), indexed("b", "Running", 1)];
    let going_on = plan(&object, &pods, now());
    assert!(going_on.verdict.is_none() && going_on.create.is_empty());
    assert_eq!(going_on.status.failed_indexes.as_deref(), Some("0"));
    let ended = plan(
        &object,
        &[indexed("a", "Failed", 0), indexed("b", "Succeeded", 1)],
        now(),
    );
    assert_eq!(ended.verdict.unwrap().reason, "FailedIndexes");
}

#[test]
fn a_replacement_carries_the_failures_of_its_index() {
    let object = job(
        json!({"completionMode": "Indexed", "completions": 1, "backoffLimitPerIndex": 2, "backoffLimit": 100}),
        json!({}),
    );
    let plan = plan(&object, &[indexed("a", "Failed", 0)], now());
    assert_eq!(
        plan.create,
        [NewPod {
            index: Some(0),
            failures: Some(1)
        }]
    );
    let body = super::super::build::pod(&object, plan.create[0]);
    assert_eq!(body["metadata"]["annotations"][INDEX_FAILURES], "1");
    assert_eq!(body["metadata"]["generateName"], "train-0-");
    assert_eq!(body["spec"]["hostname"], "train-0");
    assert_eq!(
        body["spec"]["containers"][0]["env"][0]["name"],
        "JOB_COMPLETION_INDEX"
    );
    assert_eq!(body["metadata"]["finalizers"], json!([TRACKING]));
}

#[test]
fn a_success_policy_ends_the_job_early_and_well() {
    let object = job(
        json!({
            "completionMode": "Indexed", "completions": 3, "parallelism": 3,
            "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
        }),
        json!({}),
    );
    let pods = [
        indexed("leader", "Succeeded", 0),
        indexed("b", "Running", 1),
        indexed("c", "Running", 2),
    ];
    let plan = plan(&object, &pods, now());
    assert_eq!(plan.stop.len(), 2);
    let status = settled(&plan, 0, 0);
    assert_eq!(
        conditions(&status),
        [
            pair("SuccessCriteriaMet", "SuccessPolicy"),
            pair("Complete", "SuccessPolicy")
        ]
    );
    assert_eq!(status.failed, None);
}

#[test]
fn a_pod_deleted_by_somebody_counts_as_failed_and_is_replaced() {
    let gone = pod(
        "a",
        "Running",
        json!({"/metadata/deletionTimestamp": "2026-01-01T09:00:00Z"}),
    );
    let plan = plan(&job(json!({}), json!({})), &[gone], now());
    assert_eq!(plan.create.len(), 1);
    assert_eq!(settled(&plan, 1, 1).failed, Some(1));
}

#[test]
fn a_deadline_failure_has_the_reason_in_both_conditions() {
    let object = job(
        json!({"activeDeadlineSeconds": 1}),
        json!({"startTime": "2026-01-01T09:00:00Z"}),
    );
    let plan = plan(&object, &[], now());
    assert_eq!(
        conditions(&settled(&plan, 0, 0)),
        [
            pair("FailureTarget", "DeadlineExceeded"),
            pair("Failed", "DeadlineExceeded")
        ]
    );
}
