//! `GET /runs/{id}`: with task details for released clients; `view=FULL` adds the native tasks. `GET /runs/{id}:watch` is an
//! event stream.

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;

use super::{answer, metrics_of, task_details, task_view, view, watch};
use crate::api::{ApiError, Caller, Shared, ready_json, split_verb};
use crate::store;

/// How much is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Options {
    view: String,
}

/// One run.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Path(segment): Path<String>,
    Query(options): Query<Options>,
) -> Result<Response, ApiError> {
    api.authorise(&caller, "get", "runs").await?;
    let (id, verb) = split_verb(&segment);
    let id = id.to_owned();
    match verb {
        "" => {}
        "watch" => return Ok(watch::one(api, caller, id).await?.into_response()),
        other => {
            return Err(ApiError::invalid(format!(
                "runs have no view {other:?}; known: watch"
            )));
        }
    }
    let is_full = match options.view.as_str() {
        "FULL" => true,
        "" | "DEFAULT" | "VIEW_UNSPECIFIED" => false,
        other => {
            return Err(ApiError::invalid(format!(
                "view must be DEFAULT or FULL, is {other:?}"
            )));
        }
    };
    let text = api
        .store
        .read(move |db| {
            let run = store::run::get(db, &id)?;
            let mut tasks = store::task::of_run(db, &id)?;
            store::task::in_order_of_start(&mut tasks);
            let details = json!({"task_details": task_details::view(&tasks)});
            let metrics = metrics_of(db, &run)?;
            let mut object = view(&run, Some(&metrics))
                .value("run_details", details)
                .value("task_count", tasks.len());
            if is_full {
                object = object.value("tasks", task_view::views(&tasks));
            }
            answer(db, &run, object)
        })
        .await?;
    Ok(ready_json(text))
}
