//! Deletion of everything that a selection finds in one snapshot.

use http::StatusCode;

use super::delete::{self, Options};
use super::selection::Selection;
use super::{Call, Reply, list};
use crate::error::ApiError;

/// `DELETE` of a collection.
pub async fn run(call: &Call) -> Result<Reply, ApiError> {
    let options = Options::of(call)?;
    let selection = Selection::of(call)?;
    let mut page = list::page(call, &selection).await?;
    let mut deleted = Vec::with_capacity(page.entries.len());
    for entry in &page.entries {
        let value = entry.value();
        let key = call.resource.key(
            objects::meta::namespace(&value),
            objects::meta::name(&value),
        );
        match delete::delete(call, &key, &options).await {
            Ok((_, last)) => deleted.push(last),
            // Somebody else was faster; it is gone, which is what was wanted.
            Err(err) if err.code == StatusCode::NOT_FOUND.as_u16() => {}
            Err(err) => return Err(err),
        }
    }
    page.entries = deleted;
    Ok(Reply::List(page))
}
