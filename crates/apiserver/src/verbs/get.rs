//! Reading one object. Any snapshot is consistent, so every `resourceVersion` that has been reached is satisfied by
//! the latest one.

use http::StatusCode;

use super::{Call, Reply, list};
use crate::error::ApiError;

/// `GET` of an object.
pub async fn run(call: &Call) -> Result<Reply, ApiError> {
    if let Some(wanted) = call.query.get("resourceVersion") {
        list::await_revision(call, list::parse_revision(wanted)?).await?;
    }
    let snapshot = call.api.store.snapshot();
    let entry = snapshot
        .get(call.resource.stored().id, &call.key())
        .ok_or_else(|| call.not_found())?;
    Ok(Reply::object(
        StatusCode::OK,
        &call.resource,
        call.resource.render(entry),
    ))
}
