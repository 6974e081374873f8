//! Errors about one field, printed the way Kubernetes prints them: `spec.x: Invalid value: "y": detail`.
//! Clients match on these words, so this file is the only place that spells them.

use std::fmt;

use serde_json::Value;

/// How Kubernetes names the place of an error that has none.
pub const NO_FIELD: &str = "<nil>";

/// What is wrong with a field. The names follow the causes in a `Status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldErrorKind {
    /// The field must be given.
    Required,
    /// The value is not allowed.
    Invalid,
    /// The value is not one of a fixed set.
    NotSupported,
    /// The value must be unique and is not.
    Duplicate,
    /// The text is too long.
    TooLong,
    /// The list or map has too many entries.
    TooMany,
    /// The field may not be given here.
    Forbidden,
    /// What the field names does not exist.
    NotFound,
    /// The value has the wrong JSON type.
    TypeInvalid,
    /// Validation itself failed.
    Internal,
}

impl FieldErrorKind {
    /// The `reason` of the cause in a `Status`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::Forbidden => "FieldValueForbidden",
            Self::NotFound => "FieldValueNotFound",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    /// The kind behind a reason, as CEL rules name it.
    pub fn from_reason(reason: &str) -> Option<Self> {
        Some(match reason {
            "FieldValueRequired" => Self::Required,
            "FieldValueInvalid" => Self::Invalid,
            "FieldValueForbidden" => Self::Forbidden,
            "FieldValueDuplicate" => Self::Duplicate,
            _ => return None,
        })
    }

    fn words(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not found",
            Self::Internal => "Internal error",
        }
    }

    fn shows_value(self) -> bool {
        !matches!(
            self,
            Self::Required | Self::Forbidden | Self::TooLong | Self::Internal
        )
    }
}

/// One thing wrong with one field of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// What is wrong.
    pub kind: FieldErrorKind,
    /// Where, for example `spec.containers[0].name`.
    pub field: String,
    /// The value that was found; `Null` where the kind shows none.
    pub value: Value,
    /// Why it is wrong; may be empty.
    pub detail: String,
}

impl FieldError {
    /// Any kind of error with all its parts.
    pub fn new(
        kind: FieldErrorKind,
        field: impl Into<String>,
        value: Value,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            field: field.into(),
            value,
            detail: detail.into(),
        }
    }

    /// `field: Required value: detail`
    pub fn required(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, field, Value::Null, detail)
    }

    /// `field: Invalid value: value: detail`
    pub fn invalid(
        field: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(FieldErrorKind::Invalid, field, value.into(), detail)
    }

    /// `field: Invalid value: value: detail` for a value of the wrong JSON type.
    pub fn type_invalid(
        field: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(FieldErrorKind::TypeInvalid, field, value.into(), detail)
    }

    /// `field: Unsupported value: "value": supported values: "a", "b"`
    pub fn not_supported<S: AsRef<str>>(
        field: impl Into<String>,
        value: impl Into<Value>,
        supported: &[S],
    ) -> Self {
        let detail = if supported.is_empty() {
            String::new()
        } else {
            let quoted: Vec<String> = supported.iter().map(|text| quote(text.as_ref())).collect();
            format!("supported values: {}", quoted.join(", "))
        };
        Self::new(FieldErrorKind::NotSupported, field, value.into(), detail)
    }

    /// A list that holds something else than one of these.
    pub fn not_supported_list(
        field: impl Into<String>,
        values: &[&str],
        supported: &[&str],
    ) -> Self {
        let mut error = Self::not_supported(field, "", supported);
        error.value = values.iter().copied().collect();
        error
    }

    /// `field: Duplicate value: value`
    pub fn duplicate(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::Duplicate, field, value.into(), "")
    }

    /// `field: Too long: may not be more than 63 bytes`
    pub fn too_long(field: impl Into<String>, max_bytes: usize) -> Self {
        let detail = format!("may not be more than {max_bytes} bytes");
        Self::new(FieldErrorKind::TooLong, field, Value::Null, detail)
    }

    /// `field: Too many: 3: must have at most 2 items`
    pub fn too_many(field: impl Into<String>, actual: usize, max: usize) -> Self {
        let detail = format!("must have at most {max} items");
        Self::new(FieldErrorKind::TooMany, field, actual.into(), detail)
    }

    /// `field: Forbidden: detail`
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, field, Value::Null, detail)
    }

    /// `field: Not found: "value"`
    pub fn not_found(field: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::NotFound, field, value.into(), "")
    }

    /// `field: Internal error: detail`
    pub fn internal(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Internal, field, Value::Null, detail)
    }

    /// The same error in an object that holds this one at `prefix`.
    pub fn under(mut self, prefix: &str) -> Self {
        self.field = join(prefix, &self.field);
        self
    }

    /// Everything but the field: `Invalid value: "y": detail`.
    pub fn body(&self) -> String {
        let mut text = self.kind.words().to_owned();
        if self.kind.shows_value() {
            text.push_str(": ");
            text.push_str(&show(self.kind, &self.value));
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            write!(f, "{NO_FIELD}: {}", self.body())
        } else {
            write!(f, "{}: {}", self.field, self.body())
        }
    }
}

