//! `GET /apis/v2beta1/healthz` and its relatives. The SDK asks before everything else, without a token.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::{ApiError, Shared};

/// Every field is always present here.
pub async fn handle() -> Json<Value> {
    Json(
        json!({"commit_sha": "unknown", "tag_name": env!("CARGO_PKG_VERSION"), "multi_user": false, "pipeline_store": "database"}),
    )
}

/// The v1beta1 form.
pub async fn handle_v1() -> Json<Value> {
    Json(
        json!({"commit_sha": "unknown", "tag_name": env!("CARGO_PKG_VERSION"), "multi_user": false}),
    )
}

/// For probes: the database answers.
pub async fn ready(State(api): State<Shared>) -> Result<&'static str, ApiError> {
    api.store
        .read(|db| db.number("SELECT COUNT(*) FROM schema_version", &[]))
        .await?;
    Ok("ok")
}

/// A dummy that generated clients know.
pub async fn filters() -> Json<Value> {
    Json(json!({}))
}
