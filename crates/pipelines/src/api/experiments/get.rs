//! `GET /experiments/{id}`

use axum::Json;
use axum::extract::{Path, State};
use serde_json::Value;

use super::view;
use crate::api::{ApiError, Caller, Shared};
use crate::store;

/// One experiment.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    api.authorise(&caller, "get", "experiments").await?;
    let experiment = api
        .store
        .read(move |db| store::experiment::get(db, &id))
        .await?;
    Ok(Json(view(&experiment)))
}
