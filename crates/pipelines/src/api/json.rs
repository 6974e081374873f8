//! Protobuf JSON both ways: bodies with either spelling of field names and no unknown fields, answers with proto names and
//! without zero values.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::error::ApiError;
use crate::ir::schema::kind_of;

/// Reads a body that must be a mapping with known fields; names come out in snake_case.
pub fn fields(body: &[u8], known: &[&str]) -> Result<Map<String, Value>, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|problem| ApiError::invalid(format!("the request body is not JSON: {problem}")))?;
    known_fields(value, known, "")
}

/// The same for a value below `path`.
pub fn known_fields(
    value: Value,
    known: &[&str],
    path: &str,
) -> Result<Map<String, Value>, ApiError> {
    let Value::Object(given) = value else {
        let place = if path.is_empty() {
            "the request body"
        } else {
            path
        };
        return Err(ApiError::invalid(format!(
            "{place} must be a mapping, not {}",
            kind_of(&value)
        )));
    };
    let mut fields = Map::new();
    for (key, field) in given {
        let snake = snake_case(&key);
        if !known.contains(&snake.as_str()) {
            let separator = if path.is_empty() { "" } else { "." };
            return Err(ApiError::invalid(format!(
                "unknown field {path}{separator}{key}"
            )));
        }
        if !field.is_null() {
            fields.insert(snake, field);
        }
    }
    Ok(fields)
}

/// A text field, empty when absent.
pub fn text(fields: &Map<String, Value>, key: &str) -> Result<String, ApiError> {
    match fields.get(key) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(ApiError::invalid(format!(
            "{key} must be text, not {}",
            kind_of(other)
        ))),
    }
}

fn snake_case(key: &str) -> String {
    let mut snake = String::with_capacity(key.len() + 4);
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// An answer under construction: zero values are left out.
#[derive(Default)]
pub struct Object(Map<String, Value>);

impl Object {
    /// Text, unless empty.
    #[must_use]
    pub fn text(mut self, key: &str, value: impl AsRef<str>) -> Self {
        if !value.as_ref().is_empty() {
            self.0.insert(key.to_owned(), value.as_ref().into());
        }
        self
    }

    /// Anything, unless it is null, false, zero or empty.
    #[must_use]
    pub fn value(mut self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        let is_zero = match &value {
            Value::Null => true,
            Value::Bool(truth) => !truth,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
        };
        if !is_zero {
            self.0.insert(key.to_owned(), value);
        }
        self
    }

    /// A time; an unset one is the epoch.
    #[must_use]
    pub fn time(mut self, key: &str, at: Option<Timestamp>) -> Self {
        self.0.insert(key.to_owned(), time(at).into());
        self
    }

    /// The mapping.
    pub fn build(self) -> Value {
        Value::Object(self.0)
    }
}

/// RFC 3339 with second precision; the epoch when unset.
pub fn time(at: Option<Timestamp>) -> String {
    Timestamp::from_second(at.map_or(0, Timestamp::as_second))
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .to_string()
}

/// Puts ready JSON text into a serialised mapping.
pub fn splice(object: &Value, key: &str, raw: &str) -> String {
    let mut text = object.to_string();
    text.pop();
    if text.len() > 1 {
        text.push(',');
    }
    text.push('"');
    text.push_str(key);
    text.push_str("\":");
    text.push_str(raw);
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn either_spelling_is_read_and_an_unknown_field_refused() {
        let read = fields(
            br#"{"displayName": "a", "experiment_id": "e", "description": null}"#,
            &["display_name", "experiment_id", "description"],
        )
        .unwrap();
        assert_eq!(
            Value::Object(read),
            json!({"display_name": "a", "experiment_id": "e"})
        );
        assert_eq!(
            fields(br#"{"x": 1}"#, &["display_name"])
                .unwrap_err()
                .message(),
            "unknown field x"
        );
        assert!(fields(b"[]", &[]).is_err());
        assert!(fields(b"", &[]).unwrap().is_empty());
    }

    #[test]
    fn zero_values_are_left_out_but_unset_times_are_the_epoch() {
        let object = Object::default()
            .text("a", "")
            .value("b", 0)
            .value("c", json!([]))
            .text("d", "x")
            .time("e", None)
            .build();
        assert_eq!(object, json!({"d": "x", "e": "1970-01-01T00:00:00Z"}));
        assert_eq!(
            splice(&object, "s", "{}"),
            r#"{"d":"x","e":"1970-01-01T00:00:00Z","s":{}}"#
        );
        assert_eq!(splice(&json!({}), "s", "1"), r#"{"s":1}"#);
    }
}
