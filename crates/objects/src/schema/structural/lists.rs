//! What lists of type `map` and `set` need of their items.

use serde_json::{Map, Value};

use crate::field::{self, FieldError};

/// A list map needs items that are objects, and keys that every item has.
pub(super) fn check_map(map: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let at = field::join(path, "x-kubernetes-list-map-keys");
    let items_at = field::join(path, "items");
    let items = map.get("items");
    let kind = items
        .and_then(|items| items.get("type"))
        .and_then(Value::as_str);
    let is_object = kind == Some("object");
    if !is_object {
        let found = items
            .and_then(|items| items.get("type"))
            .cloned()
            .unwrap_or(Value::Null);
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(
            field::join(&items_at, "type"),
            found,
            detail,
        ));
    }
    let keys: Vec<&str> = map
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    if keys.is_empty() {
        errors.push(FieldError::required(
            at,
            "must not be empty if x-kubernetes-list-type is map",
        ));
        return;
    }
    let required: Vec<&str> = items
        .and_then(|items| items.get("required"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = items
        .and_then(|items| items.get("properties"))
        .and_then(Value::as_object);
    let all_keys = || Value::from(keys.clone());
    if (1..keys.len()).any(|index| keys[..index].contains(&keys[index])) {
        errors.push(FieldError::invalid(
            at.clone(),
            all_keys(),
            "must not contain duplicate entries",
        ));
    }
    let is_declared =
        |key: &&str| properties.is_some_and(|properties| properties.contains_key(*key));
    if is_object && !keys.iter().all(is_declared) {
        errors.push(FieldError::invalid(
            at,
            all_keys(),
            "entries must all be names of item properties",
        ));
    }
    for key in keys.iter().filter(|key| is_declared(key)) {
        let property = &properties.expect("the key is declared")[*key];
        let property_at = field::key(&field::join(&items_at, "properties"), key);
        if matches!(
            property.get("type").and_then(Value::as_str),
            Some("array" | "object")
        ) {
            let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            errors.push(FieldError::invalid(
                field::join(&property_at, "type"),
                property["type"].clone(),
                detail,
            ));
        }
        if property.get("default").is_none() && !required.contains(key) {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(
                field::join(&property_at, "default"),
                detail,
            ));
        }
    }
}

/// The items of a set must be scalars, or atomic.
pub(super) fn check_set(map: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let Some(items) = map.get("items") else {
        return;
    };
    let items_at = field::join(path, "items");
    if items.get("nullable").and_then(Value::as_bool) == Some(true) {
        let detail = "cannot be nullable when x-kubernetes-list-type is set";
        errors.push(FieldError::forbidden(
            field::join(&items_at, "nullable"),
            detail,
        ));
    }
    let text = |word: &str| items.get(word).and_then(Value::as_str);
    let (word, needed) = match text("type") {
        Some("array") => (
            "x-kubernetes-list-type",
            text("x-kubernetes-list-type").unwrap_or("atomic"),
        ),
        Some("object") => (
            "x-kubernetes-map-type",
            text("x-kubernetes-map-type").unwrap_or("null"),
        ),
        _ => return,
    };
    if needed != "atomic" {
        let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
        errors.push(FieldError::invalid(
            field::join(&items_at, word),
            needed,
            detail,
        ));
    }
}
