//! Volume claims that pipelines and runs ask for.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;

use super::platform::{Platform, task};

fn claims(platform: &Platform) -> Api<PersistentVolumeClaim> {
    Api::namespaced(platform.client.clone(), "kubeflow")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_makes_and_deletes_a_claim_of_its_own() {
    let platform = Platform::start().await;
    let document = include_str!("../pipelines/compiled/platform_document.yaml");
    let id = platform.submit_document(document).await;
    let run = platform
        .wait(&id, "claim", |run| {
            run["tasks"].as_array().is_some_and(|tasks| {
                tasks
                    .iter()
                    .any(|task| task["name"] == "createpvc" && task["state"] == "SUCCEEDED")
            })
        })
        .await;
    let name = task(&run, "createpvc")["outputs"]["parameters"][0]["value"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(name.ends_with("-data"), "{name}");
    platform
        .wait(&id, "end", |run| {
            run["state"] != "RUNNING" && run["state"] != "PENDING"
        })
        .await;
    platform
        .eventually("deleted", || async {
            // A claim that a pod still uses stays until it does not; being deleted is what the step has to bring about.
            claims(&platform)
                .get_opt(&name)
                .await
                .unwrap()
                .is_none_or(|claim| claim.metadata.deletion_timestamp.is_some())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_that_share_paths_get_one_claim_per_run() {
    let platform = Platform::start().await;
    let document = r"
pipelineInfo: {name: guide}
schemaVersion: 2.1.0
deploymentSpec:
  executors:
    exec-a: {container: {image: a, command: [run], args: [--in, /data/raw, --out, /models/llm]}}
    exec-b: {container: {image: b, command: [run], args: [--in, /models/llm]}}
components: {comp-a: {executorLabel: exec-a}, comp-b: {executorLabel: exec-b}}
root: {dag: {tasks: {a: {componentRef: {name: comp-a}}, b: {componentRef: {name: comp-b}, dependentTasks: [a]}}}}
---
platforms:
  kubernetes:
    deploymentSpec:
      executors:
        exec-a: {podMetadata: {annotations: {ferroflow.io/container-op: 'true'}}}
        exec-b: {podMetadata: {annotations: {ferroflow.io/container-op: 'true'}}}
";
    let id = platform.submit_document(document).await;
    let run = platform.wait_for(&id, "SUCCEEDED").await;
    assert_eq!(
        run["plugins_output"]["ferroflow.io/shared-paths"]["entries"]["paths"]["value"],
        serde_json::json!(["/data", "/models"])
    );
    let all = claims(&platform)
        .list(&Default::default())
        .await
        .unwrap()
        .items;
    assert_eq!(all.len(), 1);
    let pod = platform
        .pods()
        .get(task(&run, "b")["pods"][0]["name"].as_str().unwrap())
        .await
        .unwrap();
    let mounts = pod
        .spec
        .unwrap()
        .containers
        .remove(0)
        .volume_mounts
        .unwrap();
    assert!(
        mounts
            .iter()
            .any(|mount| mount.mount_path == "/models"
                && mount.sub_path.as_deref() == Some("models"))
    );
    platform.call("DELETE", &format!("/runs/{id}"), None).await;
    platform
        .eventually("claims gone", || async {
            claims(&platform)
                .list(&Default::default())
                .await
                .unwrap()
                .items
                .iter()
                .all(|claim| claim.metadata.deletion_timestamp.is_some())
        })
        .await;
}
