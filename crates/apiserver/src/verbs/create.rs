//! Creation.

use http::StatusCode;
use objects::Status;
use serde_json::Value;

use super::write::{self, Manager};
use super::{Call, Reply};
use crate::error::ApiError;
use crate::store::{Encoded, Error};

/// How often a generated name is tried again.
const NAME_ATTEMPTS: usize = 8;

/// `POST` to a collection.
pub async fn run(call: &Call) -> Result<Reply, ApiError> {
    if !call.name.is_empty() {
        return Err(call.unsupported());
    }
    let decoded = call.decode()?;
    let manager = Manager::Writer(call.manager()?);
    let object = write::accept(call, decoded)?;
    create(call, object, &manager).await
}

/// Creates `object`, decoded and checked for unknown fields.
pub async fn create(call: &Call, object: Value, manager: &Manager) -> Result<Reply, ApiError> {
    let dry_run = call.is_dry_run()?;
    let turn = call
        .api
        .turns
        .take(&call.api.lookup(), &call.namespace)
        .await;
    for attempt in 1..=NAME_ATTEMPTS {
        let mut prepared = write::prepare_create(call, object.clone(), manager)?;
        let name = objects::meta::name(&prepared).to_owned();
        let key = call
            .resource
            .key(objects::meta::namespace(&prepared), &name);
        let claim = call.api.services.claim(call, None, &mut prepared)?;
        if dry_run {
            if call
                .api
                .store
                .snapshot()
                .get(call.resource.stored().id, &key)
                .is_some()
            {
                return Err(Status::already_exists(
                    &call.resource.group,
                    &call.resource.plural,
                    &name,
                )
                .into());
            }
            return Ok(Reply::value(StatusCode::CREATED, &call.resource, &prepared));
        }
        let encoded = Encoded::of(call.resource.to_stored(prepared));
        match call
            .api
            .store
            .create(call.resource.stored(), &key, encoded)
            .await
        {
            Ok(entry) => {
                claim.keep();
                drop(turn);
                call.api
                    .after_write(&call.resource, None, Some(&entry))
                    .await;
                return Ok(Reply::object(
                    StatusCode::CREATED,
                    &call.resource,
                    call.resource.render(&entry),
                ));
            }
            Err(Error::Exists { .. }) if objects::meta::name(&object).is_empty() => {
                if attempt == NAME_ATTEMPTS {
                    return Err(Status::generated_name_exists(
                        &call.resource.group,
                        &call.resource.plural,
                        &name,
                    )
                    .into());
                }
            }
            Err(err) => return Err(ApiError::of_store(err, &call.resource, &name)),
        }
    }
    unreachable!("the last attempt returns")
}
