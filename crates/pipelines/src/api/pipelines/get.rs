//! `GET /pipelines/{id}`

use axum::Json;
use axum::extract::{Path, State};
use serde_json::Value;

use super::view;
use crate::api::{ApiError, Caller, Shared};
use crate::store;

/// One pipeline.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    api.authorise(&caller, "get", "pipelines").await?;
    let pipeline = api
        .store
        .read(move |db| store::pipeline::get(db, &id))
        .await?;
    Ok(Json(view(&pipeline)))
}
