//! `GET /pipelines`

use axum::Json;
use axum::extract::{Query, State};
use serde_json::Value;

use super::view;
use crate::api::{ApiError, Caller, ListQuery, Shared, list_answer};
use crate::store;

/// One page.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Json<Value>, ApiError> {
    api.authorise(&caller, "list", "pipelines").await?;
    let request = query.request()?;
    let page = api
        .store
        .read(move |db| store::pipeline::list(db, None, &request))
        .await?;
    Ok(Json(list_answer(
        "pipelines",
        page.items.iter().map(view).collect(),
        page.total,
        &page.next_page_token,
    )))
}
