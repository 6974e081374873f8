//! `/runs/{id}/tasks`, `/runs/{id}/tasks/{task}` and `/tasks:findCached`: the native task API, read side.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::task_view;
use crate::api::json::{fields, text};
use crate::api::{ApiError, Caller, Shared, list_answer};
use crate::store;

/// All tasks of a run.
pub async fn list(
    State(api): State<Shared>,
    caller: Caller,
    Path(run): Path<String>,
) -> Result<Json<Value>, ApiError> {
    api.authorise(&caller, "get", "runs").await?;
    let mut tasks = api
        .store
        .read(move |db| {
            store::run::get(db, &run)?;
            store::task::of_run(db, &run)
        })
        .await?;
    store::task::in_order_of_start(&mut tasks);
    let total = i64::try_from(tasks.len()).unwrap_or(i64::MAX);
    Ok(Json(list_answer(
        "tasks",
        task_view::views(&tasks),
        total,
        "",
    )))
}

/// One task.
pub async fn get(
    State(api): State<Shared>,
    caller: Caller,
    Path((run, id)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    api.authorise(&caller, "get", "runs").await?;
    let tasks = api
        .store
        .read(move |db| store::task::of_run(db, &run))
        .await?;
    match tasks.iter().find(|task| task.id == id) {
        Some(task) => Ok(Json(task_view::view(task, &tasks))),
        None => Err(store::Error::NotFound { kind: "task", id }.into()),
    }
}

/// The task whose result would be reused for a fingerprint.
pub async fn find_cached(
    State(api): State<Shared>,
    caller: Caller,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    api.authorise(&caller, "get", "runs").await?;
    let given = fields(&body, &["namespace", "cache_fingerprint"])?;
    let fingerprint = text(&given, "cache_fingerprint")?;
    let task = api
        .store
        .read(move |db| store::cache::find_any(db, "", &fingerprint))
        .await?;
    Ok(Json(task.map_or_else(
        || json!({}),
        |task| json!({"task": task_view::view(&task, &[])}),
    )))
}
