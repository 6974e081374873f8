//! `GET /artifact_tasks?artifact_id=&run_id=&task_id=`

use axum::Json;
use axum::extract::{Query, State};
use serde_json::{Value, json};

use crate::api::{ApiError, Caller, ListQuery, Shared, list_answer};
use crate::store;

/// One page.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Value>, ApiError> {
    api.authorise(&caller, "list", "runs").await?;
    let request = query.request()?;
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    let (artifact, run, task) = (
        given(query.artifact_id),
        given(query.run_id),
        given(query.task_id),
    );
    let page = api
        .store
        .read(move |db| {
            store::artifact::list_links(
                db,
                artifact.as_deref(),
                run.as_deref(),
                task.as_deref(),
                &request,
            )
        })
        .await?;
    let items = page.items.iter().map(|link| json!({"id": link.id, "artifact_id": link.artifact_id, "run_id": link.run_id, "task_id": link.task_id, "type": link.kind, "key": link.key}));
    Ok(Json(list_answer(
        "artifact_tasks",
        items.collect(),
        page.total,
        &page.next_page_token,
    )))
}
