//! Reading and filling JSON objects without ever trusting their shape.
//!
//! Defaulting runs before validation, so anything may stand anywhere: what is not of the expected
//! type is left alone for validation to name. `null` means absent, as everywhere in Kubernetes.

use objects::quantity::Quantity;
use serde_json::{Map, Value};

/// A JSON object.
pub type Fields = Map<String, Value>;

/// Whether nothing, or `null`, stands at `key`.
pub fn is_absent(fields: &Fields, key: &str) -> bool {
    fields.get(key).is_none_or(Value::is_null)
}

/// Puts `value` at `key` if nothing is there.
pub fn fill(fields: &mut Fields, key: &str, value: impl Into<Value>) {
    if is_absent(fields, key) {
        fields.insert(key.to_owned(), value.into());
    }
}

/// Puts `value` at `key` if nothing, or the empty string, is there: Kubernetes' plain strings know no difference.
pub fn fill_text(fields: &mut Fields, key: &str, value: &str) {
    if is_absent(fields, key) || fields[key] == "" {
        fields.insert(key.to_owned(), value.into());
    }
}

/// The object at `key`, if there is one.
pub fn at<'a>(fields: &'a mut Fields, key: &str) -> Option<&'a mut Fields> {
    fields.get_mut(key)?.as_object_mut()
}

/// The object at `key`, made if absent; none if something else is there.
pub fn at_or_new<'a>(fields: &'a mut Fields, key: &str) -> Option<&'a mut Fields> {
    fill(fields, key, Map::new());
    at(fields, key)
}

/// The objects in the list at `key`.
pub fn each<'a>(fields: &'a mut Fields, key: &str) -> impl Iterator<Item = &'a mut Fields> {
    fields
        .get_mut(key)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

/// Writes the amounts in the map at `key` the one way Kubernetes writes them (`0.5` is `500m`).
pub fn canonical_amounts(fields: &mut Fields, key: &str) {
    for amount in at(fields, key).into_iter().flat_map(Map::values_mut) {
        canonical_amount(amount);
    }
}

/// Writes one amount the one way Kubernetes writes it; what is no amount is left for validation.
pub fn canonical_amount(amount: &mut Value) {
    if let Ok(quantity) = Quantity::from_json(amount) {
        *amount = quantity.canonical().into();
    }
}

/// `spec` of an object, made if absent.
pub fn spec(object: &mut Value) -> Option<&mut Fields> {
    at_or_new(object.as_object_mut()?, "spec")
}

/// The elements of a list; none if it is not one.
pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The text of a value; empty if it is none.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Whether a list, map or text is absent or empty.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether two values mean the same to Kubernetes, where absent, `null` and empty are one.
pub fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            a.iter()
                .all(|(key, value)| is_same(value, b.get(key).unwrap_or(&Value::Null)))
                && b.iter()
                    .all(|(key, value)| a.contains_key(key) || is_empty(value))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        _ => one == other || (is_empty(one) && is_empty(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_there_stays_and_null_counts_as_absent() {
        let mut object = json!({"a": 1, "b": null, "c": ""});
        let fields = object.as_object_mut().unwrap();
        fill(fields, "a", 2);
        fill(fields, "b", 2);
        fill(fields, "c", "x");
        fill_text(fields, "c", "y");
        assert_eq!(object, json!({"a": 1, "b": 2, "c": "y"}));
    }

    #[test]
    fn a_value_of_the_wrong_type_is_left_for_validation() {
        let mut object = json!({"spec": 7, "list": {"not": "a list"}});
        assert!(spec(&mut object).is_none());
        assert_eq!(each(object.as_object_mut().unwrap(), "list").count(), 0);
        assert_eq!(object["spec"], 7);
    }

    #[test]
    fn amounts_are_written_one_way_and_nonsense_is_left() {
        let mut object = json!({"limits": {"cpu": 0.5, "memory": "1024Mi", "gpu": 2, "odd": "x"}});
        canonical_amounts(object.as_object_mut().unwrap(), "limits");
        assert_eq!(
            object["limits"],
            json!({"cpu": "500m", "memory": "1Gi", "gpu": "2", "odd": "x"})
        );
    }

    #[test]
    fn absent_null_and_empty_are_the_same() {
        assert!(is_same(
            &json!({"a": 1, "b": {}}),
            &json!({"a": 1, "c": null})
        ));
        assert!(!is_same(&json!({"a": 1}), &json!({"a": 1, "c": 2})));
        assert!(!is_same(&json!([1]), &json!([])));
    }
}
