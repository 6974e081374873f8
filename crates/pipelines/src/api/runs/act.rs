//! `POST /runs/{id}:archive`, `:unarchive`, `:terminate`, `:retry`; all answer `{}`.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::Value;

use crate::api::{ApiError, Caller, Shared, empty, split_verb};
use crate::engine::RunChange;
use crate::store;

/// Does one of them.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Path(segment): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let (id, verb) = split_verb(&segment);
    if !["archive", "unarchive", "terminate", "retry"].contains(&verb) {
        return Err(ApiError::invalid(format!(
            "runs have no action {verb:?}; known: archive, unarchive, terminate, retry"
        )));
    }
    api.authorise(&caller, verb, "runs").await?;
    match verb {
        "terminate" => api.engine.terminate(id).await?,
        "retry" => api.engine.retry(id).await?,
        _ => {
            let (run_id, is_archived) = (id.to_owned(), verb == "archive");
            let run = api
                .store
                .write(move |tx| {
                    store::run::set_archived(tx, &run_id, is_archived)?;
                    store::run::get(tx, &run_id)
                })
                .await?;
            api.engine.publish(RunChange {
                run_id: run.id.clone(),
                run: Some(run),
                tasks: vec![],
                removed: vec![],
                is_deleted: false,
            });
        }
    }
    Ok(empty())
}
