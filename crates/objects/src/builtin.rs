//! What the published schemas of built-in kinds leave unsaid: how their lists and maps merge.
//! The schemas themselves come from k8s-openapi; this adds the `x-kubernetes-*` words to them.

mod table;

use serde_json::{Map, Value};

/// Adds list types, map types, patch strategies and merge keys to the JSON schema of a built-in type.
/// `type_name` is the definition's name, for example `io.k8s.api.core.v1.Container`.
pub fn annotate(schema: &mut Value, type_name: &str) {
    let Some(schema) = schema.as_object_mut() else {
        return;
    };
    for (name, words) in table::TYPES {
        if *name == type_name {
            words.iter().for_each(|word| word.write(schema));
        }
    }
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for (name, fields) in table::FIELDS {
        if *name != type_name {
            continue;
        }
        for (field, words) in *fields {
            if let Some(property) = properties.get_mut(*field).and_then(Value::as_object_mut) {
                words.iter().for_each(|word| word.write(property));
            }
        }
    }
}

/// Annotates every definition of a map from names to schemas.
pub fn annotate_all(definitions: &mut Map<String, Value>) {
    for (name, schema) in definitions.iter_mut() {
        annotate(schema, name);
    }
}

/// The types and fields the table speaks of, so that tests can hold it against the published types.
pub fn rows() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    let types = table::TYPES.iter().map(|(name, _)| (*name, Vec::new()));
    types.chain(
        table::FIELDS
            .iter()
            .map(|(name, fields)| (*name, fields.iter().map(|(field, _)| *field).collect())),
    )
}
