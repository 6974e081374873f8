//! `POST /pipelines`: a pipeline without a version.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use jiff::Timestamp;
use serde_json::Value;

use super::{read_names, read_tags, view};
use crate::api::{ApiError, Caller, Shared, json, new_id};
use crate::catalog::PipelineRecord;
use crate::store;

/// Fields of a pipeline.
pub const FIELDS: [&str; 8] = [
    "pipeline_id",
    "name",
    "display_name",
    "description",
    "created_at",
    "namespace",
    "error",
    "tags",
];

/// Makes a pipeline.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    api.authorise(&caller, "create", "pipelines").await?;
    let fields = json::fields(&body, &FIELDS)?;
    let (name, display_name) = read_names(&fields, "pipeline", 128)?;
    let pipeline = PipelineRecord {
        id: new_id(),
        namespace: String::new(),
        name,
        display_name,
        description: json::text(&fields, "description")?,
        tags: read_tags(&fields)?.unwrap_or_default(),
        created_at: Timestamp::now(),
    };
    let made = pipeline.clone();
    api.store
        .write(move |tx| store::pipeline::insert(tx, &pipeline))
        .await?;
    Ok(Json(view(&made)))
}
