//! `GET /artifacts/{id}`

use axum::Json;
use axum::extract::{Path, State};
use serde_json::Value;

use super::view;
use crate::api::{ApiError, Caller, Shared};
use crate::store;

/// One artifact.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    api.authorise(&caller, "get", "runs").await?;
    let artifact = api
        .store
        .read(move |db| store::artifact::get(db, &id))
        .await?;
    Ok(Json(view(&artifact)))
}
