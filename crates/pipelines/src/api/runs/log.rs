//! Logs of steps: the live pod's through the cluster while there is one, the stored copy afterwards.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use futures::TryStreamExt as _;
use http::header::CONTENT_TYPE;
use k8s_openapi::api::core::v1::Pod;
use kube::Api as KubeApi;
use kube::api::LogParams;
use serde::Deserialize;

use crate::api::{Api, ApiError, Caller, Shared};
use crate::stamped_log::{lines, unstamped};
use crate::store;
use crate::task::{Attempt, Task};

/// Which log, and how.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Goes on until the container ends.
    pub follow: bool,
    /// Number of the attempt; the last one when absent.
    pub attempt: Option<u32>,
    /// Each line begins with its time.
    pub timestamps: bool,
}

/// `GET /runs/{run}/tasks/{task}/log?follow=&attempt=&timestamps=`; the task by id, key or display name.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Path((run, name)): Path<(String, String)>,
    Query(options): Query<Options>,
) -> Result<Response, ApiError> {
    api.authorise(&caller, "get", "runs").await?;
    let tasks = api
        .store
        .read(move |db| store::task::of_run(db, &run))
        .await?;
    let found = tasks.iter().find(|task| task.id == name).or_else(|| {
        tasks
            .iter()
            .rev()
            .find(|task| task.name == name || task.display_name == name)
    });
    let task = found.ok_or_else(|| store::Error::NotFound {
        kind: "task",
        id: name,
    })?;
    let attempt = match options.attempt {
        Some(number) => task
            .attempts
            .iter()
            .find(|attempt| attempt.number == number),
        None => task.current_attempt(),
    };
    match attempt {
        Some(attempt) => answer(&api, attempt, &options).await,
        None => Ok(plain(Body::from(no_attempt(task)))),
    }
}

/// `GET /apis/v1alpha1/runs/{run}/nodes/{node}/log`: the node is a pod.
pub async fn by_pod(
    State(api): State<Shared>,
    caller: Caller,
    Path((run, pod)): Path<(String, String)>,
    Query(options): Query<Options>,
) -> Result<Response, ApiError> {
    api.authorise(&caller, "get", "runs").await?;
    let tasks = api
        .store
        .read(move |db| store::task::of_run(db, &run))
        .await?;
    let attempt = tasks
        .iter()
        .flat_map(|task| &task.attempts)
        .find(|attempt| attempt.pod == pod);
    match attempt {
        Some(attempt) => answer(&api, attempt, &options).await,
        None => Err(store::Error::NotFound {
            kind: "pod",
            id: pod,
        }
        .into()),
    }
}

/// The log of one attempt.
pub async fn answer(api: &Api, attempt: &Attempt, options: &Options) -> Result<Response, ApiError> {
    if let Some(uri) = &attempt.log {
        let (store, key) = api.stores.resolve(uri)?;
        match store.read(&key).await {
            Ok(content) if options.timestamps => return Ok(plain(Body::from_stream(content))),
            Ok(content) => {
                let content = content.map_err(std::io::Error::other).into_async_read();
                return Ok(plain(Body::from_stream(unstamped(content))));
            }
            // Just ended: the copy is being made, and the pod is still there.
            Err(artifacts::Error::NotFound(_)) => {}
            Err(problem) => return Err(problem.into()),
        }
    }
    let Some(client) = &api.client else {
        return Ok(plain(Body::empty()));
    };
    let pods: KubeApi<Pod> = KubeApi::namespaced(client.clone(), &api.namespace);
    let wanted = LogParams {
        follow: options.follow,
        container: Some("main".to_owned()),
        timestamps: options.timestamps,
        ..LogParams::default()
    };
    match pods.log_stream(&attempt.pod, &wanted).await {
        Ok(log) => Ok(plain(Body::from_stream(lines(log)))),
        // Not begun yet, or gone without a trace: an empty log is the truth.
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 404) => {
            Ok(plain(Body::empty()))
        }
        Err(problem) => {
            tracing::warn!(error = &problem as &dyn std::error::Error, pod = %attempt.pod, "could not read a log");
            Err(ApiError::new(
                crate::api::Code::Unavailable,
                "the log cannot be read right now: the Kubernetes API did not answer",
            ))
        }
    }
}

fn no_attempt(task: &Task) -> String {
    match (&task.cached_from, &task.message) {
        (Some(origin), _) => format!(
            "this step did not run: its outputs were taken over from task {} of run {}\n",
            origin.task_id, origin.run_id
        ),
        (None, Some(message)) => format!(
            "this step did not run: {}\n",
            message.trim_start_matches("not run: ")
        ),
        (None, None) => String::new(),
    }
}

fn plain(body: Body) -> Response {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}
