//! `DELETE /experiments/{id}`: its runs stay.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::Value;

use crate::api::{ApiError, Caller, Shared, empty};
use crate::store;

/// Removes an experiment.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    api.authorise(&caller, "delete", "experiments").await?;
    api.store
        .write(move |tx| store::experiment::delete(tx, &id))
        .await?;
    Ok(empty())
}
