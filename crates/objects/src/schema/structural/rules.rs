//! Whether the CEL rules of a schema compile, point at fields that exist, and look at old values only where old and new
//! ones can be told to belong together.

use serde_json::{Map, Value};

use super::scope;
use crate::field::{self, FieldError};
use crate::schema::cel::Rule;

/// Where a node stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    is_root: bool,
    /// The list, if any, whose items have no names, so that old and new ones cannot be told to belong together.
    uncorrelated: Option<&'a str>,
}

/// Checks the rules of a schema, from its root down.
pub(super) fn check(map: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    node(
        map,
        path,
        Place {
            is_root: true,
            uncorrelated: None,
        },
        errors,
    );
}

fn node(map: &Map<String, Value>, path: &str, place: Place<'_>, errors: &mut Vec<FieldError>) {
    let at = field::join(path, "x-kubernetes-validations");
    let rules = map
        .get("x-kubernetes-validations")
        .and_then(Value::as_array);
    for (index, raw) in rules.into_iter().flatten().enumerate() {
        let found = match Rule::compile(raw) {
            Err(error) => vec![error],
            Ok(rule) => problems(&rule, map, place),
        };
        let at = field::index(&at, index);
        errors.extend(found.into_iter().map(|error| error.under(&at)));
    }
    let below = |word: &str| field::join(path, word);
    let inner = Place {
        is_root: false,
        ..place
    };
    for (name, property) in map
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if let Some(property) = property.as_object() {
            node(
                property,
                &field::key(&below("properties"), name),
                inner,
                errors,
            );
        }
    }
    if let Some(additional) = map.get("additionalProperties").and_then(Value::as_object) {
        node(additional, &below("additionalProperties"), inner, errors);
    }
    if let Some(items) = map.get("items").and_then(Value::as_object) {
        let has_names = map.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("map");
        let uncorrelated = place.uncorrelated.or((!has_names).then_some(path));
        node(
            items,
            &below("items"),
            Place {
                uncorrelated,
                ..inner
            },
            errors,
        );
    }
}

fn problems(rule: &Rule, map: &Map<String, Value>, place: Place<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for name in scope::undefined_fields(rule, map, place.is_root) {
        let detail = format!("compilation failed: undefined field '{name}'");
        errors.push(FieldError::invalid("rule", rule.text(), detail));
    }
    if let Some(list) = place.uncorrelated.filter(|_| rule.needs_old()) {
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
