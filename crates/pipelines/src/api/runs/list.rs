//! `GET /runs`: one page, without the tasks.

use std::collections::HashMap;

use axum::extract::{Query, State};
use axum::response::Response;

use super::view;
use crate::api::json::splice;
use crate::api::{ApiError, Caller, ListQuery, Shared, list_answer, ready_json};
use crate::store;

/// One page.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Query(query): Query<ListQuery>,
) -> Result<Response, ApiError> {
    api.authorise(&caller, "list", "runs").await?;
    let request = query.request()?;
    let experiment = Some(query.experiment_id).filter(|id| !id.is_empty());
    let text = api
        .store
        .read(move |db| {
            let page = store::run::list(db, None, experiment.as_deref(), &request)?;
            let ids: Vec<&str> = page.items.iter().map(|run| run.id.as_str()).collect();
            let metrics = store::artifact::metrics_of_runs(db, &ids)?;
            // A page usually shows many runs of few pipelines.
            let mut documents = HashMap::new();
            let mut items = Vec::with_capacity(page.items.len());
            for run in &page.items {
                let object = view(run, metrics.get(&run.id)).build();
                if !run.pipeline_version_id.is_empty() {
                    items.push(object.to_string());
                    continue;
                }
                if !documents.contains_key(&run.spec_hash) {
                    documents.insert(run.spec_hash.clone(), store::spec::raw(db, &run.spec_hash)?);
                }
                items.push(splice(
                    &object,
                    "pipeline_spec",
                    documents[&run.spec_hash].get(),
                ));
            }
            let rest = list_answer("none", vec![], page.total, &page.next_page_token);
            Ok(if items.is_empty() {
                rest.to_string()
            } else {
                splice(&rest, "runs", &format!("[{}]", items.join(",")))
            })
        })
        .await?;
    Ok(ready_json(text))
}
