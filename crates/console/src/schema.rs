//! `GET /api/openapi.json`: what the console's own routes answer, made from the types that answer. A copy lies in
//! `crates/console/openapi.json`, from which the pages' types are generated; a test keeps it true.

use axum::Json;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::machine::{Machine, Reading};
use crate::router::Session;
use crate::usage::Usage;

/// The document.
pub fn document() -> Value {
    let mut generator = SchemaSettings::openapi3().for_serialize().into_generator();
    let session = generator.subschema_for::<Session>();
    let machine = generator.subschema_for::<Machine>();
    generator.subschema_for::<Reading>();
    generator.subschema_for::<Usage>();
    let answers = |schema: Value, words: &str| json!({"get": {"summary": words, "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}}}});
    json!({
        "openapi": "3.0.3",
        "info": {"title": "Ferroflow console", "version": "1"},
        "paths": {
            "/api/session": answers(session.to_value(), "Who asks, and what is installed"),
            "/api/machine": answers(machine.to_value(), "How busy this machine is"),
        },
        "components": {"schemas": generator.take_definitions(true)},
    })
}

/// Shows it. It says nothing about anybody, so that anybody may read it.
pub async fn show() -> Json<Value> {
    Json(document())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_that_the_pages_are_made_from_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
        let now = serde_json::to_string_pretty(&document()).expect("plain data") + "\n";
        if std::env::var_os("FERROFLOW_WRITE_SCHEMAS").is_some() {
            std::fs::write(path, &now).expect("write the copy");
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == now,
            "crates/console/openapi.json is stale: run this test with FERROFLOW_WRITE_SCHEMAS=1, then `npm run types` in web/"
        );
    }
}
