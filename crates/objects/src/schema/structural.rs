//! The rules that make a schema structural: every value has one type, nothing is specified only inside logic.
//! Mirrors the checks of apiextensions v1 on a CustomResourceDefinition's schema.

mod lists;
mod logic;
mod rules;
mod scope;

use serde_json::{Map, Value};

use super::node::Type;
use crate::field::{self, FieldError};

/// What is wrong with the schema of a custom resource; `path` is where it stands.
pub fn check(document: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let Some(map) = document.as_object() else {
        errors.push(FieldError::required(path, "schemas are required"));
        return errors;
    };
    node(map, path, Place::Root, &mut errors);
    let root_type = map.get("type").and_then(Value::as_str).unwrap_or_default();
    if !root_type.is_empty() && root_type != "object" {
        errors.push(FieldError::invalid(
            field::join(path, "type"),
            root_type,
            "must be object at the root",
        ));
    }
    if map.get("nullable").and_then(Value::as_bool) == Some(true) {
        errors.push(FieldError::forbidden(
            field::join(path, "nullable"),
            "nullable cannot be true at the root",
        ));
    }
    rules::check(map, path, &mut errors);
    root_metadata(map, path, &mut errors);
    errors
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Root,
    Property,
    Items,
    Additional,
    /// Inside `allOf`, `anyOf`, `oneOf` or `not`.
    Logic,
}

/// Words of JSON schema that structural schemas do not have.
const UNSUPPORTED: [&str; 6] = [
    "$ref",
    "definitions",
    "dependencies",
    "patternProperties",
    "additionalItems",
    "id",
];

fn node(map: &Map<String, Value>, path: &str, place: Place, errors: &mut Vec<FieldError>) {
    let at = |word: &str| field::join(path, word);
    let flag = |word: &str| map.get(word).and_then(Value::as_bool) == Some(true);
    for word in UNSUPPORTED {
        if map.contains_key(word) {
            errors.push(FieldError::forbidden(
                at(word),
                format!("{word} is not supported"),
            ));
        }
    }
    if flag("uniqueItems") {
        let detail =
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(at("uniqueItems"), detail));
    }
    if place == Place::Logic {
        logic::only_limits(map, path, errors);
    } else {
        kind(map, path, place, errors);
        extensions(map, path, errors);
    }
    limits(map, path, errors);
    children(map, path, place, errors);
    // Upstream looks only at the root for fields that stand in logic alone.
    if place == Place::Root {
        logic::is_covered(map, path, errors);
    }
    if place != Place::Logic {
        default(map, path, errors);
    }
}

fn kind(map: &Map<String, Value>, path: &str, place: Place, errors: &mut Vec<FieldError>) {
    let at = field::join(path, "type");
    let flag = |word: &str| map.get(word).and_then(Value::as_bool) == Some(true);
    let name = map.get("type").and_then(Value::as_str).unwrap_or_default();
    match name {
        "" if flag("x-kubernetes-int-or-string")
            || flag("x-kubernetes-preserve-unknown-fields") => {}
        "" if flag("x-kubernetes-embedded-resource") => {
            errors.push(FieldError::required(
                at,
                "must be object if x-kubernetes-embedded-resource is true",
            ));
        }
        "" => {
            let detail = match place {
                Place::Root => "must not be empty at the root",
                Place::Items => "must not be empty for specified array items",
                _ => "must not be empty for specified object fields",
            };
            errors.push(FieldError::required(at, detail));
        }
        _ if Type::from_name(name).is_none() => {
            if name == "null" {
                let detail = "type cannot be set to null, use nullable as an alternative";
                errors.push(FieldError::forbidden(at.clone(), detail));
            }
            let supported = ["array", "boolean", "integer", "number", "object", "string"];
            errors.push(FieldError::not_supported(at, name, &supported));
        }
        _ => {}
    }
    if name == "array" && !map.contains_key("items") {
        errors.push(FieldError::required(
            field::join(path, "items"),
            "must be specified",
        ));
    }
}

