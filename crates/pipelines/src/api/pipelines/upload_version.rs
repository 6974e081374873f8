//! `POST /pipelines/upload_version`: a multipart package becomes a version of a pipeline.

use axum::extract::{Multipart, Query, State};
use axum::response::Response;
use jiff::Timestamp;

use super::upload::{Options, names, read_file, tags};
use super::versions;
use crate::api::{ApiError, Caller, Shared, check_length, new_id};
use crate::catalog::VersionRecord;

/// Stores it.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Query(options): Query<Options>,
    parts: Multipart,
) -> Response {
    upload(&api, &caller, options, parts)
        .await
        .unwrap_or_else(ApiError::into_upload_response)
}

async fn upload(
    api: &Shared,
    caller: &Caller,
    options: Options,
    parts: Multipart,
) -> Result<Response, ApiError> {
    api.authorise(caller, "create", "pipelines").await?;
    if options.pipelineid.is_empty() {
        return Err(ApiError::invalid(
            "pipelineid is required: the pipeline that gets the version",
        ));
    }
    let (file_name, document) = read_file(parts).await?;
    let (name, display_name) = names(&options, &file_name);
    check_length("the name of the version", &name, 127)?;
    let tags = tags(&options)?;
    let version = VersionRecord {
        id: new_id(),
        pipeline_id: options.pipelineid,
        name,
        display_name,
        description: options.description,
        tags,
        code_source_url: options.code_source_url,
        package_url: String::new(),
        spec_hash: String::new(),
        created_at: Timestamp::now(),
    };
    versions::insert(api, version, document).await
}
