//! `POST /pipelines/create`: a pipeline with its first version, fetched from a URL, in one transaction.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use jiff::Timestamp;
use serde_json::Value;

use super::versions::read_package;
use super::{create, read_names, read_tags, versions, view};
use crate::api::{ApiError, Caller, Shared, json, new_id};
use crate::catalog::{PipelineRecord, VersionRecord};
use crate::store;

/// Makes both.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    api.authorise(&caller, "create", "pipelines").await?;
    let mut fields = json::fields(&body, &["pipeline", "pipeline_version"])?;
    let pipeline = json::known_fields(
        fields.remove("pipeline").unwrap_or_default(),
        &create::FIELDS,
        "pipeline",
    )?;
    let version = json::known_fields(
        fields.remove("pipeline_version").unwrap_or_default(),
        &versions::FIELDS,
        "pipeline_version",
    )?;
    let (name, display_name) = read_names(&pipeline, "pipeline", 128)?;
    let (document, package_url) = read_package(&api, &version).await?;
    let now = Timestamp::now();
    let record = PipelineRecord {
        id: new_id(),
        namespace: String::new(),
        name: name.clone(),
        display_name: display_name.clone(),
        description: json::text(&pipeline, "description")?,
        tags: read_tags(&pipeline)?.unwrap_or_default(),
        created_at: now,
    };
    let given = json::text(&version, "name")?;
    let mut first = VersionRecord {
        id: new_id(),
        pipeline_id: record.id.clone(),
        name: if given.is_empty() { name } else { given },
        display_name,
        description: json::text(&version, "description")?,
        tags: read_tags(&version)?.unwrap_or_default(),
        code_source_url: json::text(&version, "code_source_url")?,
        package_url,
        spec_hash: String::new(),
        created_at: now,
    };
    let made = record.clone();
    api.store
        .write(move |tx| {
            first.spec_hash = store::spec::put(tx, &document)?;
            store::pipeline::insert(tx, &record)?;
            store::version::insert(tx, &first)
        })
        .await?;
    Ok(Json(view(&made)))
}
