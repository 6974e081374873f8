//! `POST /pipelines/upload`: a multipart package becomes a pipeline and its first version. Errors have a shape of their own.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Multipart, Query, State};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde::Deserialize;

use super::{check_tags, package, view};
use crate::api::{ApiError, Caller, Shared, check_length, new_id};
use crate::catalog::{PipelineRecord, VersionRecord};
use crate::ir::{Document, Pipeline};
use crate::store;

/// Query of both upload routes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Unique name.
    pub name: String,
    /// What people call it.
    pub display_name: String,
    /// For people.
    pub description: String,
    /// JSON mapping.
    pub tags: String,
    /// Where the source is.
    pub code_source_url: String,
    /// For versions.
    pub pipelineid: String,
}

/// Stores both in one transaction.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Query(options): Query<Options>,
    parts: Multipart,
) -> Response {
    match upload(&api, &caller, options, parts).await {
        Ok(pipeline) => Json(view(&pipeline)).into_response(),
        Err(problem) => problem.into_upload_response(),
    }
}

async fn upload(
    api: &Shared,
    caller: &Caller,
    options: Options,
    parts: Multipart,
) -> Result<PipelineRecord, ApiError> {
    api.authorise(caller, "create", "pipelines").await?;
    let (file_name, document) = read_file(parts).await?;
    let (name, display_name) = names(&options, &file_name);
    check_length("the name of the pipeline", &name, 128)?;
    let now = Timestamp::now();
    let pipeline = PipelineRecord {
        id: new_id(),
        namespace: String::new(),
        name: name.clone(),
        display_name: display_name.clone(),
        description: options.description.clone(),
        tags: tags(&options)?,
        created_at: now,
    };
    let version_name: String = name.chars().take(127).collect();
    let mut version = VersionRecord {
        id: new_id(),
        pipeline_id: pipeline.id.clone(),
        name: version_name,
        display_name,
        description: options.description.clone(),
        tags: BTreeMap::new(),
        code_source_url: options.code_source_url,
        package_url: String::new(),
        spec_hash: String::new(),
        created_at: now,
    };
    let made = pipeline.clone();
    api.store
        .write(move |tx| {
            version.spec_hash = store::spec::put(tx, &document)?;
            store::pipeline::insert(tx, &pipeline)?;
            store::version::insert(tx, &version)
        })
        .await?;
    Ok(made)
}

/// Name and display name from the query, else from the file.
pub fn names(options: &Options, file_name: &str) -> (String, String) {
    let name = [&options.name, &options.display_name]
        .into_iter()
        .find(|name| !name.is_empty())
        .cloned()
        .unwrap_or_else(|| file_name.to_owned());
    let display_name = if options.display_name.is_empty() {
        name.clone()
    } else {
        options.display_name.clone()
    };
    (name, display_name)
}

/// Tags from the query.
pub fn tags(options: &Options) -> Result<BTreeMap<String, String>, ApiError> {
    if options.tags.is_empty() {
        return Ok(BTreeMap::new());
    }
    let tags = serde_json::from_str(&options.tags)
        .map_err(|_| ApiError::invalid("tags must be a JSON mapping of text to text"))?;
    check_tags(&tags)?;
    Ok(tags)
}

/// The part named `uploadfile`: its file name and the valid document in it.
pub async fn read_file(mut parts: Multipart) -> Result<(String, Document), ApiError> {
    let broken = |problem: axum::extract::multipart::MultipartError| {
        ApiError::invalid(format!(
            "the upload cannot be read: {}",
            problem.body_text()
        ))
    };
    while let Some(part) = parts.next_field().await.map_err(broken)? {
        if part.name() != Some("uploadfile") {
            continue;
        }
        let file_name = part.file_name().unwrap_or("pipeline.yaml").to_owned();
        let bytes = part.bytes().await.map_err(broken)?;
        let text = package::unpack(&file_name, &bytes)?;
        return Ok((file_name, Pipeline::parse(&text)?.document));
    }
    Err(ApiError::invalid("the upload has no part named uploadfile"))
}
