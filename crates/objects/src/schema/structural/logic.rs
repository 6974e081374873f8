//! What may stand inside `allOf`, `anyOf`, `oneOf` and `not`: limits on what is specified outside of them.

use serde_json::{Map, Value};

use crate::field::{self, FieldError};

/// Inside logic only limits may stand.
pub(super) fn only_limits(map: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let empty = ["type", "title", "description"];
    let undefined = [
        "default",
        "additionalProperties",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-map-type",
        "x-kubernetes-validations",
    ];
    for word in empty {
        if map.contains_key(word) && !(word == "type" && is_int_or_string_branch(map)) {
            errors.push(FieldError::forbidden(
                field::join(path, word),
                "must be empty to be structural",
            ));
        }
    }
    for word in undefined {
        if map.contains_key(word) {
            errors.push(FieldError::forbidden(
                field::join(path, word),
                "must be undefined to be structural",
            ));
        }
    }
    if map.get("nullable").and_then(Value::as_bool) == Some(true) {
        errors.push(FieldError::forbidden(
            field::join(path, "nullable"),
            "must be false to be structural",
        ));
    }
}

/// `anyOf: [{type: integer}, {type: string}]` is how int-or-string fields are written.
fn is_int_or_string_branch(map: &Map<String, Value>) -> bool {
    matches!(
        map.get("type").and_then(Value::as_str),
        Some("integer" | "string")
    ) && map.len() == 1
}

/// Every field that logic speaks of must be specified outside of it.
pub(super) fn is_covered(map: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let mut branches = Vec::new();
    for word in ["allOf", "anyOf", "oneOf"] {
        for (index, branch) in map
            .get(word)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .enumerate()
        {
            branches.push((branch, field::index(&field::join(path, word), index)));
        }
    }
    if let Some(not) = map.get("not") {
        branches.push((not, field::join(path, "not")));
    }
    for (branch, branch_path) in branches {
        covered(map, path, branch, &branch_path, errors);
    }
}

fn covered(
    map: &Map<String, Value>,
    path: &str,
    branch: &Value,
    branch_path: &str,
    errors: &mut Vec<FieldError>,
) {
    let empty = Map::new();
    for (name, inner) in branch
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&empty)
    {
        let here = field::key(&field::join(path, "properties"), name);
        let there = field::key(&field::join(branch_path, "properties"), name);
        match map
            .get("properties")
            .and_then(|properties| properties.get(name))
            .and_then(Value::as_object)
        {
            Some(outer) => covered(outer, &here, inner, &there, errors),
            None => errors.push(FieldError::required(
                here,
                format!("because it is defined in {there}"),
            )),
        }
    }
    if let Some(inner) = branch.get("items") {
        let (here, there) = (
            field::join(path, "items"),
            field::join(branch_path, "items"),
        );
        match map.get("items").and_then(Value::as_object) {
            Some(outer) => covered(outer, &here, inner, &there, errors),
            None => errors.push(FieldError::required(
                here,
                format!("because it is defined in {there}"),
            )),
        }
    }
    for word in ["allOf", "anyOf", "oneOf"] {
        for (index, nested) in branch
            .get(word)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .enumerate()
        {
            covered(
                map,
                path,
                nested,
                &field::index(&field::join(branch_path, word), index),
                errors,
            );
        }
    }
    if let Some(nested) = branch.get("not") {
        covered(map, path, nested, &field::join(branch_path, "not"), errors);
    }
}
