//! `GET /apis/v2beta1/openapi.json`: what this surface answers. The document is written by hand, as the answers are, and
//! tests hold both together; the console's types are generated from it.

use std::sync::OnceLock;

use axum::Json;
use serde_json::Value;

const SOURCE: &str = include_str!("openapi.yaml");

/// The document.
pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_saphyr::from_str(SOURCE).expect("a test reads the document"))
}

/// Shows it. It says nothing about anybody's runs, so that anybody may read it.
pub async fn handle() -> Json<&'static Value> {
    Json(document())
}
