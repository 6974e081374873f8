//! Nodes.

use std::collections::HashSet;

use objects::FieldError;
use objects::field::FieldErrorKind;
use objects::quantity::Quantity;
use serde_json::{Value, json};

use super::fields::{at, at_or_new, canonical_amounts, fill, is_empty, list, spec, text};
use super::service::{NO_CIDR, is_cidr};
use super::workload::NOT_NEGATIVE;
use super::{Strategy, keep};

pub(super) struct Node;

impl Strategy for Node {
    /// The range of a node's pods stands in two fields, old and new. What can be given to pods is, unless said otherwise, what there is.
    fn default(&self, object: &mut Value) {
        if let Some(spec) = spec(object) {
            let range = spec.get("podCIDR").map(text).unwrap_or_default().to_owned();
            let first = spec
                .get("podCIDRs")
                .map(|ranges| text(&ranges[0]))
                .unwrap_or_default()
                .to_owned();
            match (range.is_empty(), first.is_empty()) {
                (false, true) => {
                    spec.insert("podCIDRs".into(), json!([range]));
                }
                (true, false) => {
                    spec.insert("podCIDR".into(), first.into());
                }
                _ => {}
            }
        }
        if let Some(status) = object
            .as_object_mut()
            .and_then(|fields| at(fields, "status"))
            && let Some(capacity) = status
                .get("capacity")
                .filter(|capacity| !capacity.is_null())
                .cloned()
        {
            fill(status, "allocatable", capacity);
            canonical_amounts(status, "capacity");
            canonical_amounts(status, "allocatable");
        }
    }

    /// A node that registers says at once what it has: its status is kept.
    fn prepare_create(&self, object: &mut Value) {
        let port = object
            .as_object_mut()
            .and_then(|fields| at_or_new(fields, "status"))
            .and_then(|status| at_or_new(status, "daemonEndpoints"))
            .and_then(|endpoints| at_or_new(endpoints, "kubeletEndpoint"));
        if let Some(port) = port {
            fill(port, "Port", 0);
        }
    }

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep(object, old, "status");
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut seen = HashSet::new();
        for (index, taint) in list(&object["spec"]["taints"]).enumerate() {
            // Kubernetes calls the place so.
            let path = format!("metadata.taints[{index}]");
            let key = text(&taint["key"]);
            for detail in objects::names::qualified_name(key) {
                errors.push(FieldError::invalid(format!("{path}.key"), key, detail));
            }
            let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
            let effect = text(&taint["effect"]);
            if effect.is_empty() {
                errors.push(FieldError::required(format!("{path}.effect"), ""));
            } else if !effects.contains(&effect) {
                errors.push(FieldError::not_supported(
                    format!("{path}.effect"),
                    effect,
                    &effects,
                ));
            }
            if !seen.insert((key, effect)) {
                errors.push(FieldError::new(
                    FieldErrorKind::Duplicate,
                    path,
                    taint.clone(),
                    "taints must be unique by key and effect pair",
                ));
            }
        }
        for (index, range) in list(&object["spec"]["podCIDRs"]).enumerate() {
            if !is_cidr(text(range)) {
                let field = format!("spec.podCIDRs[{index}]");
                errors.push(FieldError::invalid(field, text(range), NO_CIDR));
            }
        }
        for kind in ["capacity", "allocatable"] {
            for (name, amount) in object["status"][kind].as_object().into_iter().flatten() {
                if let Ok(quantity) = Quantity::from_json(amount)
                    && quantity.signum() < 0
                {
                    errors.push(FieldError::invalid(
                        format!("status.{kind}.{name}"),
                        quantity.canonical(),
                        NOT_NEGATIVE,
                    ));
                }
            }
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        for (field, shown) in [("podCIDR", "podCIDRs"), ("providerID", "providerID")] {
            let before = &old["spec"][field];
            if !is_empty(before) && object["spec"][field] != *before {
                errors.push(FieldError::forbidden(
                    format!("spec.{shown}"),
                    format!("node updates may not change {field} except from \"\" to valid"),
                ));
            }
        }
        errors
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["spec.unschedulable"]
    }

    fn selectable_field(&self, object: &Value, field: &str) -> String {
        match field {
            "spec.unschedulable" => (object["spec"]["unschedulable"] == true).to_string(),
            _ => super::read_path(object, field),
        }
    }
}