fn extensions(map: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let at = |word: &str| field::join(path, word);
    let flag = |word: &str| map.get(word).and_then(Value::as_bool) == Some(true);
    let name = map.get("type").and_then(Value::as_str).unwrap_or_default();
    if map
        .get("x-kubernetes-preserve-unknown-fields")
        .and_then(Value::as_bool)
        == Some(false)
    {
        let word = at("x-kubernetes-preserve-unknown-fields");
        errors.push(FieldError::invalid(
            word,
            false,
            "must be true or undefined",
        ));
    }
    if flag("x-kubernetes-embedded-resource") {
        if !matches!(name, "" | "object") {
            let detail = "must be object if x-kubernetes-embedded-resource is true";
            errors.push(FieldError::invalid(at("type"), name, detail));
        }
        if !flag("x-kubernetes-preserve-unknown-fields") && !map.contains_key("properties") {
            let detail = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            errors.push(FieldError::required(at("properties"), detail));
        }
    }
    match map.get("x-kubernetes-list-type").and_then(Value::as_str) {
        None => {
            if map.get("x-kubernetes-list-map-keys").is_some() {
                let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
                errors.push(FieldError::required(at("x-kubernetes-list-type"), detail));
            }
        }
        Some(list_type @ ("atomic" | "set" | "map")) => {
            if name != "array" {
                let detail = "must be array if x-kubernetes-list-type is specified";
                errors.push(FieldError::invalid(at("type"), name, detail));
            }
            match list_type {
                "map" => lists::check_map(map, path, errors),
                "set" => lists::check_set(map, path, errors),
                _ => {}
            }
        }
        Some(other) => {
            errors.push(FieldError::not_supported(
                at("x-kubernetes-list-type"),
                other,
                &["atomic", "set", "map"],
            ));
        }
    }
    match map.get("x-kubernetes-map-type").and_then(Value::as_str) {
        None => {}
        Some("granular" | "atomic") if name == "object" => {}
        Some("granular" | "atomic") => {
            let detail = "must be object if x-kubernetes-map-type is specified";
            errors.push(FieldError::invalid(at("type"), name, detail));
        }
        Some(other) => {
            errors.push(FieldError::not_supported(
                at("x-kubernetes-map-type"),
                other,
                &["atomic", "granular"],
            ));
        }
    }
}

fn limits(map: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    if let Some(Value::String(pattern)) = map.get("pattern")
        && regex::Regex::new(pattern).is_err()
    {
        let detail = "must be a valid regular expression, but isn't";
        errors.push(FieldError::invalid(
            field::join(path, "pattern"),
            pattern.as_str(),
            detail,
        ));
    }
}

fn children(map: &Map<String, Value>, path: &str, place: Place, errors: &mut Vec<FieldError>) {
    let at = |word: &str| field::join(path, word);
    let below = |here: Place| {
        if place == Place::Logic {
            Place::Logic
        } else {
            here
        }
    };
    if let Some(Value::Object(properties)) = map.get("properties") {
        if matches!(map.get("additionalProperties"), Some(value) if *value != Value::Bool(false)) {
            let detail = "additionalProperties and properties are mutual exclusive";
            errors.push(FieldError::forbidden(at("additionalProperties"), detail));
        }
        for (name, property) in properties {
            let here = field::key(&at("properties"), name);
            child(property, &here, below(Place::Property), errors);
        }
    }
    if let Some(additional @ Value::Object(_)) = map.get("additionalProperties") {
        child(
            additional,
            &at("additionalProperties"),
            below(Place::Additional),
            errors,
        );
    }
    match map.get("items") {
        Some(Value::Array(_)) => {
            errors.push(FieldError::forbidden(
                at("items"),
                "items must be a schema object and not an array",
            ));
        }
        Some(items) => child(items, &at("items"), below(Place::Items), errors),
        None => {}
    }
    for word in ["allOf", "anyOf", "oneOf"] {
        for (index, branch) in map
            .get(word)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .enumerate()
        {
            child(
                branch,
                &field::index(&at(word), index),
                Place::Logic,
                errors,
            );
        }
    }
    if let Some(not) = map.get("not") {
        child(not, &at("not"), Place::Logic, errors);
    }
}

