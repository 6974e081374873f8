//! The shapes of [`super::schema`] as a JSON schema, for programs that draw documents. A copy lies in
//! `crates/pipelines/src/ir/openapi.json`, from which the pages' types are generated; a test keeps it true.

use serde_json::{Map, Value, json};

use super::schema::{PIPELINE, Shape};

/// The document as OpenAPI says it.
pub fn document() -> Value {
    json!({
        "openapi": "3.0.3",
        "info": {"title": "Pipeline document", "version": "2.1.0"},
        "paths": {},
        "components": {"schemas": {"PipelineSpec": of(PIPELINE)}},
    })
}

fn of(shape: Shape) -> Value {
    match shape {
        Shape::Text => json!({"type": "string"}),
        Shape::Number => json!({"oneOf": [{"type": "number"}, {"type": "string"}]}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Any => json!({}),
        Shape::List(item) => json!({"type": "array", "items": of(*item)}),
        Shape::Map(entry) => json!({"type": "object", "additionalProperties": of(*entry)}),
        Shape::Message(fields) => {
            let properties: Map<String, Value> = fields
                .iter()
                .map(|(name, field)| ((*name).to_owned(), of(*field)))
                .collect();
            json!({"type": "object", "properties": properties})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_that_the_pages_are_made_from_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ir/openapi.json");
        let now = serde_json::to_string_pretty(&document()).expect("plain data") + "\n";
        if std::env::var_os("FERROFLOW_WRITE_SCHEMAS").is_some() {
            std::fs::write(path, &now).expect("write the copy");
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == now,
            "crates/pipelines/src/ir/openapi.json is stale: run this test with FERROFLOW_WRITE_SCHEMAS=1, then `npm run types` in web/"
        );
    }
}
