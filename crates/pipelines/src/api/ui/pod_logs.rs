//! `/k8s/pod/logs?podname=&runid=`: a step's log by its pod.

use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;

use crate::api::runs::log;
use crate::api::{ApiError, Caller, Shared};
use crate::store;

/// Which pod.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Options {
    podname: String,
    runid: String,
    follow: bool,
}

/// The log.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Query(options): Query<Options>,
) -> Result<Response, ApiError> {
    api.authorise(&caller, "get", "runs").await?;
    if options.runid.is_empty() || options.podname.is_empty() {
        return Err(ApiError::invalid("runid and podname are required"));
    }
    let tasks = api
        .store
        .read(move |db| store::task::of_run(db, &options.runid))
        .await?;
    let attempt = tasks
        .iter()
        .flat_map(|task| &task.attempts)
        .find(|attempt| attempt.pod == options.podname);
    match attempt {
        Some(attempt) => {
            let wanted = log::Options {
                follow: options.follow,
                ..log::Options::default()
            };
            log::answer(&api, attempt, &wanted).await
        }
        None => Err(store::Error::NotFound {
            kind: "pod",
            id: options.podname,
        }
        .into()),
    }
}
