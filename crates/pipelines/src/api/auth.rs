//! `GET /apis/v2beta1/auth`: may the caller do this? `{}` or 403. Proxies of viewers ask it.

use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::Value;

use super::{ApiError, Caller, Shared, empty};

/// What is asked.
#[derive(Debug, Deserialize)]
pub struct Question {
    #[serde(default)]
    namespace: String,
    resources: String,
    verb: String,
}

/// Answers.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Query(question): Query<Question>,
) -> Result<Json<Value>, ApiError> {
    let namespace = if question.namespace.is_empty() {
        &api.namespace
    } else {
        &question.namespace
    };
    let (verb, resource) = (
        question.verb.to_ascii_lowercase(),
        question.resources.to_ascii_lowercase(),
    );
    api.access
        .authorise(&caller, &verb, &resource, namespace)
        .await?;
    Ok(empty())
}
