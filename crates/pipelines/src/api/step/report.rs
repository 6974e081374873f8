//! `PUT /step/report`: how the step ended, by its launcher.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use serde_json::Value;

use super::Step;
use crate::api::{ApiError, Caller, Shared, empty};

/// Largest report: every output parameter and the executor's account.
const LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// Writes it, if it is one.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let step = Step::of(&api, &caller).await?;
    let text = axum::body::to_bytes(body, LIMIT_BYTES)
        .await
        .map_err(|problem| ApiError::invalid(format!("the report did not come: {problem}")))?;
    serde_json::from_slice::<launcher::Report>(&text)
        .map_err(|problem| ApiError::invalid(format!("this is no report: {problem}")))?;
    let (store, key) = step.own(&api, ".step/report.json")?;
    store.write(&key, text).await?;
    Ok(empty())
}
