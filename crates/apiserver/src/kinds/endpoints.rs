//! Endpoints.

use objects::FieldError;
use serde_json::Value;

use super::Strategy;
use super::fields::{each, fill_text, is_empty, list, text};
use super::service::number_in_range;

pub(super) struct Endpoints;

impl Strategy for Endpoints {
    fn default(&self, object: &mut Value) {
        let Some(fields) = object.as_object_mut() else {
            return;
        };
        for subset in each(fields, "subsets") {
            for port in each(subset, "ports") {
                fill_text(port, "protocol", "TCP");
            }
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for (index, subset) in list(&object["subsets"]).enumerate() {
            let path = format!("subsets[{index}]");
            if is_empty(&subset["addresses"]) && is_empty(&subset["notReadyAddresses"]) {
                errors.push(FieldError::required(
                    path.as_str(),
                    "must specify `addresses` or `notReadyAddresses`",
                ));
            }
            for kind in ["addresses", "notReadyAddresses"] {
                for (at, address) in list(&subset[kind]).enumerate() {
                    let field = format!("{path}.{kind}[{at}].ip");
                    let ip = text(&address["ip"]);
                    if ip.parse::<std::net::IpAddr>().is_err() {
                        errors.push(FieldError::invalid(
                            field.as_str(),
                            ip,
                            "must be a valid IP address",
                        ));
                    }
                    validate_address(ip, &field, &mut errors);
                }
            }
            let has_many = list(&subset["ports"]).count() > 1;
            for (at, port) in list(&subset["ports"]).enumerate() {
                number_in_range(
                    &port["port"],
                    &format!("{path}.ports[{at}].port"),
                    &mut errors,
                );
                validate_protocol(
                    &port["protocol"],
                    &format!("{path}.ports[{at}].protocol"),
                    &mut errors,
                );
                if has_many && is_empty(&port["name"]) {
                    errors.push(FieldError::required(format!("{path}.ports[{at}].name"), ""));
                }
            }
        }
        errors
    }
}

/// One of the protocols that are spoken over IP.
pub(super) fn validate_protocol(value: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let protocols = ["SCTP", "TCP", "UDP"];
    if !protocols.contains(&text(value)) {
        errors.push(FieldError::not_supported(field, text(value), &protocols));
    }
}

/// An address that traffic may be sent to: not this machine's own, not the link's.
pub(super) fn validate_address(ip: &str, field: &str, errors: &mut Vec<FieldError>) {
    use std::net::IpAddr;
    let Ok(address) = ip.parse::<IpAddr>() else {
        errors.push(FieldError::invalid(
            field,
            ip,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ));
        return;
    };
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    for (is_wrong, detail) in [
        (
            address.is_unspecified(),
            "may not be unspecified (0.0.0.0 or ::)",
        ),
        (
            address.is_loopback(),
            "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (
            is_link_local,
            "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
        ),
    ] {
        if is_wrong {
            errors.push(FieldError::invalid(field, ip, detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn endpoints_never_point_at_loopback_or_cloud_metadata() {
        for (ip, is_fine) in [
            ("10.0.0.1", true),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("x", false),
        ] {
            let object = json!({"subsets": [{"addresses": [{"ip": ip}], "ports": [{"port": 1, "protocol": "TCP"}]}]});
            assert_eq!(
                Endpoints.validate_create(&object).is_empty(),
                is_fine,
                "{ip}"
            );
        }
    }
}
