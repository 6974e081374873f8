//! Probes and lifecycle hooks: exactly one way to ask, sensible numbers.

use objects::{FieldError, names};
use serde_json::Value;

use super::super::fields::{is_empty, text};
use super::container::validate_port;
use super::{NOT_NEGATIVE, Place, invalid_all, one_of};

pub(super) fn validate_all(
    container: &Value,
    path: &str,
    place: Place,
    errors: &mut Vec<FieldError>,
) {
    let may_have = place == Place::Main || container["restartPolicy"] == "Always";
    for name in [
        "lifecycle",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
    ] {
        let value = &container[name];
        if value.is_null() {
            continue;
        }
        let field = format!("{path}.{name}");
        if !may_have {
            errors.push(FieldError::forbidden(
                field,
                "may not be set for init containers without restartPolicy=Always",
            ));
        } else if name == "lifecycle" {
            for hook in ["postStart", "preStop"] {
                if value[hook].is_object() {
                    handler(
                        &value[hook],
                        &format!("{field}.{hook}"),
                        HOOK_HANDLERS,
                        errors,
                    );
                }
            }
        } else {
            probe(value, &field, name != "readinessProbe", errors);
        }
    }
    if place == Place::Init {
        one_of(
            &container["restartPolicy"],
            &format!("{path}.restartPolicy"),
            &["Always"],
            errors,
        );
    } else if !is_empty(&container["restartPolicy"]) {
        errors.push(FieldError::forbidden(
            format!("{path}.restartPolicy"),
            "may not be set for non-init containers",
        ));
    }
}

const PROBE_HANDLERS: &[&str] = &["exec", "httpGet", "tcpSocket", "grpc"];
const HOOK_HANDLERS: &[&str] = &["exec", "httpGet", "tcpSocket", "sleep"];

fn probe(probe: &Value, path: &str, succeeds_at_once: bool, errors: &mut Vec<FieldError>) {
    handler(probe, path, PROBE_HANDLERS, errors);
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        if probe[field].as_i64().is_some_and(|number| number < 0) {
            errors.push(FieldError::invalid(
                format!("{path}.{field}"),
                probe[field].clone(),
                NOT_NEGATIVE,
            ));
        }
    }
    let grace = &probe["terminationGracePeriodSeconds"];
    let field = format!("{path}.terminationGracePeriodSeconds");
    if grace.as_i64().is_some_and(|seconds| seconds <= 0) {
        errors.push(FieldError::invalid(
            field.clone(),
            grace.clone(),
            "must be greater than 0",
        ));
    }
    if !succeeds_at_once && !grace.is_null() {
        errors.push(FieldError::invalid(
            field,
            grace.clone(),
            "must not be set for readinessProbes",
        ));
    }
    let successes = &probe["successThreshold"];
    if succeeds_at_once && successes.as_i64().is_some_and(|number| number != 1) {
        let field = format!("{path}.successThreshold");
        errors.push(FieldError::invalid(field, successes.clone(), "must be 1"));
    }
}

fn handler(value: &Value, path: &str, kinds: &[&str], errors: &mut Vec<FieldError>) {
    let mut present = kinds.iter().filter(|kind| !value[**kind].is_null());
    let Some(kind) = present.next() else {
        errors.push(FieldError::required(path, "must specify a handler type"));
        return;
    };
    for other in present {
        errors.push(FieldError::forbidden(
            format!("{path}.{other}"),
            "may not specify more than 1 handler type",
        ));
    }
    let (handler, path) = (&value[*kind], format!("{path}.{kind}"));
    match *kind {
        "exec" if is_empty(&handler["command"]) => {
            errors.push(FieldError::required(format!("{path}.command"), ""));
        }
        "httpGet" => {
            if is_empty(&handler["path"]) {
                errors.push(FieldError::required(format!("{path}.path"), ""));
            }
            port(&handler["port"], &format!("{path}.port"), errors);
            one_of(
                &handler["scheme"],
                &format!("{path}.scheme"),
                &["HTTP", "HTTPS"],
                errors,
            );
        }
        "tcpSocket" | "grpc" => port(&handler["port"], &format!("{path}.port"), errors),
        _ => {}
    }
}

/// A port as a number, or as the name of one.
fn port(value: &Value, field: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::String(name) => invalid_all(names::port_name(name), field, text(value), errors),
        Value::Number(number) => validate_port(number.as_i64().unwrap_or_default(), field, errors),
        _ => errors.push(FieldError::required(field, "")),
    }
}
