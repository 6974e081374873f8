//! `DELETE /pipelines/{id}?cascade=true`

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::Value;

use crate::api::{ApiError, Caller, Shared, empty};
use crate::store;

/// Whether the versions go too.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Options {
    cascade: bool,
}

/// Removes a pipeline.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    Query(options): Query<Options>,
) -> Result<Json<Value>, ApiError> {
    api.authorise(&caller, "delete", "pipelines").await?;
    api.store
        .write(move |tx| store::pipeline::delete(tx, &id, options.cascade))
        .await?;
    Ok(empty())
}
