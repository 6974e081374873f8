//! Roles, budgets, quotas and requests for certificates.

use serde_json::{Value, json};

use super::super::{Printer, age, duration, name};
use super::{AGE, NAME, column, list, number, wide};

pub(super) static ROLES: Printer = Printer {
    columns: &[NAME, column("Created At", "date")],
    row: |object| {
        vec![
            name(object),
            objects::meta::creation_timestamp(object)
                .unwrap_or_default()
                .into(),
        ]
    },
};

pub(super) static BINDINGS: Printer = Printer {
    columns: &[
        NAME,
        column("Role", "string"),
        AGE,
        wide("Users", "string"),
        wide("Groups", "string"),
        wide("ServiceAccounts", "string"),
    ],
    row: |object| {
        let role = &object["roleRef"];
        let of = |kind: &str| -> Value {
            let subjects = list(&object["subjects"])
                .iter()
                .filter(|subject| subject["kind"] == kind);
            let names: Vec<String> = subjects
                .map(|subject| {
                    let name = subject["name"].as_str().unwrap_or_default();
                    match subject["namespace"].as_str() {
                        Some(namespace) if kind == "ServiceAccount" => {
                            format!("{namespace}/{name}")
                        }
                        _ => name.to_owned(),
                    }
                })
                .collect();
            names.join(", ").into()
        };
        let text = |field: &str| role[field].as_str().unwrap_or_default();
        vec![
            name(object),
            format!("{}/{}", text("kind"), text("name")).into(),
            age(object),
            of("User"),
            of("Group"),
            of("ServiceAccount"),
        ]
    },
};

pub(super) static DISRUPTION_BUDGETS: Printer = Printer {
    columns: &[
        NAME,
        column("Min Available", "string"),
        column("Max Unavailable", "string"),
        column("Allowed Disruptions", "integer"),
        AGE,
    ],
    row: |object| {
        let shown = |value: &Value| -> Value {
            match value {
                Value::Null => json!("N/A"),
                Value::String(text) => text.as_str().into(),
                other => other.to_string().into(),
            }
        };
        let spec = &object["spec"];
        vec![
            name(object),
            shown(&spec["minAvailable"]),
            shown(&spec["maxUnavailable"]),
            number(&object["status"]["disruptionsAllowed"]).into(),
            age(object),
        ]
    },
};

pub(super) static QUOTAS: Printer = Printer {
    columns: &[
        NAME,
        column("Request", "string"),
        column("Limit", "string"),
        AGE,
    ],
    row: |object| {
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (resource, hard) in object["status"]["hard"].as_object().into_iter().flatten() {
            let used = object["status"]["used"][resource].as_str().unwrap_or("0");
            let shown = format!("{resource}: {used}/{}", hard.as_str().unwrap_or_default());
            if resource.starts_with("limits") {
                limits.push(shown)
            } else {
                requests.push(shown)
            }
        }
        vec![
            name(object),
            requests.join(", ").into(),
            limits.join(", ").into(),
            age(object),
        ]
    },
};

pub(super) static LIMIT_RANGES: Printer = Printer {
    columns: &[NAME, column("Created At", "date")],
    row: |object| {
        vec![
            name(object),
            objects::meta::creation_timestamp(object)
                .unwrap_or_default()
                .into(),
        ]
    },
};

pub(super) static SIGNING_REQUESTS: Printer = Printer {
    columns: &[
        NAME,
        AGE,
        column("SignerName", "string"),
        column("Requestor", "string"),
        column("RequestedDuration", "string"),
        column("Condition", "string"),
    ],
    row: |object| {
        let spec = &object["spec"];
        let has = |kind: &str| {
            list(&object["status"]["conditions"])
                .iter()
                .any(|condition| condition["type"] == kind)
        };
        let mut condition = if has("Denied") {
            "Denied".to_owned()
        } else if has("Approved") {
            "Approved".into()
        } else {
            "Pending".into()
        };
        if has("Failed") {
            condition.push_str(",Failed");
        }
        if object["status"]["certificate"]
            .as_str()
            .is_some_and(|certificate| !certificate.is_empty())
        {
            condition.push_str(",Issued");
        }
        vec![
            name(object),
            age(object),
            spec["signerName"].clone(),
            spec["username"].as_str().unwrap_or_default().into(),
            spec["expirationSeconds"].as_i64().map_or_else(
                || json!("<none>"),
                |seconds| duration::human(seconds).into(),
            ),
            condition.into(),
        ]
    },
};
