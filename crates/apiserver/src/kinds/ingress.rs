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
        let class = text(&spec["ingressClassName"]);
        subdomain(class, "spec.ingressClassName", &mut errors);
        for (index, tls) in list(&spec["tls"]).enumerate() {
            for (at, host) in list(&tls["hosts"]).enumerate() {
                let host = text(host);
                let field = format!("spec.tls[{index}].hosts[{at}]");
                subdomain(host.strip_prefix("*.").unwrap_or(host), &field, &mut errors);
            }
            let field = format!("spec.tls[{index}].secretName");
            subdomain(text(&tls["secretName"]), &field, &mut errors);
        }
        for (index, rule) in list(&spec["rules"]).enumerate() {
            let path = format!("spec.rules[{index}]");
            host(text(&rule["host"]), &format!("{path}.host"), &mut errors);
            if rule["http"].is_object() && is_empty(&rule["http"]["paths"]) {
                errors.push(FieldError::required(format!("{path}.http.paths"), ""));
            }
            for (at, route) in list(&rule["http"]["paths"]).enumerate() {
                validate_path(route, &format!("{path}.http.paths[{at}]"), &mut errors);
            }
        }
        errors
    }
}

fn subdomain(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        return;
    }
    for detail in names::dns_subdomain(name) {
        errors.push(FieldError::invalid(field, name, detail));
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
    let needs_slash = match text(&route["pathType"]) {
        "Exact" | "Prefix" => true,
        _ => route["pathType"] == "ImplementationSpecific" && !at.is_empty(),
    };
    if needs_slash && !at.starts_with('/') {
        errors.push(FieldError::invalid(
            format!("{path}.path"),
            at,
            "must be an absolute path",
        ));
    }
    for bad in ["//", "/./", "/../", "%2f", "%2F"] {
        if route["pathType"] != "ImplementationSpecific" && at.contains(bad) {
            errors.push(FieldError::invalid(
                format!("{path}.path"),
                at,
                format!("must not contain '{bad}'"),
            ));
        }
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
        (false, false) => errors.push(FieldError::invalid(
            path,
            "",
            "resource or service backend is required",
        )),
        (true, false) => {
            let service = &backend["service"];
            if is_empty(&service["name"]) {
                errors.push(FieldError::required(format!("{path}.service.name"), ""));
            }
            let port = text(&service["port"]["name"]);
            if !port.is_empty() {
                for detail in names::port_name(port) {
                    errors.push(FieldError::invalid(
                        format!("{path}.service.port.name"),
                        port,
                        detail,
                    ));
                }
            }
            let number = service["port"]["number"].as_i64().unwrap_or_default();
            if port.is_empty() && number == 0 {
                errors.push(FieldError::required(
                    path,
                    "port name or number is required",
                ));
            }
        }
        (false, true) => {}
    }
}