fn child(document: &Value, path: &str, place: Place, errors: &mut Vec<FieldError>) {
    match document.as_object() {
        Some(map) => node(map, path, place, errors),
        None => errors.push(FieldError::type_invalid(
            path,
            document.clone(),
            "must be a schema object",
        )),
    }
}

/// A default must itself be a valid value without undeclared fields.
fn default(map: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let Some(default) = map.get("default") else {
        return;
    };
    // A schema with problems of its own cannot judge its default.
    if !errors.is_empty() {
        return;
    }
    let mut reader = super::read::read_unchecked(map);
    let at = field::join(path, "default");
    match &mut reader {
        Err(more) => errors.append(more),
        Ok(schema) => {
            let mut pruned = default.clone();
            if !schema.prune(&mut pruned).is_empty() {
                let detail = "must not have unknown fields";
                errors.push(FieldError::invalid(at.clone(), default.clone(), detail));
            }
            let mut filled = default.clone();
            schema.default(&mut filled);
            errors.extend(
                schema
                    .validate(&filled, None)
                    .into_iter()
                    .map(|error| error.under(&at)),
            );
        }
    }
}

/// At the root, metadata is what it always is: only the name may be limited further.
fn root_metadata(map: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    let Some(metadata) = map
        .get("properties")
        .and_then(|properties| properties.get("metadata"))
    else {
        return;
    };
    let at = field::key(&field::join(path, "properties"), "metadata");
    let allowed_words = ["type", "description", "properties", "required"];
    let has_other_words = metadata
        .as_object()
        .into_iter()
        .flatten()
        .any(|(word, _)| !allowed_words.contains(&word.as_str()));
    let fields = metadata.get("properties").and_then(Value::as_object);
    let has_other_fields = fields
        .into_iter()
        .flatten()
        .any(|(name, _)| !matches!(name.as_str(), "name" | "generateName"));
    if has_other_words || has_other_fields {
        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(FieldError::forbidden(at, detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn complaints(document: Value) -> Vec<String> {
        check(&document, "schema")
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_structural_schema_passes() {
        let document = json!({"type": "object", "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 20}}},
            "spec": {"type": "object", "default": {"a": 1}, "properties": {
                "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "open": {"x-kubernetes-preserve-unknown-fields": true},
                "a": {"type": "integer"}, "b": {"type": "integer"},
                "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                         "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}},
            }, "oneOf": [{"required": ["a"]}, {"required": ["b"], "properties": {"b": {"minimum": 1}}}]},
        }});
        assert_eq!(complaints(document), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_structural_is_named_by_path() {
        let cases = [
            (
                json!({"type": "object", "properties": {"x": {}}}),
                "schema.properties[x].type: Required value: must not be empty for specified object fields",
            ),
            (
                json!({"properties": {}}),
                "schema.type: Required value: must not be empty at the root",
            ),
            (
                json!({"type": "string"}),
                r#"schema.type: Invalid value: "string": must be object at the root"#,
            ),
            (
                json!({"type": "object", "properties": {"x": {"type": "array"}}}),
                "schema.properties[x].items: Required value: must be specified",
            ),
            (
                json!({"type": "object", "properties": {"x": {"type": "array", "items": {}}}}),
                "schema.properties[x].items.type: Required value: must not be empty for specified array items",
            ),
            (
                json!({"type": "object", "properties": {"x": {"type": "null"}}}),
                "schema.properties[x].type: Forbidden: type cannot be set to null, use nullable as an alternative",
            ),
            (
                json!({"type": "object", "properties": {"x": {"type": "any"}}}),
                r#"schema.properties[x].type: Unsupported value: "any": supported values: "array", "boolean", "integer", "number", "object", "string""#,
            ),
            (
                json!({"type": "object", "$ref": "#/x"}),
                "schema.$ref: Forbidden: $ref is not supported",
            ),
            (
                json!({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}),
                "schema.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
            ),
            (
                json!({"type": "object", "anyOf": [{"properties": {"y": {"minimum": 1}}}]}),
                "schema.properties[y]: Required value: because it is defined in schema.anyOf[0].properties[y]",
            ),
            (
                json!({"type": "object", "anyOf": [{"type": "object"}]}),
                "schema.anyOf[0].type: Forbidden: must be empty to be structural",
            ),
            (
                json!({"type": "object", "not": {"default": 1}}),
                "schema.not.default: Forbidden: must be undefined to be structural",
            ),
            (
                json!({"type": "object", "x-kubernetes-preserve-unknown-fields": false}),
                "schema.x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined",
            ),
            (
                json!({"type": "object", "properties": {"l": {"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}}}}),
                "schema.properties[l].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
            ),
            (
                json!({"type": "object", "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
                "schema.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            ),
            (
                json!({"type": "object", "properties": {"x": {"type": "integer", "default": "a"}}}),
                r#"schema.properties[x].default: Invalid value: "string":  in body must be of type integer: "string""#,
            ),
        ];
        for (document, expected) in cases {
            let found = complaints(document.clone());
            assert!(
                found.iter().any(|complaint| complaint == expected),
                "{document}\n{found:#?}\n{expected}"
            );
        }
    }

    #[test]
    fn rules_are_refused_where_they_stand() {
        let items = |words: Value| {
            let mut list = json!({"type": "array", "items": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > oldSelf"}]}});
            list.as_object_mut()
                .unwrap()
                .extend(words.as_object().unwrap().clone());
            json!({"type": "object", "properties": {"l": list}})
        };
        let at = "schema.properties[l].items.x-kubernetes-validations[0].rule";
        assert_eq!(
            complaints(items(json!({}))),
            [format!(
                "{at}: Invalid value: \"self > oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the \
                 schema within schema.properties[l]"
            )]
        );
        let pointing = |path: &str| {
            complaints(
                json!({"type": "object", "properties": {"a-b": {"type": "object", "properties": {"c": {"type": "string"}}}},
                              "x-kubernetes-validations": [{"rule": "true", "fieldPath": path}]}),
            )
        };
        for good in ["", ".a-b", "['a-b'].c", ".a-b.c", ".a-b['c']"] {
            assert_eq!(pointing(good), Vec::<String>::new(), "{good}");
        }
        for bad in ["a-b", ".x", ".a-b.x", ".['a-b']", ".", "['a-b"] {
            let expected = format!(
                "schema.x-kubernetes-validations[0].fieldPath: Invalid value: {bad:?}: fieldPath must be a valid path"
            );
            assert_eq!(pointing(bad), [expected]);
        }
        for (rule, expected) in [
            (
                json!({"rule": "self.b > 1"}),
                "rule: Invalid value: \"self.b > 1\": compilation failed: undefined field 'b'",
            ),
            (
                json!({"rule": " "}),
                "rule: Required value: rule is not specified",
            ),
            (
                json!({"rule": "true", "reason": "Odd"}),
                "reason: Unsupported value: \"Odd\": supported values: \"FieldValueDuplicate\", \"FieldValueForbidden\", \"FieldValueInvalid\", \"FieldValueRequired\"",
            ),
            (
                json!({"rule": "true", "message": "a\nb"}),
                "message: Invalid value: \"a\\nb\": message must not contain line breaks",
            ),
        ] {
            let found = complaints(json!({"type": "object", "x-kubernetes-validations": [rule]}));
            assert_eq!(
                found,
                [format!("schema.x-kubernetes-validations[0].{expected}")]
            );
        }
    }

    #[test]
    fn a_rule_that_does_not_compile_is_refused_where_it_stands() {
        let document =
            json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.a >"}]});
        let found = complaints(document);
        assert!(
            found[0].starts_with("schema.x-kubernetes-validations[0].rule: Invalid value: "),
            "{found:?}"
        );
        assert!(found[0].contains("compilation failed: "), "{found:?}");
    }
}
