//! NetworkPolicies.

use objects::FieldError;
use serde_json::{Value, json};

use super::Strategy;
use super::fields::{each, fill_text, is_empty, list, spec, text};
use super::selector::validate_selector;
use super::service::{NO_CIDR, is_cidr};

pub(super) struct NetworkPolicy;

impl Strategy for NetworkPolicy {
    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = spec(object) else { return };
        for direction in ["ingress", "egress"] {
            for rule in each(spec, direction) {
                for port in each(rule, "ports") {
                    fill_text(port, "protocol", "TCP");
                }
            }
        }
        if spec.get("policyTypes").is_none_or(is_empty) {
            let has_egress = spec.get("egress").is_some_and(|rules| !is_empty(rules));
            let types = if has_egress {
                json!(["Ingress", "Egress"])
            } else {
                json!(["Ingress"])
            };
            spec.insert("policyTypes".into(), types);
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let spec = &object["spec"];
        validate_selector(&spec["podSelector"], "spec.podSelector", &mut errors);
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for (index, rule) in list(&spec[direction]).enumerate() {
                for (at, peer) in list(&rule[peers]).enumerate() {
                    let path = format!("spec.{direction}[{index}].{peers}[{at}]");
                    validate_peer(peer, &path, &mut errors);
                }
                for (at, port) in list(&rule["ports"]).enumerate() {
                    validate_port(
                        port,
                        &format!("spec.{direction}[{index}].ports[{at}]"),
                        &mut errors,
                    );
                }
            }
        }
        let types = ["Ingress", "Egress"];
        for (index, kind) in list(&spec["policyTypes"]).enumerate() {
            if !types.contains(&text(kind)) {
                let field = format!("spec.policyTypes[{index}]");
                errors.push(FieldError::not_supported(field, text(kind), &types));
            }
        }
        errors
    }
}

fn validate_peer(peer: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let has_selector = peer["podSelector"].is_object() || peer["namespaceSelector"].is_object();
    let has_block = peer["ipBlock"].is_object();
    if has_selector && has_block {
        errors.push(FieldError::forbidden(
            path,
            "may not specify both ipBlock and another peer",
        ));
    } else if !has_selector && !has_block {
        errors.push(FieldError::required(path, "must specify a peer"));
    }
    let block = text(&peer["ipBlock"]["cidr"]);
    if has_block && !is_cidr(block) {
        errors.push(FieldError::invalid(
            format!("{path}.ipBlock.cidr"),
            block,
            NO_CIDR,
        ));
    }
    for key in ["podSelector", "namespaceSelector"] {
        if peer[key].is_object() {
            validate_selector(&peer[key], &format!("{path}.{key}"), errors);
        }
    }
}

fn validate_port(port: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let protocols = ["TCP", "UDP", "SCTP"];
    let protocol = text(&port["protocol"]);
    if !protocols.contains(&protocol) {
        errors.push(FieldError::not_supported(
            format!("{path}.protocol"),
            protocol,
            &protocols,
        ));
    }
    let number = port["port"].as_i64();
    if number.is_some_and(|number| !(1..=65535).contains(&number)) {
        errors.push(FieldError::invalid(
            format!("{path}.port"),
            port["port"].clone(),
            "must be between 1 and 65535, inclusive",
        ));
    }
    if let (Some(number), Some(end)) = (number, port["endPort"].as_i64())
        && end < number
    {
        // The value shown is the port, as upstream shows it.
        errors.push(FieldError::invalid(
            format!("{path}.endPort"),
            number,
            "must be greater than or equal to `port`",
        ));
    }
}
