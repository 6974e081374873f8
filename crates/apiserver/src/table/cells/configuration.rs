//! ConfigMaps, Secrets and service accounts.

use serde_json::Value;

use super::super::{Printer, age, name};
use super::{AGE, NAME, column, list};

fn entries(map: &Value) -> i64 {
    map.as_object().map_or(0, |map| map.len() as i64)
}

pub(super) static CONFIG_MAPS: Printer = Printer {
    columns: &[NAME, column("Data", "string"), AGE],
    row: |object| {
        vec![
            name(object),
            (entries(&object["data"]) + entries(&object["binaryData"])).into(),
            age(object),
        ]
    },
};

pub(super) static SECRETS: Printer = Printer {
    columns: &[
        NAME,
        column("Type", "string"),
        column("Data", "string"),
        AGE,
    ],
    row: |object| {
        vec![
            name(object),
            object["type"].clone(),
            entries(&object["data"]).into(),
            age(object),
        ]
    },
};

pub(super) static SERVICE_ACCOUNTS: Printer = Printer {
    columns: &[NAME, column("Secrets", "string"), AGE],
    row: |object| {
        vec![
            name(object),
            (list(&object["secrets"]).len() as i64).into(),
            age(object),
        ]
    },
};
