//! Patches: JSON, merge, strategic merge, and server-side apply.

use http::StatusCode;
use objects::{FieldError, Status};
use serde_json::Value;

use super::call::FieldValidation;
use super::write::{self, Manager};
use super::{Call, Reply, create, update};
use crate::error::ApiError;
use crate::http::body;
use crate::registry::Origin;

/// `PATCH` of an object.
pub async fn run(call: &Call) -> Result<Reply, ApiError> {
    let form = Form::of(call)?;
    if form == Form::Apply {
        return apply(call).await;
    }
    if call.query.get("force").is_some() {
        let error = FieldError::forbidden("force", "may not be specified for non-apply patch");
        return Err(call.invalid_options(vec![error]));
    }
    let patch = body::decode(&call.body, "application/json")?.value;
    let manager = Manager::Writer(call.manager()?);
    update::change(call, &manager, |old| {
        let mut new = old.clone();
        form.patch(call, &mut new, &patch)?;
        check_kind(call, &new, old)?;
        check_unknown(call, &new, old)?;
        Ok(new)
    })
    .await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl Form {
    fn of(call: &Call) -> Result<Self, ApiError> {
        let is_custom = matches!(call.resource.origin, Origin::Custom(_));
        match body::media_type(&call.headers) {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if !is_custom => Ok(Self::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+json" => Ok(Self::Apply),
            _ => {
                let all = [
                    "application/json-patch+json",
                    "application/merge-patch+json",
                    "application/apply-patch+yaml",
                    "application/strategic-merge-patch+json",
                ];
                Err(Status::unsupported_media_type(if is_custom { &all[..3] } else { &all }).into())
            }
        }
    }

    fn patch(self, call: &Call, object: &mut Value, patch: &Value) -> Result<(), ApiError> {
        let result = match self {
            Self::Json => objects::patch::json(object, patch),
            Self::Merge => objects::patch::merge(object, patch),
            Self::Strategic | Self::Apply => {
                objects::patch::strategic(object, patch, call.resource.schema())
            }
        };
        result.map_err(|err| Status::from(err).into())
    }
}

/// Whether the request is a server-side apply.
pub(super) fn is_apply(call: &Call) -> bool {
    matches!(Form::of(call), Ok(Form::Apply))
}

/// 422: the patch can be read, and what it leads to cannot. The whole patch is shown.
pub(super) fn unusable(call: &Call, why: String) -> ApiError {
    let patch = String::from_utf8_lossy(&call.body).into_owned();
    Status::invalid("", "", "", vec![FieldError::invalid("patch", patch, why)]).into()
}

/// A patch may not make another kind of an object.
fn check_kind(call: &Call, new: &Value, old: &Value) -> Result<(), ApiError> {
    for field in ["kind", "apiVersion"] {
        if new[field] != old[field] {
            let expected = old[field].as_str().unwrap_or_default();
            let error =
                FieldError::invalid(field, new[field].clone(), format!("must be {expected}"));
            return Err(call.invalid(&call.name, vec![error]));
        }
    }
    Ok(())
}

/// Fields that the patch brought and no schema knows.
fn check_unknown(call: &Call, new: &Value, old: &Value) -> Result<(), ApiError> {
    let mode = call.field_validation()?;
    if mode == FieldValidation::Ignore {
        return Ok(());
    }
    let known = call.resource.schema().unknown_fields(old);
    let unknown: Vec<_> = call
        .resource
        .schema()
        .unknown_fields(new)
        .into_iter()
        .filter(|path| !known.contains(path))
        .collect();
    write::report_fields(call, mode, unknown, Vec::new())
}

/// Server-side apply: creates what is missing, merges by ownership otherwise.
async fn apply(call: &Call) -> Result<Reply, ApiError> {
    let Some(manager) = call.query.get("fieldManager") else {
        return Err(call.invalid_options(vec![FieldError::required(
            "fieldManager",
            "is required for apply patch",
        )]));
    };
    let manager = manager.to_owned();
    let force = call.query.flag("force");
    let decoded = body::decode(&call.body, "application/apply-patch+yaml")?;
    let mut applied = write::accept_applied(call, decoded)?;
    objects::meta::metadata_mut(&mut applied)
        .entry("name")
        .or_insert_with(|| call.name.clone().into());
    let by = Manager::Applier {
        name: manager.clone(),
        force,
    };
    let exists = || {
        call.api
            .store
            .snapshot()
            .get(call.resource.stored().id, &call.key())
            .is_some()
    };
    if !exists() {
        if !call.subresource.is_empty() {
            return Err(call.not_found());
        }
        let uid = objects::meta::uid(&applied);
        if !uid.is_empty() {
            return Err(call.conflict(
                &call.name,
                &format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found"),
            ));
        }
        if !objects::meta::resource_version(&applied).is_empty() {
            return Err(call.conflict(&call.name, "the object to apply to does not exist any more"));
        }
        match create::create(call, applied.clone(), &by).await {
            Err(err) if err.reason == "AlreadyExists" && exists() => {}
            done => return done,
        }
    }
    let reply = update::change(call, &by, |old| {
        let mut merged = merge(call, Some(old), &applied, &manager, force)?;
        if let Some(revision) = applied["metadata"].get("resourceVersion") {
            objects::meta::set(&mut merged, "resourceVersion", revision.clone());
        }
        Ok(merged)
    })
    .await?;
    Ok(match reply {
        Reply::Object {
            resource, bytes, ..
        } => Reply::Object {
            code: StatusCode::OK,
            resource,
            bytes,
        },
        other => other,
    })
}

/// The object that an apply leads to, with its managed fields.
pub(super) fn merge(
    call: &Call,
    live: Option<&Value>,
    applied: &Value,
    manager: &str,
    force: bool,
) -> Result<Value, ApiError> {
    let time = write::now();
    let reset = write::reset_fields(call);
    let merged = write::writer(call, manager, &time, reset.as_ref()).apply(live, applied, force);
    merged.map_err(|err| Status::from(err).into())
}
