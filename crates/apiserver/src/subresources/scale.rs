//! `/scale`: the replica counts of an object as an `autoscaling/v1` `Scale`.

use http::StatusCode;
use objects::selector::LabelSelector;
use objects::{FieldError, Status, meta};
use serde_json::{Map, Value, json};

use crate::error::ApiError;
use crate::http::body;
use crate::registry::{Origin, Scale};
use crate::verbs::write::Manager;
use crate::verbs::{Call, Reply, update};

pub(super) async fn run(call: &Call, scale: &Scale) -> Result<Reply, ApiError> {
    if call.verb == "get" {
        return Ok(Reply::Value(
            StatusCode::OK,
            view(call, scale, &call.current()?),
        ));
    }
    let manager = Manager::Writer(call.manager()?);
    let sent = body::decode(&call.body, body::media_type(&call.headers))?.value;
    let reply = update::change(call, &manager, |old| {
        let present = view(call, scale, old);
        let wanted = match call.verb {
            "update" => {
                check_kind(&sent)?;
                sent.clone()
            }
            _ => patched(call, &present, &sent)?,
        };
        let name = meta::name(&wanted);
        if !name.is_empty() && name != call.name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                call.name
            )));
        }
        let replicas = replicas(&wanted)?;
        if replicas < 0 {
            let error = FieldError::invalid(
                "spec.replicas",
                replicas,
                "must be greater than or equal to 0",
            );
            return Err(Status::invalid("autoscaling", "Scale", &call.name, vec![error]).into());
        }
        let mut new = old.clone();
        set(&mut new, &scale.spec_replicas, replicas.into());
        for field in ["resourceVersion", "uid"] {
            match wanted["metadata"].get(field).filter(|value| *value != "") {
                Some(value) => meta::set(&mut new, field, value.clone()),
                None => {
                    meta::remove(&mut new, field);
                }
            }
        }
        Ok(new)
    })
    .await?;
    Ok(match reply {
        Reply::Object { code, bytes, .. } => {
            let object: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            Reply::Value(code, view(call, scale, &object))
        }
        other => other,
    })
}

/// What is put must be a Scale, if it says what it is.
fn check_kind(sent: &Value) -> Result<(), ApiError> {
    let text = |field: &str| sent[field].as_str().unwrap_or_default();
    let (kind, version) = (text("kind"), text("apiVersion"));
    if kind.is_empty() || kind == "Scale" {
        return Ok(());
    }
    let version = version.rsplit('/').next().unwrap_or_default();
    Err(ApiError::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a Scale: converting ({version}.{kind}) to (autoscaling.Scale): \
         unknown conversion"
    )))
}

/// What is asked for; what is left out is none.
fn replicas(wanted: &Value) -> Result<i64, ApiError> {
    let asked = &wanted["spec"]["replicas"];
    let found = match asked {
        Value::Null => return Ok(0),
        Value::Number(number) => match number
            .as_i64()
            .filter(|count| i32::try_from(*count).is_ok())
        {
            Some(count) => return Ok(count),
            None => format!("number {number}"),
        },
        Value::Bool(_) => "bool".into(),
        Value::String(_) => "string".into(),
        Value::Array(_) => "array".into(),
        Value::Object(_) => "object".into(),
    };
    Err(ApiError::bad_request(format!(
        "Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal {found} into Go struct field \
         ScaleSpec.spec.replicas of type int32"
    )))
}

fn patched(call: &Call, present: &Value, patch: &Value) -> Result<Value, ApiError> {
    let mut wanted = present.clone();
    let result = match body::media_type(&call.headers) {
        "application/json-patch+json" => objects::patch::json(&mut wanted, patch),
        // A Scale has no lists, so the other forms come to the same.
        _ => objects::patch::merge(&mut wanted, patch),
    };
    result.map_err(|err| ApiError::bad_request(err.to_string()))?;
    if wanted["metadata"]["resourceVersion"] == present["metadata"]["resourceVersion"]
        && patch.pointer("/metadata/resourceVersion").is_none()
    {
        meta::remove(&mut wanted, "resourceVersion");
    }
    Ok(wanted)
}

fn view(call: &Call, scale: &Scale, object: &Value) -> Value {
    let mut metadata = Map::new();
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = object["metadata"].get(field) {
            metadata.insert(field.into(), value.clone());
        }
    }
    let count = |path: &str| at(object, path).and_then(Value::as_i64);
    let mut spec = json!({});
    // None are wanted: its type leaves that out.
    if let Some(replicas) = count(&scale.spec_replicas).filter(|count| *count != 0) {
        spec["replicas"] = replicas.into();
    }
    let mut status = json!({"replicas": count(&scale.status_replicas).unwrap_or(0)});
    let selector = scale.selector.as_deref().and_then(|path| at(object, path));
    let selector = match (selector, &call.resource.origin) {
        (Some(Value::String(text)), _) => Some(text.clone()),
        (Some(labels), Origin::Builtin(_)) if call.resource.kind == "ReplicationController" => {
            Some(LabelSelector::from_map(labels).to_string())
        }
        (Some(labels), Origin::Builtin(_)) => LabelSelector::from_json(labels)
            .ok()
            .map(|selector| selector.to_string()),
        _ => None,
    };
    if let Some(selector) = selector {
        status["selector"] = selector.into();
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status})
}

fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.trim_start_matches('.')
        .split('.')
        .try_fold(object, |value, step| value.get(step))
}

fn set(object: &mut Value, path: &str, value: Value) {
    let mut slot = object;
    for step in path.trim_start_matches('.').split('.') {
        slot = &mut slot[step];
    }
    *slot = value;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_number_says_how_many() {
        let asked = |value: Value| replicas(&json!({"spec": {"replicas": value}}));
        assert_eq!(asked(json!(3)).ok(), Some(3));
        assert_eq!(asked(Value::Null).ok(), Some(0));
        for wrong in [
            json!("3"),
            json!(1.5),
            json!(true),
            json!([1]),
            json!(3_000_000_000_u64),
        ] {
            assert!(asked(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
