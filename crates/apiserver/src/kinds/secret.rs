//! Secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use objects::{FieldError, names};
use serde_json::Value;

use super::Strategy;
use super::config_map::{DATA_MAX_BYTES, validate_frozen};
use super::fields::{at_or_new, fill_text, is_empty, text};

pub(super) struct Secret;

impl Strategy for Secret {
    /// `stringData` is written, never read: it goes over `data` and is gone.
    fn default(&self, object: &mut Value) {
        let Some(fields) = object.as_object_mut() else {
            return;
        };
        fill_text(fields, "type", "Opaque");
        let is_readable = fields.get("stringData").is_none_or(|data| {
            data.is_null()
                || data
                    .as_object()
                    .is_some_and(|map| map.values().all(Value::is_string))
        });
        if !is_readable {
            return;
        }
        let Some(Value::Object(plain)) = fields.remove("stringData") else {
            return;
        };
        if plain.is_empty() {
            return;
        }
        if let Some(data) = at_or_new(fields, "data") {
            for (key, value) in plain {
                data.insert(key, STANDARD.encode(text(&value)).into());
            }
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut bytes = 0;
        for (key, value) in object["data"].as_object().into_iter().flatten() {
            for detail in names::config_key(key) {
                errors.push(FieldError::invalid(
                    format!("data[{key}]"),
                    key.as_str(),
                    detail,
                ));
            }
            bytes += text(value).len() / 4 * 3;
        }
        if bytes > DATA_MAX_BYTES {
            errors.push(FieldError::too_long("data", DATA_MAX_BYTES));
        }
        validate_type(object, &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        super::workload::immutable(object, old, "type", &mut errors);
        errors.extend(validate_frozen(object, old, &["data"]));
        errors.extend(self.validate_create(object));
        errors
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["type"]
    }
}

/// Some types promise certain keys.
fn validate_type(object: &Value, errors: &mut Vec<FieldError>) {
    let data = &object["data"];
    let mut required = |key: &str| {
        if data.get(key).is_none() {
            errors.push(FieldError::required(format!("data[{key}]"), ""));
        }
    };
    match text(&object["type"]) {
        "kubernetes.io/dockercfg" => required(".dockercfg"),
        "kubernetes.io/dockerconfigjson" => required(".dockerconfigjson"),
        "kubernetes.io/ssh-auth" => required("ssh-privatekey"),
        "kubernetes.io/tls" => {
            required("tls.crt");
            required("tls.key");
        }
        "kubernetes.io/basic-auth"
            if data.get("username").is_none() && data.get("password").is_none() =>
        {
            required("username");
            required("password");
        }
        "kubernetes.io/service-account-token" => {
            let account = "kubernetes.io/service-account.name";
            if is_empty(&object["metadata"]["annotations"][account]) {
                let field = format!("metadata.annotations[{account}]");
                errors.push(FieldError::required(field, ""));
            }
        }
        _ => {}
    }
    for key in [".dockercfg", ".dockerconfigjson"] {
        let decoded = STANDARD.decode(text(&data[key])).unwrap_or_default();
        let is_checked = object["type"] == format!("kubernetes.io/{}", &key[1..]).as_str();
        if is_checked
            && data.get(key).is_some()
            && serde_json::from_slice::<Value>(&decoded).is_err()
        {
            errors.push(FieldError::invalid(
                format!("data[{key}]"),
                "<secret contents redacted>",
                "invalid character in JSON",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn defaulted(mut secret: Value) -> Value {
        Secret.default(&mut secret);
        secret
    }

    #[test]
    fn plain_text_goes_over_data_and_is_never_kept() {
        assert_eq!(
            defaulted(json!({"data": {"a": "eA==", "b": "eQ=="}, "stringData": {"a": "new"}})),
            json!({"type": "Opaque", "data": {"a": "bmV3", "b": "eQ=="}})
        );
        assert_eq!(
            defaulted(json!({"stringData": null})),
            json!({"type": "Opaque"})
        );
    }

    #[test]
    fn a_type_never_changes_and_some_promise_keys() {
        let tls = json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "eA=="}});
        assert_eq!(
            Secret.validate_create(&tls)[0].to_string(),
            "data[tls.key]: Required value"
        );
        let (old, new) = (defaulted(json!({})), json!({"type": "other"}));
        assert_eq!(
            Secret.validate_update(&new, &old)[0].to_string(),
            r#"type: Invalid value: "other": field is immutable"#
        );
    }

    #[test]
    fn a_damaged_pull_secret_is_refused_without_showing_it() {
        let secret = json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "cGFzc3dvcmQ="}});
        let text = Secret.validate_create(&secret)[0].to_string();
        assert!(
            text.contains("redacted") && !text.contains("cGFzc3dvcmQ"),
            "{text}"
        );
    }
}
