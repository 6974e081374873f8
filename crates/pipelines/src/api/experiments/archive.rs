//! `POST /experiments/{id}:archive` and `:unarchive`. Archiving takes the runs along; bringing back does not.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::Value;

use crate::api::{ApiError, Caller, Shared, empty, split_verb};
use crate::store;

/// Does either.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Path(segment): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let (id, verb) = split_verb(&segment);
    let is_archived = match verb {
        "archive" => true,
        "unarchive" => false,
        _ => {
            return Err(ApiError::invalid(format!(
                "experiments have no action {verb:?}; known: archive, unarchive"
            )));
        }
    };
    api.authorise(&caller, verb, "experiments").await?;
    let id = id.to_owned();
    api.store
        .write(move |tx| store::experiment::set_archived(tx, &id, is_archived))
        .await?;
    Ok(empty())
}
