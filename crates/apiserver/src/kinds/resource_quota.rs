//! ResourceQuotas. Enforcement is `admission`'s, `status.used` the quota controller's.

use objects::quantity::Quantity;
use objects::{FieldError, names};
use serde_json::{Value, json};

use super::fields::{canonical_amounts, list, spec, text};
use super::pod_validation::validate_resource_list;
use super::{Strategy, start_status};

pub(super) struct ResourceQuota;

impl Strategy for ResourceQuota {
    fn default(&self, object: &mut Value) {
        if let Some(spec) = spec(object) {
            canonical_amounts(spec, "hard");
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        start_status(object, json!({}));
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let spec = &object["spec"];
        validate_resource_list(&spec["hard"], "spec.hard", &mut errors);
        for (name, amount) in spec["hard"].as_object().into_iter().flatten() {
            validate_name(name, &mut errors);
            if is_counted(name)
                && let Ok(quantity) = Quantity::from_json(amount)
                && quantity.as_millis() % 1000 != 0
            {
                errors.push(FieldError::invalid(
                    format!("spec.hard[{name}]"),
                    quantity.canonical(),
                    "must be an integer",
                ));
            }
        }
        validate_scopes(spec, &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        super::workload::immutable(object, old, "spec.scopes", &mut errors);
        errors
    }
}

const SCOPES: [&str; 6] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
];

/// Kinds that are counted by a name of their own.
const COUNTED: [&str; 9] = [
    "pods",
    "services",
    "services.loadbalancers",
    "services.nodeports",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
];

fn is_counted(name: &str) -> bool {
    COUNTED.contains(&name) || name.starts_with("count/")
}

fn validate_name(name: &str, errors: &mut Vec<FieldError>) {
    let field = format!("spec.hard[{name}]");
    for detail in names::qualified_name(name) {
        errors.push(FieldError::invalid(field.clone(), name, detail));
    }
    let bare = name
        .trim_start_matches("requests.")
        .trim_start_matches("limits.");
    let is_amount = matches!(bare, "cpu" | "memory" | "ephemeral-storage" | "storage")
        || bare.starts_with("hugepages-");
    if !name.contains('/') && !is_counted(name) && !is_amount {
        for detail in [
            "must be a standard resource type or fully qualified",
            "must be a standard resource for quota",
        ] {
            errors.push(FieldError::invalid(field.clone(), name, detail));
        }
    }
}

fn validate_scopes(spec: &Value, errors: &mut Vec<FieldError>) {
    let scopes: Vec<&str> = list(&spec["scopes"]).map(text).collect();
    let mut complain = |detail: &str| {
        errors.push(FieldError::invalid(
            "spec.scopes",
            spec["scopes"].clone(),
            detail,
        ));
    };
    if scopes.iter().any(|scope| !SCOPES.contains(scope)) {
        complain("unsupported scope");
    }
    let conflicts = [
        ("BestEffort", "NotBestEffort"),
        ("Terminating", "NotTerminating"),
    ];
    if conflicts
        .iter()
        .any(|(one, other)| scopes.contains(one) && scopes.contains(other))
    {
        complain("conflicting scopes");
    }
    // Pods of best effort ask for nothing: only their number can be limited.
    let is_more_than_number = spec["hard"].as_object().is_some_and(|hard| {
        hard.keys()
            .any(|name| name != "pods" && name != "count/pods")
    });
    if scopes.contains(&"BestEffort") && is_more_than_number {
        complain("unsupported scope applied to resource");
    }
    let path = "spec.scopeSelector.matchExpressions";
    for term in list(&spec["scopeSelector"]["matchExpressions"]) {
        let scope = text(&term["scopeName"]);
        if !SCOPES.contains(&scope) {
            errors.push(FieldError::invalid(
                format!("{path}.scopeName"),
                scope,
                "unsupported scope",
            ));
        }
        if matches!(text(&term["operator"]), "In" | "NotIn") && list(&term["values"]).count() == 0 {
            errors.push(FieldError::required(
                format!("{path}.values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            ));
        }
    }
}
