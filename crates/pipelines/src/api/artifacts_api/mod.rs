//! Artifacts and their links to tasks, as the native API shows them, and their content.

use serde_json::Value;

use super::json::Object;
use crate::artifact::Artifact;

pub mod get;
pub mod links;
pub mod list;
pub mod read;

/// One artifact.
pub fn view(artifact: &Artifact) -> Value {
    // A metrics artifact with a single number is that number.
    let number = match artifact.metadata.len() {
        1 if artifact.api_type() == "Metric" => {
            artifact.metadata.values().next().and_then(Value::as_f64)
        }
        _ => None,
    };
    Object::default()
        .text("artifact_id", &artifact.id)
        .text("name", &artifact.name)
        .text("type", artifact.api_type())
        .text("schema_title", &artifact.kind.schema_title)
        .text("uri", &artifact.uri)
        .value("metadata", artifact.metadata.clone())
        .value("number_value", number)
        .value(
            "size_bytes",
            artifact.size_bytes.map(|size| size.to_string()),
        )
        .time("created_at", Some(artifact.created_at))
        .build()
}
