//! `GET /runs/{run}/nodes/{node}/artifacts/{name}:read`: an output artifact's content as base64. The node is a task's id or
//! pod.

use axum::Json;
use axum::extract::{Path, State};
use base64::Engine as _;
use futures::TryStreamExt as _;
use serde_json::{Value, json};

use crate::api::{ApiError, Caller, Shared, split_verb};
use crate::store;

/// Largest content that is answered whole; `/artifacts/get` streams what is larger.
const LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// Reads it.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Path((run, node, segment)): Path<(String, String, String)>,
) -> Result<Json<Value>, ApiError> {
    api.authorise(&caller, "readArtifact", "runs").await?;
    let (name, verb) = split_verb(&segment);
    if verb != "read" {
        return Err(ApiError::invalid(format!(
            "artifacts have no action {verb:?}; known: read"
        )));
    }
    let tasks = api
        .store
        .read(move |db| store::task::of_run(db, &run))
        .await?;
    let task = tasks
        .iter()
        .find(|task| task.id == node || task.attempts.iter().any(|attempt| attempt.pod == node));
    let artifact = task
        .and_then(|task| task.outputs.artifacts.get(name))
        .and_then(|list| list.first());
    let artifact = artifact.ok_or_else(|| store::Error::NotFound {
        kind: "artifact",
        id: name.to_owned(),
    })?;
    let (store, key) = api.stores.resolve(&artifact.uri)?;
    let mut content = Vec::new();
    let mut chunks = store.read(&key).await?;
    while let Some(chunk) = chunks.try_next().await? {
        content.extend(chunk);
        if content.len() > LIMIT_BYTES {
            return Err(ApiError::invalid(
                "the artifact is larger than 64 MiB: stream it from /artifacts/get",
            ));
        }
    }
    Ok(Json(
        json!({"data": base64::engine::general_purpose::STANDARD.encode(content)}),
    ))
}
