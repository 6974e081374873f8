//! Which objects of a collection a list, watch or deletecollection is about.

use objects::selector::{FieldOperator, FieldRequirement, FieldSelector, LabelSelector};

use super::Call;
use crate::error::ApiError;
use crate::registry::Resource;
use crate::store::Entry;

/// Label and field selectors of a request.
#[derive(Clone, Debug)]
pub struct Selection {
    labels: Option<LabelSelector>,
    fields: Vec<FieldRequirement>,
}

impl Selection {
    /// Reads the selectors of a request.
    pub fn of(call: &Call) -> Result<Self, ApiError> {
        let labels = match call.query.get("labelSelector") {
            None => None,
            Some(text) => Some(
                LabelSelector::parse(text).map_err(|err| ApiError::bad_request(err.to_string()))?,
            ),
        };
        let mut fields = Vec::new();
        if let Some(text) = call.query.get("fieldSelector") {
            let selector =
                FieldSelector::parse(text).map_err(|err| ApiError::bad_request(err.to_string()))?;
            for requirement in selector.requirements() {
                if !call.resource.is_selectable(&requirement.field) {
                    return Err(ApiError::bad_request(format!(
                        "field label not supported: {}",
                        requirement.field
                    )));
                }
                fields.push(requirement.clone());
            }
        }
        if !call.name.is_empty() {
            fields.push(FieldRequirement {
                field: "metadata.name".into(),
                operator: FieldOperator::Equals,
                value: call.name.clone(),
            });
        }
        Ok(Self { labels, fields })
    }

    /// Whether everything is selected.
    pub fn is_everything(&self) -> bool {
        self.labels.is_none() && self.fields.is_empty()
    }

    /// The only name that can match, if there is one.
    pub fn only_name(&self) -> Option<&str> {
        self.fields
            .iter()
            .find(|requirement| {
                requirement.field == "metadata.name"
                    && requirement.operator == FieldOperator::Equals
            })
            .map(|requirement| requirement.value.as_str())
    }

    /// Whether an object at `key` is selected.
    pub fn matches(&self, resource: &Resource, key: &str, entry: &Entry) -> bool {
        let (namespace, name) = key.split_once('/').unwrap_or(("", key));
        self.fields.iter().all(|requirement| {
            let is_equal = match requirement.field.as_str() {
                "metadata.name" => requirement.value == name,
                "metadata.namespace" => requirement.value == namespace,
                path => resource.field_value(entry, path) == requirement.value,
            };
            is_equal == (requirement.operator == FieldOperator::Equals)
        }) && self
            .labels
            .as_ref()
            .is_none_or(|labels| labels.matches(entry.labels()))
    }
}
