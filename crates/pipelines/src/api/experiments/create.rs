//! `POST /experiments`

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use jiff::Timestamp;
use serde_json::Value;

use super::view;
use crate::api::{ApiError, Caller, Shared, check_length, json, new_id};
use crate::catalog::Experiment;
use crate::store;

const FIELDS: [&str; 7] = [
    "experiment_id",
    "display_name",
    "description",
    "created_at",
    "namespace",
    "storage_state",
    "last_run_created_at",
];

/// Makes an experiment; a taken name is a conflict.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    api.authorise(&caller, "create", "experiments").await?;
    let fields = json::fields(&body, &FIELDS)?;
    let name = json::text(&fields, "display_name")?;
    check_length("display_name", &name, 128)?;
    let experiment = Experiment {
        id: new_id(),
        namespace: String::new(),
        name,
        description: json::text(&fields, "description")?,
        created_at: Timestamp::now(),
        is_archived: false,
        last_run_created_at: None,
    };
    let made = experiment.clone();
    api.store
        .write(move |tx| store::experiment::insert(tx, &experiment))
        .await?;
    Ok(Json(view(&made)))
}
