//! Field-selector values: which paths a kind offers, read from the object as text.

use serde_json::Value;

use super::Origin;

/// The values at `paths`, in their order.
pub(super) fn values(object: &Value, origin: &Origin, paths: &[String]) -> Vec<(String, String)> {
    paths
        .iter()
        .map(|path| (path.clone(), value(object, origin, path)))
        .collect()
}

/// The value at one path; what is absent reads as the empty string.
pub(super) fn value(object: &Value, origin: &Origin, path: &str) -> String {
    match origin {
        Origin::Builtin(builtin) => {
            crate::kinds::strategy(builtin.group, builtin.kind).selectable_field(object, path)
        }
        Origin::Custom(_) => match path
            .split('.')
            .try_fold(object, |value, step| value.get(step))
        {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Bool(flag)) => flag.to_string(),
            Some(Value::Number(number)) => number.to_string(),
            _ => String::new(),
        },
    }
}
