//! What a write must agree on with its path and keep of the object before: names, identity, the half it is not about.

use objects::meta;
use serde_json::Value;

use super::Call;
use crate::error::ApiError;

/// Name and namespace of the path and of the object must agree; what the object leaves out is filled in.
pub(super) fn place(call: &Call, object: &mut Value) -> Result<(), ApiError> {
    if call.resource.namespaced {
        let own = meta::namespace(object);
        if own.is_empty() {
            meta::set(object, "namespace", call.namespace.clone());
        } else if own != call.namespace {
            return Err(ApiError::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    } else if meta::remove(object, "namespace").is_some_and(|given| given != "" && !given.is_null())
    {
        return Err(ApiError::bad_request(
            "namespace may not be set on an object that lives in no namespace",
        ));
    }
    if !call.name.is_empty() {
        let own = meta::name(object);
        if own.is_empty() {
            meta::set(object, "name", call.name.clone());
        } else if own != call.name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({own}) does not match the name on the URL ({})",
                call.name
            )));
        }
    }
    Ok(())
}

/// A uid or a revision that the client names must be the present one.
pub(super) fn check_preconditions(call: &Call, old: &Value, new: &Value) -> Result<(), ApiError> {
    let (given, present) = (meta::uid(new), meta::uid(old));
    if !given.is_empty() && given != present {
        let why = format!(
            "Precondition failed: UID in precondition: {given}, UID in object meta: {present}"
        );
        return Err(call.conflict(&call.name, &why));
    }
    let given = meta::resource_version(new);
    if !given.is_empty() && given != "0" && given != meta::resource_version(old) {
        return Err(call.conflict(&call.name, objects::status::MODIFIED));
    }
    Ok(())
}

pub(super) fn carry(new: &mut Value, old: &Value, field: &str) {
    match old["metadata"].get(field) {
        Some(value) => meta::set(new, field, value.clone()),
        None => {
            meta::remove(new, field);
        }
    }
}

pub(super) fn carry_root(new: &mut Value, old: &Value, field: &str) {
    let Some(root) = new.as_object_mut() else {
        return;
    };
    match old.get(field) {
        Some(value) => root.insert(field.into(), value.clone()),
        None => root.remove(field),
    };
}

/// A custom resource's status write changes the status and who manages it, nothing else.
pub(super) fn only_status(new: &mut Value, old: &Value) {
    let mut kept = old.clone();
    carry_root(&mut kept, new, "status");
    carry(&mut kept, new, "managedFields");
    *new = kept;
}
