//! Killed at any point, the engine goes on where it was, and no step runs twice to success.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::PostParams;
use serde_json::json;

use super::node;
use super::platform::{Platform, task};

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_runs_while_the_engine_is_killed_is_taken_up_again_and_not_repeated() {
    let mut platform = Platform::start().await;
    let id = platform.submit("{hold: {componentRef: {name: comp-a}}, after: {componentRef: {name: comp-n}, dependentTasks: [hold]}}").await;
    platform
        .eventually("running", || async { platform.journal.count("hold") == 1 })
        .await;
    platform.kill_component().await;
    platform.start_component().await;
    let run = platform.run(&id).await;
    assert_eq!(run["state"], "RUNNING");
    finish(&platform, "hold").await;
    platform.wait_for(&id, "SUCCEEDED").await;
    assert_eq!(
        (
            platform.journal.count("hold"),
            platform.journal.count("after")
        ),
        (1, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_ended_while_nobody_watched_is_recorded_at_the_next_start() {
    let mut platform = Platform::start().await;
    let id = platform
        .submit("{hold: {componentRef: {name: comp-a}}}")
        .await;
    platform
        .eventually("running", || async { platform.journal.count("hold") == 1 })
        .await;
    platform.kill_component().await;
    finish(&platform, "hold").await;
    platform.start_component().await;
    let run = platform.wait_for(&id, "SUCCEEDED").await;
    assert_eq!(task(&run, "hold")["pods"].as_array().unwrap().len(), 1);
    assert_eq!(platform.journal.count("hold"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_the_same_name_that_is_not_the_steps_is_left_alone() {
    let mut platform = Platform::start().await;
    let id = platform
        .submit("{unschedulable: {componentRef: {name: comp-a}}}")
        .await;
    platform
        .eventually("made", || async {
            platform
                .pods()
                .list(&Default::default())
                .await
                .unwrap()
                .items
                .len()
                == 1
        })
        .await;
    platform.kill_component().await;
    let pod = platform
        .pods()
        .list(&Default::default())
        .await
        .unwrap()
        .items
        .remove(0);
    let name = pod.name_any();
    platform
        .pods()
        .patch(
            &name,
            &Default::default(),
            &kube::api::Patch::Merge(json!({"metadata": {"finalizers": null}})),
        )
        .await
        .unwrap();
    platform
        .pods()
        .delete(
            &name,
            &kube::api::DeleteParams {
                grace_period_seconds: Some(0),
                ..Default::default()
            },
        )
        .await
        .unwrap();
    platform
        .eventually("gone", || async {
            platform.pods().get_opt(&name).await.unwrap().is_none()
        })
        .await;
    let foreign: Pod = serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"serviceAccountName": "pipeline-runner", "containers": [{"name": "c", "image": "i"}]}})).unwrap();
    platform
        .pods()
        .create(&PostParams::default(), &foreign)
        .await
        .unwrap();
    platform.start_component().await;
    let run = platform.wait_for(&id, "FAILED").await;
    let message = run["error"]["message"].as_str().unwrap();
    assert!(
        message.ends_with("exists that is not this step's"),
        "{message}"
    );
    assert!(platform.pods().get(&name).await.is_ok());
}

/// Ends a held step as its launcher would: report first, then the container.
async fn finish(platform: &Platform, task: &str) {
    let pods = platform
        .pods()
        .list(&Default::default())
        .await
        .unwrap()
        .items;
    let pod = pods
        .into_iter()
        .find(|pod| pod.annotations()["pipelines.kubeflow.org/task_name"] == task)
        .unwrap();
    let report = pod.annotations()["pipelines.ferroflow.io/report"]
        .strip_prefix("minio://mlpipeline/")
        .unwrap();
    std::fs::write(platform.artifacts().join(report), r#"{"exitCode": 0}"#).unwrap();
    node::end(&platform.pods(), &pod.name_any(), 0, "Completed").await;
}
