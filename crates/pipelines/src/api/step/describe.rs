//! `GET /step`: what the launcher is told.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;

use super::Step;
use crate::api::{ApiError, Caller, Shared};

/// Answers.
pub async fn handle(State(api): State<Shared>, caller: Caller) -> Result<Response, ApiError> {
    let step = Step::of(&api, &caller).await?;
    let text = step.told(&api).await?;
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}
