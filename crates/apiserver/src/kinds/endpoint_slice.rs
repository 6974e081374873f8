//! EndpointSlices.

use std::collections::HashSet;

use objects::FieldError;
use serde_json::Value;

use super::Strategy;
use super::endpoints::{validate_address, validate_protocol};
use super::fields::{each, fill, fill_text, is_empty, list, text};

pub(super) struct EndpointSlice;

impl Strategy for EndpointSlice {
    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        let Some(fields) = object.as_object_mut() else {
            return;
        };
        for port in each(fields, "ports") {
            fill(port, "name", "");
            fill_text(port, "protocol", "TCP");
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let kinds = ["FQDN", "IPv4", "IPv6"];
        let kind = text(&object["addressType"]);
        if kind.is_empty() {
            errors.push(FieldError::required("addressType", ""));
        } else if !kinds.contains(&kind) {
            errors.push(FieldError::not_supported("addressType", kind, &kinds));
        }
        for (index, endpoint) in list(&object["endpoints"]).enumerate() {
            let path = format!("endpoints[{index}].addresses");
            if is_empty(&endpoint["addresses"]) {
                errors.push(FieldError::required(
                    path.as_str(),
                    "must contain at least 1 address",
                ));
            }
            if kind == "FQDN" {
                continue;
            }
            for (at, address) in list(&endpoint["addresses"]).enumerate() {
                let ip = text(address);
                let family = match ip.parse() {
                    Ok(std::net::IpAddr::V4(_)) => "IPv4",
                    Ok(std::net::IpAddr::V6(_)) => "IPv6",
                    Err(_) => kind,
                };
                if family != kind {
                    let detail = format!("must be an {kind} address");
                    errors.push(FieldError::invalid(path.as_str(), ip, detail));
                }
                validate_address(ip, &format!("{path}[{at}]"), &mut errors);
            }
        }
        let mut seen = HashSet::new();
        for (index, port) in list(&object["ports"]).enumerate() {
            let path = format!("ports[{index}]");
            let name = text(&port["name"]);
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(format!("{path}.name"), name));
            }
            validate_protocol(&port["protocol"], &format!("{path}.protocol"), &mut errors);
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        super::workload::immutable(object, old, "addressType", &mut errors);
        errors
    }
}
