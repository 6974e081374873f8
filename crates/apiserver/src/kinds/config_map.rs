//! ConfigMaps.

use objects::{FieldError, names};
use serde_json::Value;

use super::Strategy;
use super::fields::is_same;

/// All keys and values together stay below one mebibyte.
pub(super) const DATA_MAX_BYTES: usize = 1024 * 1024;
pub(super) const IMMUTABLE: &str = "field is immutable when `immutable` is set";

pub(super) struct ConfigMap;

impl Strategy for ConfigMap {
    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut bytes = 0;
        for field in ["data", "binaryData"] {
            for (key, value) in object[field].as_object().into_iter().flatten() {
                let path = format!("{field}[{key}]");
                for detail in names::config_key(key) {
                    errors.push(FieldError::invalid(path.clone(), key.as_str(), detail));
                }
                if field == "binaryData" && object["data"].get(key).is_some() {
                    errors.push(FieldError::invalid(
                        format!("data[{key}]"),
                        key.as_str(),
                        "duplicate of key present in binaryData",
                    ));
                }
                bytes += value.as_str().map_or(0, str::len);
            }
        }
        if bytes > DATA_MAX_BYTES {
            errors.push(FieldError::too_long("[]", DATA_MAX_BYTES));
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = validate_frozen(object, old, &["data", "binaryData"]);
        errors.extend(self.validate_create(object));
        errors
    }
}

/// An immutable object keeps its data and stays immutable.
pub(super) fn validate_frozen(object: &Value, old: &Value, fields: &[&str]) -> Vec<FieldError> {
    if old["immutable"] != true {
        return Vec::new();
    }
    let mut errors = Vec::new();
    if object["immutable"] != true {
        errors.push(FieldError::forbidden("immutable", IMMUTABLE));
    }
    for field in fields {
        if !is_same(&object[*field], &old[*field]) {
            errors.push(FieldError::forbidden(*field, IMMUTABLE));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_file_names_and_not_given_twice() {
        let object = json!({"data": {"a/b": "x", "c": "y"}, "binaryData": {"c": "eQ=="}});
        let fields: Vec<String> = ConfigMap
            .validate_create(&object)
            .into_iter()
            .map(|error| error.field)
            .collect();
        assert_eq!(fields, ["data[a/b]", "data[c]"]);
    }

    #[test]
    fn an_immutable_map_stays_as_it_is() {
        let old = json!({"data": {"a": "1"}, "immutable": true});
        let new = json!({"data": {"a": "2"}});
        let errors: Vec<String> = ConfigMap
            .validate_update(&new, &old)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            errors,
            [
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ]
        );
        assert_eq!(
            ConfigMap.validate_update(&old, &json!({"data": {"a": "0"}})),
            []
        );
    }
}
