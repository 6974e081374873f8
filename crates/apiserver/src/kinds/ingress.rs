//! Ingresses: kept and checked; nothing routes by them yet.

use objects::{FieldError, names};
use serde_json::{Value, json};

use super::fields::{is_empty, list, text};
use super::{Strategy, start_status};

pub(super) struct Ingress;

impl Strategy for Ingress {
    fn has_generation(&self) -> bool {
        true
    }

    fn prepare_create(&self, object: &mut Value) {
        start_status(object, json!({"loadBalancer": {}}));
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let spec = &object["spec"];
        if is_empty(&spec["rules"]) && is_empty(&spec["defaultBackend"]) {
            errors.push(FieldError::invalid(
                "spec",
                spec.clone(),
                "either `defaultBackend` or `rules` must be specified",
            ));
        }
        if spec["defaultBackend"].is_object() {
            backend(&spec["defaultBackend"], "spec.defaultBackend", &mut errors);
        }
        for (index, rule) in list(&spec["rules"]).enumerate() {
            let path = format!("spec.rules[{index}]");
            host(text(&rule["host"]), &format!("{path}.host"), &mut errors);
            for (at, route) in list(&rule["http"]["paths"]).enumerate() {
                validate_path(route, &format!("{path}.http.paths[{at}]"), &mut errors);
            }
        }
        errors
    }
}

fn host(host: &str, field: &str, errors: &mut Vec<FieldError>) {
    if host.is_empty() {
        return;
    }
    if host.parse::<std::net::IpAddr>().is_ok() {
        errors.push(FieldError::invalid(
            field,
            host,
            "must be a DNS name, not an IP address",
        ));
        return;
    }
    for detail in names::dns_subdomain(host.strip_prefix("*.").unwrap_or(host)) {
        errors.push(FieldError::invalid(field, host, detail));
    }
}

fn validate_path(route: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let kinds = ["Exact", "ImplementationSpecific", "Prefix"];
    let field = format!("{path}.pathType");
    match text(&route["pathType"]) {
        "" => errors.push(FieldError::required(field, "pathType must be specified")),
        kind if !kinds.contains(&kind) => {
            errors.push(FieldError::not_supported(field, kind, &kinds))
        }
        _ => {}
    }
    let at = text(&route["path"]);
    let needs_slash = route["pathType"] != "ImplementationSpecific" || !at.is_empty();
    if needs_slash && !at.starts_with('/') {
        errors.push(FieldError::invalid(
            format!("{path}.path"),
            at,
            "must be an absolute path",
        ));
    }
    backend(&route["backend"], &format!("{path}.backend"), errors);
}

fn backend(backend: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match (
        backend["service"].is_object(),
        backend["resource"].is_object(),
    ) {
        (true, true) => errors.push(FieldError::invalid(
            path,
            "",
            "cannot set both resource and service backends",
        )),
        (false, false) => errors.push(FieldError::required(
            path,
            "port name or number is required",
        )),
        (true, false) => {
            let service = &backend["service"];
            if is_empty(&service["name"]) {
                errors.push(FieldError::required(format!("{path}.service.name"), ""));
            }
            if is_empty(&service["port"]["name"]) && is_empty(&service["port"]["number"]) {
                errors.push(FieldError::required(
                    path,
                    "port name or number is required",
                ));
            }
        }
        (false, true) => {}
    }
}
