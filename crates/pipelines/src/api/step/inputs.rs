//! `GET /step/inputs/{index}` and `…/content?path=`: an artifact that the engine gave the step, by its place in the list.

use artifacts::{Key, Stat, Store};
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use launcher::remote::Listing;
use serde::Deserialize;

use super::Step;
use crate::api::{Api, ApiError, Caller, Shared};

/// Which file of it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Part {
    path: String,
}

/// What it consists of. What was never written is absent, which is for the step to judge.
pub async fn list(
    State(api): State<Shared>,
    caller: Caller,
    Path(index): Path<usize>,
) -> Result<Json<Listing>, ApiError> {
    let (store, key) = input(&api, &caller, index).await?;
    Ok(Json(match store.stat(&key).await? {
        None => Listing::absent(),
        Some(Stat::File(_)) => Listing::file(),
        Some(Stat::Folder) => {
            let files = store.files(&key).await?;
            Listing::folder(files.into_iter().map(|file| file.path).collect())
        }
    }))
}

/// One file of it.
pub async fn content(
    State(api): State<Shared>,
    caller: Caller,
    Path(index): Path<usize>,
    Query(part): Query<Part>,
) -> Result<Response, ApiError> {
    let (store, key) = input(&api, &caller, index).await?;
    let key = match part.path.as_str() {
        "" => key,
        below => key.join(below)?,
    };
    let (size, content) = store.read_first(&key, None).await?;
    let headers = [
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (CONTENT_LENGTH, size.to_string()),
    ];
    Ok((headers, Body::from_stream(content)).into_response())
}

async fn input<'a>(
    api: &'a Api,
    caller: &Caller,
    index: usize,
) -> Result<(&'a Store, Key), ApiError> {
    let step = Step::of(api, caller).await?;
    let told: launcher::Step = serde_json::from_slice(&step.told(api).await?)
        .map_err(|_| ApiError::invalid("the step's description is damaged"))?;
    let input = told
        .inputs
        .get(index)
        .ok_or_else(|| ApiError::invalid(format!("the step has no input {index}")))?;
    Ok(api.stores.resolve(&input.uri)?)
}
