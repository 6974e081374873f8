//! What extends the API: definitions, webhooks, admission policies.

use serde_json::Value;

use super::super::{Printer, age, name};
use super::{AGE, NAME, column, list};

pub(super) static DEFINITIONS: Printer = Printer {
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

pub(super) static WEBHOOKS: Printer = Printer {
    columns: &[NAME, column("Webhooks", "integer"), AGE],
    row: |object| {
        vec![
            name(object),
            (list(&object["webhooks"]).len() as i64).into(),
            age(object),
        ]
    },
};

pub(super) static ADMISSION_POLICIES: Printer = Printer {
    columns: &[
        NAME,
        column("Validations", "integer"),
        column("ParamKind", "string"),
        AGE,
    ],
    row: |object| {
        let kind = &object["spec"]["paramKind"];
        let shown = match kind {
            Value::Object(kind) => format!(
                "{}/{}",
                kind["apiVersion"].as_str().unwrap_or_default(),
                kind["kind"].as_str().unwrap_or_default()
            ),
            _ => "<unset>".into(),
        };
        vec![
            name(object),
            (list(&object["spec"]["validations"]).len() as i64).into(),
            shown.into(),
            age(object),
        ]
    },
};

pub(super) static ADMISSION_BINDINGS: Printer = Printer {
    columns: &[
        NAME,
        column("PolicyName", "string"),
        column("ParamRef", "string"),
        AGE,
    ],
    row: |object| {
        let spec = &object["spec"];
        let reference = &spec["paramRef"];
        let shown = match (reference["namespace"].as_str(), reference["name"].as_str()) {
            (_, None) => "<unset>".to_owned(),
            (None, Some(name)) => format!("*/{name}"),
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        };
        vec![
            name(object),
            spec["policyName"].clone(),
            shown.into(),
            age(object),
        ]
    },
};
