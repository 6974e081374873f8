//! Requests and limits: known names, whole numbers where only whole ones exist, request ≤ limit.

use objects::quantity::Quantity;
use objects::{FieldError, names};
use serde_json::Value;

use super::{NOT_NEGATIVE, invalid_all};

/// Resources without a domain that a container may ask for.
const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

pub(super) fn validate(resources: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let has = |prefix: &str| {
        ["limits", "requests"]
            .into_iter()
            .flat_map(|kind| resources[kind].as_object().into_iter().flatten())
            .any(|(name, _)| name.starts_with(prefix))
    };
    if has("hugepages-") && !has("cpu") && !has("memory") {
        errors.push(FieldError::forbidden(
            path,
            "HugePages require cpu or memory",
        ));
    }
    let (limits, requests) = (&resources["limits"], &resources["requests"]);
    for (list, path) in [
        (limits, format!("{path}.limits")),
        (requests, format!("{path}.requests")),
    ] {
        for name in list.as_object().into_iter().flat_map(|map| map.keys()) {
            resource_name(name, &format!("{path}[{name}]"), errors);
        }
        if list == limits {
            validate_resource_list(list, &path, errors);
        }
    }
    for (name, request) in requests.as_object().into_iter().flatten() {
        let field = format!("{path}.requests");
        let Ok(request) = Quantity::from_json(request) else {
            continue;
        };
        match limits
            .get(name)
            .and_then(|limit| Quantity::from_json(limit).ok())
        {
            Some(limit) if is_extended(name) && request != limit => {
                let detail = format!("must be equal to {name} limit of {}", limit.canonical());
                errors.push(FieldError::invalid(field, request.canonical(), detail));
            }
            Some(limit) if request > limit => {
                let detail = format!(
                    "must be less than or equal to {name} limit of {}",
                    limit.canonical()
                );
                errors.push(FieldError::invalid(field, request.canonical(), detail));
            }
            None if is_extended(name) => errors.push(FieldError::required(
                format!("{path}.limits"),
                "Limit must be set for non overcommitable resources",
            )),
            _ => {}
        }
    }
    validate_resource_list(requests, &format!("{path}.requests"), errors);
}

/// Amounts of resources by name: quantities, not negative, whole for what cannot be split.
pub(in super::super) fn validate_resource_list(
    list: &Value,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    for (name, value) in list.as_object().into_iter().flatten() {
        let field = format!("{path}[{name}]");
        match Quantity::from_json(value) {
            Err(err) => errors.push(FieldError::invalid(field, value.clone(), err.to_string())),
            Ok(quantity) if quantity.signum() < 0 => {
                errors.push(FieldError::invalid(
                    field,
                    quantity.canonical(),
                    NOT_NEGATIVE,
                ));
            }
            Ok(quantity) if is_extended(name) && quantity.as_millis() % 1000 != 0 => {
                errors.push(FieldError::invalid(
                    field,
                    quantity.canonical(),
                    "must be an integer",
                ));
            }
            Ok(_) => {}
        }
    }
}

fn resource_name(name: &str, field: &str, errors: &mut Vec<FieldError>) {
    invalid_all(names::qualified_name(name), field, name, errors);
    let is_huge_page = name.starts_with("hugepages-");
    if !name.contains('/') && !STANDARD.contains(&name) && !is_huge_page {
        for detail in [
            "must be a standard resource type or fully qualified",
            "must be a standard resource for containers",
        ] {
            errors.push(FieldError::invalid(field, name, detail));
        }
    }
}

/// Devices and the like: named with a domain that is not Kubernetes' own, never shared or overcommitted.
fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| {
        domain != "kubernetes.io"
            && !domain.ends_with(".kubernetes.io")
            && !name.starts_with("requests.")
    })
}
