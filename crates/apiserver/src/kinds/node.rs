//! Nodes.

use objects::FieldError;
use serde_json::Value;

use super::fields::{at, canonical_amounts, fill, is_empty, list, text};
use super::{Strategy, keep};

pub(super) struct Node;

impl Strategy for Node {
    /// What can be given to pods is, unless said otherwise, what there is.
    fn default(&self, object: &mut Value) {
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
    fn prepare_create(&self, _object: &mut Value) {}

    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep(object, old, "status");
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for (index, taint) in list(&object["spec"]["taints"]).enumerate() {
            let path = format!("spec.taints[{index}]");
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
        }
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        for field in ["podCIDR", "providerID"] {
            let before = &old["spec"][field];
            if !is_empty(before) && object["spec"][field] != *before {
                errors.push(FieldError::forbidden(
                    format!("spec.{field}"),
                    "node updates may not change this field once set",
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
