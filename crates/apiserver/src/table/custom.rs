//! Columns that a CRD asks for.

use serde_json::Value;

use super::duration;

/// One `additionalPrinterColumns` entry.
#[derive(Clone, Debug)]
pub struct CustomColumn {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) format: String,
    pub(super) description: String,
    pub(super) priority: i64,
    path: Option<objects::jsonpath::JsonPath>,
}

impl CustomColumn {
    /// Reads the entry; a path that cannot be read leaves the column empty.
    pub fn of(entry: &Value) -> Self {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        Self {
            name: text("name"),
            kind: text("type"),
            format: text("format"),
            description: match text("description") {
                none if none.is_empty() => format!(
                    "Custom resource definition column (in JSONPath format): {}",
                    text("jsonPath")
                ),
                said => said,
            },
            priority: entry["priority"].as_i64().unwrap_or(0),
            path: objects::jsonpath::JsonPath::parse_path(&text("jsonPath")).ok(),
        }
    }

    pub(super) fn cell(&self, object: &Value) -> Value {
        let Some(value) = self.path.as_ref().and_then(|path| path.first(object)) else {
            return Value::Null;
        };
        match (self.kind.as_str(), value) {
            ("date", Value::String(time)) => duration::since(Some(time)).into(),
            ("integer" | "number" | "boolean", value) => value.clone(),
            (_, Value::String(text)) => text.as_str().into(),
            (_, Value::Null) => Value::Null,
            (_, value) => value.to_string().into(),
        }
    }
}
