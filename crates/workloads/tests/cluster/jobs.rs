//! Jobs to their end, good or bad.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::home::Home;

fn job(name: &str, ends: &str, spec: Value) -> Value {
    let mut job = json!({
        "metadata": {"name": name},
        "spec": {"template": {
            "metadata": {"annotations": {"test/ends": ends}},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]},
        }},
    });
    for (field, value) in spec.as_object().unwrap() {
        job["spec"][field] = value.clone();
    }
    job
}

fn conditions(job: &Job) -> Vec<String> {
    let conditions = job
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions.map(|held| held.type_.clone()).collect()
}

fn has(job: &Job, type_: &str) -> bool {
    conditions(job).iter().any(|held| held == type_)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_five_completions_two_at_a_time_completes() {
    let home = Home::start().await;
    home.create::<Job>(job(
        "five",
        "Succeeded",
        json!({"completions": 5, "parallelism": 2}),
    ))
    .await;
    let done = home
        .until::<Job>("five", |held| has(held, "Complete"))
        .await;
    assert_eq!(conditions(&done), ["SuccessCriteriaMet", "Complete"]);
    let status = done.status.unwrap();
    assert_eq!(
        (status.succeeded, status.active, status.failed),
        (Some(5), None, None)
    );
    assert!(status.completion_time.is_some());
    let pods = home
        .until_all::<Pod>(|pods| pods.iter().all(|pod| pod.finalizers().is_empty()))
        .await;
    assert_eq!(pods.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_past_its_backoff_limit_fails() {
    let home = Home::start().await;
    home.create::<Job>(job("bad", "Failed", json!({"backoffLimit": 0})))
        .await;
    let failed = home.until::<Job>("bad", |held| has(held, "Failed")).await;
    assert_eq!(conditions(&failed), ["FailureTarget", "Failed"]);
    let status = failed.status.unwrap();
    assert_eq!(status.failed, Some(1));
    assert_eq!(
        status.conditions.unwrap()[1].reason.as_deref(),
        Some("BackoffLimitExceeded")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_indexed_job_gives_every_pod_its_index() {
    let home = Home::start().await;
    let spec = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"});
    home.create::<Job>(job("indexed", "Succeeded", spec)).await;
    let done = home
        .until::<Job>("indexed", |held| has(held, "Complete"))
        .await;
    assert_eq!(
        done.status.unwrap().completed_indexes.as_deref(),
        Some("0-2")
    );
    let pods = home.until_all::<Pod>(|pods| pods.len() == 3).await;
    let mut names: Vec<String> = pods
        .iter()
        .filter_map(|pod| pod.spec.as_ref()?.hostname.clone())
        .collect();
    names.sort();
    assert_eq!(names, ["indexed-0", "indexed-1", "indexed-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_job_goes_after_its_time_to_live_with_its_pods() {
    let home = Home::start().await;
    home.create::<Job>(job(
        "brief",
        "Succeeded",
        json!({"ttlSecondsAfterFinished": 0}),
    ))
    .await;
    home.until_all::<Job>(|jobs| jobs.is_empty()).await;
    home.until_all::<Pod>(|pods| pods.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_job_runs_nothing_until_it_is_resumed() {
    let home = Home::start().await;
    home.create::<Job>(job("later", "Succeeded", json!({"suspend": true})))
        .await;
    home.until::<Job>("later", |held| has(held, "Suspended"))
        .await;
    assert!(home.until_all::<Pod>(|_| true).await.is_empty());
    home.patch::<Job>("later", json!({"spec": {"suspend": false}}))
        .await;
    home.until::<Job>("later", |held| has(held, "Complete"))
        .await;
}
