//! `DELETE /runs/{id}`: a run that is at work is ended first.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::Value;

use crate::api::{ApiError, Caller, Shared, empty};

/// Removes a run.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    api.authorise(&caller, "delete", "runs").await?;
    api.engine.delete(&id).await?;
    Ok(empty())
}
