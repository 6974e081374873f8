//! NetworkPolicies.

use objects::FieldError;
use objects::selector::LabelSelector;
use serde_json::{Value, json};

use super::Strategy;
use super::fields::{each, fill_text, is_empty, list, spec, text};

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
        selector(&spec["podSelector"], "spec.podSelector", &mut errors);
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for (index, rule) in list(&spec[direction]).enumerate() {
                for (at, peer) in list(&rule[peers]).enumerate() {
                    let path = format!("spec.{direction}[{index}].{peers}[{at}]");
                    validate_peer(peer, &path, &mut errors);
                }
            }
        }
        let types = ["Egress", "Ingress"];
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
    for key in ["podSelector", "namespaceSelector"] {
        if peer[key].is_object() {
            selector(&peer[key], &format!("{path}.{key}"), errors);
        }
    }
}

fn selector(selector: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if let Err(err) = LabelSelector::from_json(selector) {
        errors.push(FieldError::invalid(
            field,
            selector.clone(),
            err.to_string(),
        ));
    }
}
