//! Steps as pods: made in order, watched, their results read, their logs kept, and let go.

use kube::ResourceExt as _;

use super::platform::{Platform, task};

#[tokio::test(flavor = "multi_thread")]
async fn steps_run_as_pods_in_order_and_hand_their_outputs_on() {
    let platform = Platform::start().await;
    let run = platform.submit("{first: {componentRef: {name: comp-n}}, second: {componentRef: {name: comp-n}, inputs: {parameters: {x: {taskOutputParameter: {producerTask: first, outputParameterKey: Output}}}}}}").await;
    let run = platform.wait_for(&run, "SUCCEEDED").await;
    let second = task(&run, "second");
    assert_eq!(second["inputs"]["parameters"][0]["value"], 5);
    assert_eq!(second["outputs"]["parameters"][0]["value"], 5);
    let history: Vec<&str> = second["state_history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["state"].as_str().unwrap())
        .collect();
    assert_eq!(history, ["PENDING", "RUNNING", "SUCCEEDED"]);
    assert_eq!(
        platform.journal.count("first") + platform.journal.count("second"),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_outlives_its_pod_and_the_pod_is_let_go() {
    let platform = Platform::start().await;
    let id = platform
        .submit("{train: {componentRef: {name: comp-m}}}")
        .await;
    let run = platform.wait_for(&id, "SUCCEEDED").await;
    let pod = task(&run, "train")["pods"][0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    platform
        .eventually("released", || async {
            platform
                .pods()
                .get(&pod)
                .await
                .unwrap()
                .finalizers()
                .is_empty()
        })
        .await;
    platform
        .pods()
        .delete(&pod, &Default::default())
        .await
        .unwrap();
    assert_eq!(
        platform.text(&format!("/runs/{id}/tasks/train/log")).await,
        format!("first line\nhello from {pod}\n")
    );
    let artifact = &task(&run, "train")["outputs"]["artifacts"][0]["artifacts"][0];
    assert_eq!(
        (artifact["type"].as_str(), artifact["size_bytes"].as_str()),
        (Some("Model"), Some("4"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_its_exit_code_and_the_last_lines_of_the_log() {
    let platform = Platform::start().await;
    let id = platform
        .submit("{broken: {componentRef: {name: comp-a}}}")
        .await;
    let run = platform.wait_for(&id, "FAILED").await;
    let pod = task(&run, "broken")["pods"][0]["name"].as_str().unwrap();
    assert_eq!(
        run["error"]["message"],
        format!(
            "step broken failed: exited with code 3; last lines:\n  first line\n  hello from {pod}"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_ran_out_of_memory_says_so() {
    let platform = Platform::start().await;
    let id = platform
        .submit("{oom: {componentRef: {name: comp-a}}}")
        .await;
    let run = platform.wait_for(&id, "FAILED").await;
    let message = run["error"]["message"].as_str().unwrap();
    assert!(
        message.starts_with(
            "step oom failed: ran out of memory; raise it with set_memory_limit (exit code 137)"
        ),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_step_waits_for_is_shown_while_it_waits() {
    let platform = Platform::start().await;
    let id = platform
        .submit("{unschedulable: {componentRef: {name: comp-a}}}")
        .await;
    let words = "waits for a machine: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.";
    platform
        .wait(&id, "reason", |run| {
            run["tasks"].as_array().is_some_and(|tasks| {
                tasks
                    .iter()
                    .any(|task| task["status_metadata"]["message"] == words)
            })
        })
        .await;
    let (status, _) = platform
        .call("POST", &format!("/runs/{id}:terminate"), None)
        .await;
    assert_eq!(status, 200);
    platform.wait_for(&id, "FAILED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_run_shows_canceling_and_ends_as_failed_with_its_pods_gone() {
    let platform = Platform::start().await;
    let id = platform
        .submit("{hold: {componentRef: {name: comp-a}}}")
        .await;
    platform
        .wait(&id, "running step", |run| {
            run["tasks"].as_array().is_some_and(|tasks| {
                tasks
                    .iter()
                    .any(|task| task["name"] == "hold" && task["state"] == "RUNNING")
            })
        })
        .await;
    assert_eq!(
        platform
            .call("POST", &format!("/runs/{id}:terminate"), None)
            .await
            .0,
        200
    );
    assert_eq!(platform.run(&id).await["state"], "CANCELING");
    let run = platform.wait_for(&id, "FAILED").await;
    assert_eq!(run["error"]["message"], "cancelled by user");
    assert_eq!(task(&run, "hold")["state"], "CANCELED");
    platform
        .eventually("gone", || async {
            platform
                .pods()
                .list(&Default::default())
                .await
                .unwrap()
                .items
                .is_empty()
        })
        .await;
    assert_eq!(
        platform
            .call("POST", &format!("/runs/{id}:terminate"), None)
            .await
            .0,
        400
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_run_is_retried_with_new_pods() {
    let platform = Platform::start().await;
    let id = platform.submit("{fine: {componentRef: {name: comp-n}}, broken: {componentRef: {name: comp-a}, dependentTasks: [fine]}}").await;
    platform.wait_for(&id, "FAILED").await;
    assert_eq!(
        platform
            .call("POST", &format!("/runs/{id}:retry"), None)
            .await
            .0,
        200
    );
    platform
        .wait(&id, "second failure", |run| {
            run["state"] == "FAILED"
                && run["state_history"]
                    .as_array()
                    .is_some_and(|history| history.len() >= 5)
        })
        .await;
    assert_eq!(
        (
            platform.journal.count("fine"),
            platform.journal.count("broken")
        ),
        (1, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_run_takes_its_pods_along() {
    let platform = Platform::start().await;
    let id = platform
        .submit("{hold: {componentRef: {name: comp-a}}}")
        .await;
    platform
        .eventually("running", || async { platform.journal.count("hold") == 1 })
        .await;
    assert_eq!(
        platform
            .call("DELETE", &format!("/runs/{id}"), None)
            .await
            .0,
        200
    );
    platform
        .eventually("gone", || async {
            platform
                .pods()
                .list(&Default::default())
                .await
                .unwrap()
                .items
                .is_empty()
        })
        .await;
    assert_eq!(
        platform.call("GET", &format!("/runs/{id}"), None).await.0,
        404
    );
}
