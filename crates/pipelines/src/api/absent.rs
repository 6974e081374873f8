//! What this version does not have, said in words: no bare 404 where people look for it.

use http::Uri;

use super::{ApiError, Code};

/// Recurring runs.
pub async fn recurring_runs() -> ApiError {
    ApiError::new(
        Code::Unimplemented,
        "recurring runs are not part of this version of Ferroflow yet; start runs by hand, or with a CronJob that calls POST /apis/v2beta1/runs",
    )
}

/// The API of kfp 1.8.
pub async fn v1beta1() -> ApiError {
    ApiError::new(
        Code::Unimplemented,
        "the v1beta1 API (kfp 1.8) is not part of this version of Ferroflow yet; use kfp 2.x, which talks to /apis/v2beta1",
    )
}

/// The notebook-based visualisations of old servers.
pub async fn visualizations() -> ApiError {
    ApiError::new(
        Code::Unimplemented,
        "notebook-based visualizations are not offered; log HTML, Markdown or metrics artifacts instead, which the console shows",
    )
}

/// Everything else.
pub async fn unknown(uri: Uri) -> ApiError {
    ApiError::new(Code::NotFound, format!("there is no route {}", uri.path()))
}
