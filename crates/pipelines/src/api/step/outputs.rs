//! `PUT /step/outputs?path=`: a file below the folder of the step's own attempt. Streamed; there whole or not at all.

use artifacts::Key;
use axum::Json;
use axum::body::Body;
use axum::extract::{Query, State};
use futures::{StreamExt as _, TryStreamExt as _};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Semaphore;

use super::Step;
use crate::api::{ApiError, Caller, Code, Shared, empty};

/// Largest file.
const LIMIT_BYTES: u64 = 256 << 30;
/// Uploads at once: each holds up to two parts of its object in memory.
static UPLOADS: Semaphore = Semaphore::const_new(16);

/// Which file.
#[derive(Debug, Deserialize)]
pub struct Place {
    path: String,
}

/// Writes it.
pub async fn handle(
    State(api): State<Shared>,
    caller: Caller,
    Query(place): Query<Place>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let step = Step::of(&api, &caller).await?;
    let below = plain(&place.path)?;
    let size = size(&headers)?;
    let (store, key) = step.own(&api, below.as_str())?;
    let _turn = UPLOADS
        .acquire()
        .await
        .map_err(|_| ApiError::new(Code::Unavailable, "the server stops"))?;
    let name = key.to_string();
    let content = body
        .into_data_stream()
        .map_err(move |problem| artifacts::Error::Io {
            action: "receive",
            key: name.clone(),
            source: std::io::Error::other(problem),
        });
    store.write_stream(&key, size, content.boxed()).await?;
    Ok(empty())
}

/// A path of the step's; what the engine keeps in the same folder is not for it.
fn plain(path: &str) -> Result<Key, ApiError> {
    let key = Key::parse(path)?;
    let top = key.as_str().split('/').next().unwrap_or_default();
    if top == ".step" || top.starts_with("executor-logs") {
        return Err(ApiError::invalid(format!(
            "an output cannot be named {top:?}: what the engine keeps is named so"
        )));
    }
    Ok(key)
}

fn size(headers: &HeaderMap) -> Result<u64, ApiError> {
    let told = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok())
        .ok_or_else(|| ApiError::invalid("the request does not say how large the file is"))?;
    if told > LIMIT_BYTES {
        return Err(ApiError::invalid(format!(
            "a file of an artifact may have at most {} GiB",
            LIMIT_BYTES >> 30
        )));
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_writes_its_outputs_and_neither_its_report_nor_its_log() {
        assert_eq!(
            plain("model/weights.bin").unwrap().as_str(),
            "model/weights.bin"
        );
        for path in [
            "",
            "/etc/passwd",
            "../other/model",
            "model/../../x",
            ".step/report.json",
            "executor-logs",
            "executor-logs-1",
        ] {
            assert!(plain(path).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_file_says_how_large_it_is_and_is_not_too_large() {
        let with = |length: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_LENGTH, length.parse().unwrap());
            size(&headers)
        };
        assert_eq!(with("7").unwrap(), 7);
        assert!(size(&HeaderMap::new()).is_err());
        assert!(with(&(LIMIT_BYTES + 1).to_string()).is_err());
    }
}