impl std::error::Error for FieldError {}

/// Two paths behind each other; either may be empty, the second may start with an index.
pub fn join(prefix: &str, rest: &str) -> String {
    match (prefix.is_empty(), rest.is_empty()) {
        (true, _) => rest.to_owned(),
        (_, true) => prefix.to_owned(),
        _ if rest.starts_with('[') => format!("{prefix}{rest}"),
        _ => format!("{prefix}.{rest}"),
    }
}

/// `prefix[3]`
pub fn index(prefix: &str, index: usize) -> String {
    format!("{prefix}[{index}]")
}

/// `prefix[key]`, as entries of maps with free keys are named.
pub fn key(prefix: &str, key: &str) -> String {
    format!("{prefix}[{key}]")
}

/// Text in double quotes with the escapes of a Go string literal.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                out.push_str(&format!("\\x{:02x}", c as u32))
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A value as an error shows it: scalars plain, the rest in Go's syntax, which is what Kubernetes prints.
fn show(kind: FieldErrorKind, value: &Value) -> String {
    match value {
        Value::Null => quote("null"),
        // Entries that stand twice are found by a schema, which knows no types of Go.
        other if kind == FieldErrorKind::Duplicate => go_syntax(other, false),
        other => go_syntax(other, true),
    }
}

/// `typed` says whether maps and lists of texts are of that type, as labels are, or of any.
fn go_syntax(value: &Value, typed: bool) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::String(text) => quote(text),
        Value::Array(items) => {
            let all_text = typed && !items.is_empty() && items.iter().all(Value::is_string);
            let items: Vec<String> = items.iter().map(|item| go_syntax(item, typed)).collect();
            let item = if all_text { "string" } else { "interface {}" };
            format!("[]{item}{{{}}}", items.join(", "))
        }
        Value::Object(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(name, value)| format!("{}:{}", quote(name), go_syntax(value, typed)))
                .collect();
            // Labels and their like are the maps of texts there are.
            let all_text = typed && !map.is_empty() && map.values().all(Value::is_string);
            let value = if all_text { "string" } else { "interface {}" };
            format!("map[string]{value}{{{}}}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn errors_print_in_the_words_clients_match() {
        let cases = [
            (FieldError::required("spec.x", ""), "spec.x: Required value"),
            (
                FieldError::invalid("spec.x", "y", "bad"),
                r#"spec.x: Invalid value: "y": bad"#,
            ),
            (
                FieldError::invalid("spec.replicas", -1, "no"),
                "spec.replicas: Invalid value: -1: no",
            ),
            (
                FieldError::not_supported("spec.type", "c", &["a", "b"]),
                r#"spec.type: Unsupported value: "c": supported values: "a", "b""#,
            ),
            (
                FieldError::duplicate("spec.x[1]", json!({"name": "a"})),
                r#"spec.x[1]: Duplicate value: map[string]interface {}{"name":"a"}"#,
            ),
            (
                FieldError::invalid("spec.x", json!([{"a": null}, 1]), "odd"),
                r#"spec.x: Invalid value: []interface {}{map[string]interface {}{"a":interface {}(nil)}, 1}: odd"#,
            ),
            (
                FieldError::too_long("metadata.name", 63),
                "metadata.name: Too long: may not be more than 63 bytes",
            ),
            (
                FieldError::too_many("spec.x", 3, 1),
                "spec.x: Too many: 3: must have at most 1 items",
            ),
            (
                FieldError::forbidden("spec", "is immutable"),
                "spec: Forbidden: is immutable",
            ),
            (
                FieldError::not_found("spec.x", "y"),
                r#"spec.x: Not found: "y""#,
            ),
            (
                FieldError::type_invalid("a", Value::Null, "d"),
                r#"a: Invalid value: "null": d"#,
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn paths_join_without_doubled_or_missing_dots() {
        assert_eq!(join("spec", "x"), "spec.x");
        assert_eq!(join("spec", "[0].x"), "spec[0].x");
        assert_eq!(join("", "x"), "x");
        assert_eq!(join("spec", ""), "spec");
        assert_eq!(
            FieldError::required("name", "").under("spec.a[1]").field,
            "spec.a[1].name"
        );
    }

    #[test]
    fn quotes_and_control_characters_are_escaped() {
        assert_eq!(quote("a\"b\\\n\u{1}"), r#""a\"b\\\n\x01""#);
    }
}
