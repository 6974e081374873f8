//! `/artifacts/get?source=&bucket=&key=` and `/artifacts/{source}/{bucket}/{key}`: an artifact's bytes. Served as a download
//! with an inert type, since a step chose the bytes and the console's origin must not run them.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
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
    peek: Option<usize>,
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
    peek: Option<usize>,
) -> Result<Response, ApiError> {
    api.authorise(caller, "readArtifact", "runs").await?;
    let (store, key) = api.stores.resolve(&format!("{source}://{bucket}/{key}"))?;
    let content = store.read(&key).await?;
    let body = match peek {
        None => Body::from_stream(content),
        Some(limit) => Body::from_stream(first_bytes(content, limit)),
    };
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

fn first_bytes(
    content: BoxStream<'static, Result<Bytes, artifacts::Error>>,
    limit: usize,
) -> BoxStream<'static, Result<Bytes, artifacts::Error>> {
    content
        .scan(limit, |left, chunk| {
            let taken = match chunk {
                Ok(_) if *left == 0 => None,
                Ok(chunk) => {
                    let length = chunk.len().min(*left);
                    *left -= length;
                    Some(Ok(chunk.slice(..length)))
                }
                Err(problem) => Some(Err(problem)),
            };
            std::future::ready(taken)
        })
        .boxed()
}
