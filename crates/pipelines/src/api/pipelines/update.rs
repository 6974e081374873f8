//! `PATCH /pipelines/{id}`: display name and tags.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde_json::Value;

use super::{create, read_tags, view};
use crate::api::{ApiError, Caller, Shared, json};
use crate::store;

/// Changes what is given.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    api.authorise(&caller, "update", "pipelines").await?;
    let fields = json::fields(&body, &create::FIELDS)?;
    let display_name = Some(json::text(&fields, "display_name")?).filter(|name| !name.is_empty());
    let tags = read_tags(&fields)?;
    let pipeline = api
        .store
        .write(move |tx| {
            store::pipeline::update(tx, &id, display_name.as_deref(), tags.as_ref())?;
            store::pipeline::get(tx, &id)
        })
        .await?;
    Ok(Json(view(&pipeline)))
}
