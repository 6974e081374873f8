//! `/artifacts/get?source=&bucket=&key=` and `/artifacts/{source}/{bucket}/{key}`: an artifact's bytes. Served as a download
//! with an inert type, since a step chose the bytes and the console's origin must not run them.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{
    CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use serde::Deserialize;

use crate::api::{ApiError, Caller, Shared};

/// Which artifact, and how much of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Options {
    source: String,
    bucket: String,
    key: String,
    /// Only so many bytes.
    peek: Option<u64>,
}

/// The query form.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Query(options): Query<Options>,
) -> Result<Response, ApiError> {
    answer(
        &api,
        &caller,
        &options.source,
        &options.bucket,
        &options.key,
        options.peek,
    )
    .await
}

/// The path form.
pub async fn raw(
    State(api): State<Shared>,
    caller: Caller,
    Path((source, bucket, key)): Path<(String, String, String)>,
) -> Result<Response, ApiError> {
    answer(&api, &caller, &source, &bucket, &key, None).await
}

async fn answer(
    api: &Shared,
    caller: &Caller,
    source: &str,
    bucket: &str,
    key: &str,
    peek: Option<u64>,
) -> Result<Response, ApiError> {
    api.authorise(caller, "readArtifact", "runs").await?;
    let (store, key) = api.stores.resolve(&format!("{source}://{bucket}/{key}"))?;
    let (_, content) = store.read_first(&key, peek).await?;
    let body = Body::from_stream(content);
    let name: String = key
        .file_name()
        .chars()
        .filter(|letter| letter.is_ascii_graphic() && !matches!(letter, '"' | '\\'))
        .collect();
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (
            CONTENT_SECURITY_POLICY,
            "sandbox; default-src 'none'".to_owned(),
        ),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    Ok((headers, body).into_response())
}
