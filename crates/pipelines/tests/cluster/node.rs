//! A played node: what each step does is told by its name.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::body::Body;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub const NAME: &str = "node-1";

/// What steps have done.
#[derive(Default)]
pub struct Journal {
    /// Uids of pods that began, by task name.
    pub begun: Mutex<HashMap<String, Vec<String>>>,
}

impl Journal {
    pub fn count(&self, task: &str) -> usize {
        self.begun.lock().unwrap().get(task).map_or(0, Vec::len)
    }
}

/// Plays until told to stop.
pub async fn play(
    client: Client,
    artifacts: PathBuf,
    journal: Arc<Journal>,
    stop: CancellationToken,
) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "kubeflow");
    let mut events = Box::pin(watcher::watcher(pods.clone(), watcher::Config::default()));
    let mut begun = HashSet::new();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event.unwrap(),
        };
        let Ok(Event::Apply(pod) | Event::InitApply(pod)) = event else {
            continue;
        };
        let uid = pod.uid().unwrap();
        if pod.metadata.deletion_timestamp.is_some() {
            if begun.insert(format!("{uid}/deleted")) {
                tokio::spawn(delete(pods.clone(), pod));
            }
            continue;
        }
        let is_step = pod
            .labels()
            .contains_key("pipelines.kubeflow.org/v2_component");
        if is_step && begun.insert(uid) {
            tokio::spawn(run(
                client.clone(),
                pods.clone(),
                pod,
                artifacts.clone(),
                Arc::clone(&journal),
            ));
        }
    }
}

/// Logs of any container: one line with its pod's name.
pub fn kubelet() -> apiserver::backend::KubeletService {
    let answer = tower::service_fn(|request: http::Request<Body>| async move {
        let pod = request
            .uri()
            .path()
            .split('/')
            .nth(3)
            .unwrap_or_default()
            .to_owned();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(http::Response::new(Body::from(format!(
            "first line\nhello from {pod}\n"
        ))))
    });
    tower::util::BoxCloneSyncService::new(answer)
}

async fn run(client: Client, pods: Api<Pod>, pod: Pod, artifacts: PathBuf, journal: Arc<Journal>) {
    let name = pod.name_any();
    let task = pod.annotations()["pipelines.kubeflow.org/task_name"].clone();
    if task.starts_with("unschedulable") {
        let message = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.";
        let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
        return status(
            &pods,
            &name,
            json!({"phase": "Pending", "conditions": [condition]}),
        )
        .await;
    }
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": {"apiVersion": "v1", "kind": "Node", "name": NAME}});
    let request = http::Request::post(format!("/api/v1/namespaces/kubeflow/pods/{name}/binding"))
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&binding).unwrap())
        .unwrap();
    client.request_text(request).await.unwrap();
    status(
        &pods,
        &name,
        json!({"phase": "Running", "containerStatuses": [container(json!({"running": {}}))]}),
    )
    .await;
    journal
        .begun
        .lock()
        .unwrap()
        .entry(task.clone())
        .or_default()
        .push(pod.uid().unwrap());
    match task
        .trim_end_matches(char::is_numeric)
        .trim_end_matches('-')
    {
        "hold" => {}
        "oom" => end(&pods, &name, 137, "OOMKilled").await,
        "broken" => {
            report(&pod, &artifacts, json!({"exitCode": 3}));
            end(&pods, &name, 3, "Error").await;
        }
        _ => {
            report(
                &pod,
                &artifacts,
                json!({"exitCode": 0, "parameters": {"Output": "5"}}),
            );
            end(&pods, &name, 0, "Completed").await;
        }
    }
}

/// Writes the report where the step's file says, and a file for each output artifact.
fn report(pod: &Pod, artifacts: &Path, mut report: Value) {
    let inside = |path: &str| artifacts.join(path.strip_prefix("/minio/mlpipeline/").unwrap());
    let args = pod.spec.as_ref().unwrap().containers[0]
        .args
        .as_ref()
        .unwrap();
    let step: launcher::Step =
        serde_json::from_slice(&std::fs::read(inside(&args[1])).unwrap()).unwrap();
    for (key, path) in &step.artifacts {
        std::fs::write(inside(path), "data").unwrap();
        report["artifacts"][key] = json!({"isDirectory": false, "sizeBytes": 4});
    }
    std::fs::write(inside(&step.report), report.to_string()).unwrap();
}

pub async fn end(pods: &Api<Pod>, name: &str, code: i32, reason: &str) {
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    status(pods, name, json!({"phase": phase, "containerStatuses": [container(json!({"terminated": {"exitCode": code, "reason": reason}}))]})).await;
}

fn container(state: Value) -> Value {
    json!({"name": "main", "image": "i", "imageID": "i", "ready": false, "restartCount": 0, "state": state})
}

async fn status(pods: &Api<Pod>, name: &str, status: Value) {
    pods.patch_status(
        name,
        &PatchParams::default(),
        &Patch::Merge(&json!({"status": status})),
    )
    .await
    .unwrap();
}

/// A kubelet ends the containers of a deleted pod, says so, and takes the pod away.
async fn delete(pods: Api<Pod>, pod: Pod) {
    let name = pod.name_any();
    if pod
        .status
        .as_ref()
        .is_some_and(|status| status.phase.as_deref() == Some("Running"))
    {
        end(&pods, &name, 143, "Error").await;
    }
    let _ = pods
        .delete(
            &name,
            &DeleteParams {
                grace_period_seconds: Some(0),
                ..DeleteParams::default()
            },
        )
        .await;
}
