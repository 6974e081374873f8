//! Writing a schema back as OpenAPI JSON. Nodes made from a definition are written as a `$ref` to it.

use serde_json::{Map, Value, json};

use super::node::{Limits, ListType, MapType, Type};
use super::{Additional, Arena, Node, NodeId, Schema};

/// Where `$ref`s lead.
const DEFINITIONS: &str = "#/components/schemas/";

impl Schema {
    /// The schema as OpenAPI v3 JSON. Below the root, named definitions appear as `$ref`s.
    pub fn to_openapi(&self) -> Value {
        body(&self.arena, self.node())
    }
}

fn schema(arena: &Arena, id: NodeId) -> Value {
    let node = arena.node(id);
    match &node.definition {
        Some(name) => {
            let reference = json!({"$ref": format!("{DEFINITIONS}{name}")});
            match (&node.description, &node.default) {
                (None, None) => reference,
                (description, default) => {
                    let mut out = Map::from_iter([("allOf".to_owned(), json!([reference]))]);
                    put(&mut out, "description", description.as_deref());
                    put(&mut out, "default", default.clone());
                    Value::Object(out)
                }
            }
        }
        None => body(arena, node),
    }
}

fn put(out: &mut Map<String, Value>, word: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        out.insert(word.to_owned(), value.into());
    }
}

fn flag(out: &mut Map<String, Value>, word: &str, value: bool) {
    if value {
        out.insert(word.to_owned(), Value::Bool(true));
    }
}

fn texts(texts: &[Box<str>]) -> Option<Value> {
    (!texts.is_empty()).then(|| texts.iter().map(|text| Value::from(&**text)).collect())
}

fn body(arena: &Arena, node: &Node) -> Value {
    let mut out = Map::new();
    put(&mut out, "title", node.title.as_deref());
    put(&mut out, "description", node.description.as_deref());
    if node.kind != Type::Any {
        out.insert("type".to_owned(), node.kind.name().into());
    }
    put(&mut out, "format", node.format.as_deref());
    put(&mut out, "default", node.default.clone());
    put(&mut out, "example", node.example.clone());
    put(&mut out, "externalDocs", node.external_docs.clone());
    flag(&mut out, "nullable", node.nullable);
    if !node.properties.is_empty() {
        let properties: Map<String, Value> = node
            .properties
            .iter()
            .map(|(name, id)| (name.to_string(), schema(arena, *id)))
            .collect();
        out.insert("properties".to_owned(), Value::Object(properties));
    }
    match node.additional {
        Additional::Unsaid => {}
        Additional::Denied => put(&mut out, "additionalProperties", Some(false)),
        Additional::Any => put(&mut out, "additionalProperties", Some(true)),
        Additional::Schema(id) => put(&mut out, "additionalProperties", Some(schema(arena, id))),
    }
    put(&mut out, "items", node.items.map(|id| schema(arena, id)));
    put(&mut out, "required", texts(&node.required));
    if let Some(written) = &node.limits {
        limits(arena, written, &mut out);
    }
    extensions(node, &mut out);
    Value::Object(out)
}

fn limits(arena: &Arena, limits: &Limits, out: &mut Map<String, Value>) {
    put(out, "minimum", limits.minimum.clone());
    put(out, "maximum", limits.maximum.clone());
    flag(out, "exclusiveMinimum", limits.exclusive_minimum);
    flag(out, "exclusiveMaximum", limits.exclusive_maximum);
    put(out, "multipleOf", limits.multiple_of.clone());
    put(out, "minLength", limits.min_length);
    put(out, "maxLength", limits.max_length);
    put(out, "minItems", limits.min_items);
    put(out, "maxItems", limits.max_items);
    put(out, "minProperties", limits.min_properties);
    put(out, "maxProperties", limits.max_properties);
    flag(out, "uniqueItems", limits.unique_items);
    put(
        out,
        "pattern",
        limits.pattern.as_ref().map(|pattern| pattern.as_str()),
    );
    if !limits.enumeration.is_empty() {
        out.insert("enum".to_owned(), Value::Array(limits.enumeration.clone()));
    }
    for (word, branches) in [
        ("allOf", &limits.all_of),
        ("anyOf", &limits.any_of),
        ("oneOf", &limits.one_of),
    ] {
        if !branches.is_empty() {
            out.insert(
                word.to_owned(),
                branches.iter().map(|id| schema(arena, *id)).collect(),
            );
        }
    }
    put(out, "not", limits.not.map(|id| schema(arena, id)));
}

fn extensions(node: &Node, out: &mut Map<String, Value>) {
    flag(
        out,
        "x-kubernetes-preserve-unknown-fields",
        node.preserve_unknown,
    );
    flag(
        out,
        "x-kubernetes-embedded-resource",
        node.embedded_resource,
    );
    flag(out, "x-kubernetes-int-or-string", node.int_or_string);
    if node.has_list_type {
        let list_type = match node.list_type {
            ListType::Atomic => "atomic",
            ListType::Set => "set",
            ListType::Map => "map",
        };
        out.insert("x-kubernetes-list-type".to_owned(), list_type.into());
    }
    put(
        out,
        "x-kubernetes-list-map-keys",
        texts(&node.list_map_keys),
    );
    if node.has_map_type {
        let map_type = if node.map_type == MapType::Atomic {
            "atomic"
        } else {
            "granular"
        };
        out.insert("x-kubernetes-map-type".to_owned(), map_type.into());
    }
    let strategy = node.patch_strategy;
    let words = [
        (strategy.merge, "merge"),
        (strategy.retain_keys, "retainKeys"),
        (strategy.replace, "replace"),
    ];
    let words: Vec<&str> = words
        .into_iter()
        .filter(|(is_set, _)| *is_set)
        .map(|(_, word)| word)
        .collect();
    if !words.is_empty() {
        out.insert(
            "x-kubernetes-patch-strategy".to_owned(),
            words.join(",").into(),
        );
    }
    put(
        out,
        "x-kubernetes-patch-merge-key",
        node.patch_merge_key.as_deref(),
    );
    if !node.rules.is_empty() {
        let rules: Vec<Value> = node.rules.iter().map(|rule| rule.to_openapi()).collect();
        out.insert("x-kubernetes-validations".to_owned(), Value::Array(rules));
    }
}
