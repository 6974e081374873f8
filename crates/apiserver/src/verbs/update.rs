//! Replacing an object or its status.

use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;

use super::write::{self, Manager, Outcome};
use super::{Call, Reply};
use crate::error::ApiError;
use crate::store::{Decision, Encoded, Entry, Error};

/// `PUT` of an object.
pub async fn run(call: &Call) -> Result<Reply, ApiError> {
    let decoded = call.decode()?;
    let manager = Manager::Writer(call.manager()?);
    let object = write::accept(call, decoded)?;
    if call.subresource.is_empty()
        && objects::meta::resource_version(&object).is_empty()
        && write::needs_revision(&call.resource)
    {
        let error = objects::FieldError::invalid(
            "metadata.resourceVersion",
            0,
            "must be specified for an update",
        );
        let (group, plural) = (&call.resource.group, &call.resource.plural);
        return Err(objects::Status::invalid(group, plural, &call.name, vec![error]).into());
    }
    change(call, &manager, |_| Ok(object.clone())).await
}

/// The loop behind every change of one object: `decide` makes the wanted object from the present one, and runs again
/// when somebody else was faster and the wanted object names no revision.
pub async fn change(
    call: &Call,
    manager: &Manager,
    mut decide: impl FnMut(&Value) -> Result<Value, ApiError>,
) -> Result<Reply, ApiError> {
    let dry_run = call.is_dry_run()?;
    let mut claim = None;
    let mut removed = false;
    let mut end = None;
    let mut before: Option<Arc<Entry>> = None;
    let mut dry = None;
    let result = call
        .api
        .store
        .update::<Failure>(call.resource.stored(), &call.key(), |entry| {
            let old = call.resource.value(entry);
            let wanted = decide(&old)?;
            before = Some(entry.clone());
            (removed, end) = (false, None);
            match write::prepare_update(call, &old, wanted, manager)? {
                Outcome::Same => Ok(Decision::Keep),
                Outcome::Remove(last) => {
                    removed = !dry_run;
                    end = Some(last);
                    Ok(if dry_run {
                        Decision::Keep
                    } else {
                        Decision::Remove
                    })
                }
                Outcome::Changed(mut new) => {
                    claim = Some(call.api.services.claim(call, Some(&old), &mut new)?);
                    if dry_run {
                        dry = Some(new);
                        return Ok(Decision::Keep);
                    }
                    Ok(Decision::Replace(Encoded::of(call.resource.to_stored(new))))
                }
            }
        })
        .await;
    let entry = result.map_err(|failure| failure.into_api(call))?;
    if let Some(new) = dry {
        return Ok(Reply::value(StatusCode::OK, &call.resource, &new));
    }
    if before
        .as_ref()
        .is_some_and(|before| before.revision != entry.revision)
    {
        if let Some(claim) = claim {
            claim.keep();
        }
        call.api
            .after_write(
                &call.resource,
                before.as_ref(),
                (!removed).then_some(&entry),
            )
            .await;
    }
    if let Some(end) = end {
        return Ok(Reply::value(StatusCode::OK, &call.resource, &end));
    }
    Ok(Reply::object(
        StatusCode::OK,
        &call.resource,
        call.resource.render(&entry),
    ))
}

/// What ends the loop: a refusal, or a store error that still has to be put into words about this object.
pub(crate) enum Failure {
    Refused(ApiError),
    Store(Error),
}

impl Failure {
    pub(crate) fn into_api(self, call: &Call) -> ApiError {
        match self {
            Self::Refused(refusal) => refusal,
            Self::Store(err) => ApiError::of_store(err, &call.resource, &call.name),
        }
    }
}

impl From<Error> for Failure {
    fn from(err: Error) -> Self {
        Self::Store(err)
    }
}

impl From<ApiError> for Failure {
    fn from(refusal: ApiError) -> Self {
        Self::Refused(refusal)
    }
}
