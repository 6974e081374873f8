//! Whether the CEL rules of a schema compile, point at fields that exist, and look at old values only where old and new
//! ones can be told to belong together.

use serde_json::{Map, Value};

use crate::field::{self, FieldError};
use crate::schema::cel::Rule;

/// Checks the rules of a node and of everything below it. `uncorrelated` is the list, if any, whose items have no names.
pub(super) fn check(
    map: &Map<String, Value>,
    path: &str,
    uncorrelated: Option<&str>,
    errors: &mut Vec<FieldError>,
) {
    let at = field::join(path, "x-kubernetes-validations");
    let rules = map
        .get("x-kubernetes-validations")
        .and_then(Value::as_array);
    for (index, raw) in rules.into_iter().flatten().enumerate() {
        let at = field::index(&at, index);
        match Rule::compile(raw) {
            Err(error) => errors.push(error.under(&at)),
            Ok(rule) => errors.extend(
                problems(&rule, map, uncorrelated)
                    .into_iter()
                    .map(|error| error.under(&at)),
            ),
        }
    }
    let below = |word: &str| field::join(path, word);
    for (name, property) in map
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if let Some(property) = property.as_object() {
            check(
                property,
                &field::key(&below("properties"), name),
                uncorrelated,
                errors,
            );
        }
    }
    if let Some(additional) = map.get("additionalProperties").and_then(Value::as_object) {
        check(
            additional,
            &below("additionalProperties"),
            uncorrelated,
            errors,
        );
    }
    if let Some(items) = map.get("items").and_then(Value::as_object) {
        let has_names = map.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("map");
        let uncorrelated = uncorrelated.or((!has_names).then_some(path));
        check(items, &below("items"), uncorrelated, errors);
    }
}

fn problems(rule: &Rule, map: &Map<String, Value>, uncorrelated: Option<&str>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(list) = uncorrelated.filter(|_| rule.needs_old()) {
        let detail = format!(
            "oldSelf cannot be used on the uncorrelatable portion of the schema within {list}"
        );
        errors.push(FieldError::invalid("rule", rule.text(), detail));
    }
    let field_path = rule.field_path();
    if !field_path.is_empty() && !leads_somewhere(map, field_path) {
        errors.push(FieldError::invalid(
            "fieldPath",
            field_path,
            "fieldPath must be a valid path",
        ));
    }
    errors
}

/// Whether `.name` and `['name']` steps lead through declared fields.
fn leads_somewhere(map: &Map<String, Value>, path: &str) -> bool {
    let (name, rest) = if let Some(rest) = path.strip_prefix("['") {
        match rest.split_once("']") {
            Some(step) => step,
            None => return false,
        }
    } else if let Some(rest) = path.strip_prefix('.') {
        rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()))
    } else {
        return false;
    };
    let declared = map
        .get("properties")
        .and_then(|properties| properties.get(name));
    let child = declared
        .or_else(|| map.get("additionalProperties"))
        .and_then(Value::as_object);
    match child {
        None => false,
        Some(_) if rest.is_empty() => !name.is_empty(),
        Some(child) => leads_somewhere(child, rest),
    }
}
