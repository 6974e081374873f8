//! Volumes, claims and classes.

use serde_json::{Value, json};

use super::super::{Printer, age, name};
use super::{AGE, NAME, column, list, wide};

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn modes(value: &Value) -> String {
    let short = |mode: &Value| match mode.as_str() {
        Some("ReadWriteOnce") => Some("RWO"),
        Some("ReadOnlyMany") => Some("ROX"),
        Some("ReadWriteMany") => Some("RWX"),
        Some("ReadWriteOncePod") => Some("RWOP"),
        _ => None,
    };
    list(value)
        .iter()
        .filter_map(short)
        .collect::<Vec<_>>()
        .join(",")
}

/// The status with the word for a deletion under way.
fn phase(object: &Value) -> Value {
    if objects::meta::is_being_deleted(object) {
        "Terminating".into()
    } else {
        object["status"]["phase"].clone()
    }
}

const UNSET: &str = "<unset>";

pub(super) static VOLUMES: Printer = Printer {
    columns: &[
        NAME,
        column("Capacity", "string"),
        column("Access Modes", "string"),
        column("Reclaim Policy", "string"),
        column("Status", "string"),
        column("Claim", "string"),
        column("StorageClass", "string"),
        column("VolumeAttributesClass", "string"),
        column("Reason", "string"),
        AGE,
        wide("VolumeMode", "string"),
    ],
    row: |object| {
        let spec = &object["spec"];
        let claim = match &spec["claimRef"] {
            Value::Object(claim) => {
                format!("{}/{}", text(&claim["namespace"]), text(&claim["name"]))
            }
            _ => String::new(),
        };
        vec![
            name(object),
            text(&spec["capacity"]["storage"]).into(),
            modes(&spec["accessModes"]).into(),
            text(&spec["persistentVolumeReclaimPolicy"]).into(),
            phase(object),
            claim.into(),
            text(&spec["storageClassName"]).into(),
            spec["volumeAttributesClassName"]
                .as_str()
                .unwrap_or(UNSET)
                .into(),
            text(&object["status"]["reason"]).into(),
            age(object),
            spec["volumeMode"].as_str().unwrap_or(UNSET).into(),
        ]
    },
};

pub(super) static CLAIMS: Printer = Printer {
    columns: &[
        NAME,
        column("Status", "string"),
        column("Volume", "string"),
        column("Capacity", "string"),
        column("Access Modes", "string"),
        column("StorageClass", "string"),
        column("VolumeAttributesClass", "string"),
        AGE,
        wide("VolumeMode", "string"),
    ],
    row: |object| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let volume = text(&spec["volumeName"]);
        let (capacity, access) = if volume.is_empty() {
            (String::new(), String::new())
        } else {
            (
                text(&status["capacity"]["storage"]),
                modes(&status["accessModes"]),
            )
        };
        vec![
            name(object),
            phase(object),
            volume.into(),
            capacity.into(),
            access.into(),
            text(&spec["storageClassName"]).into(),
            spec["volumeAttributesClassName"]
                .as_str()
                .unwrap_or(UNSET)
                .into(),
            age(object),
            spec["volumeMode"].as_str().unwrap_or(UNSET).into(),
        ]
    },
};

pub(super) static CLASSES: Printer = Printer {
    columns: &[
        NAME,
        column("Provisioner", "string"),
        column("ReclaimPolicy", "string"),
        column("VolumeBindingMode", "string"),
        column("AllowVolumeExpansion", "string"),
        AGE,
    ],
    row: |object| {
        let mut title = objects::meta::name(object).to_owned();
        let is_default = [
            "storageclass.kubernetes.io/is-default-class",
            "storageclass.beta.kubernetes.io/is-default-class",
        ]
        .iter()
        .any(|key| objects::meta::annotation(object, key) == Some("true"));
        if is_default {
            title.push_str(" (default)");
        }
        vec![
            title.into(),
            object["provisioner"].clone(),
            object["reclaimPolicy"].as_str().unwrap_or("Delete").into(),
            object["volumeBindingMode"]
                .as_str()
                .unwrap_or("Immediate")
                .into(),
            object["allowVolumeExpansion"]
                .as_bool()
                .unwrap_or(false)
                .into(),
            age(object),
        ]
    },
};

pub(super) static ATTACHMENTS: Printer = Printer {
    columns: &[
        NAME,
        column("Attacher", "string"),
        column("PV", "string"),
        column("Node", "string"),
        column("Attached", "boolean"),
        AGE,
    ],
    row: |object| {
        let spec = &object["spec"];
        vec![
            name(object),
            spec["attacher"].clone(),
            text(&spec["source"]["persistentVolumeName"]).into(),
            spec["nodeName"].clone(),
            object["status"]["attached"]
                .as_bool()
                .unwrap_or(false)
                .into(),
            age(object),
        ]
    },
};

pub(super) static DRIVERS: Printer = Printer {
    columns: &[
        NAME,
        column("AttachRequired", "boolean"),
        column("PodInfoOnMount", "boolean"),
        column("StorageCapacity", "boolean"),
        column("TokenRequests", "string"),
        column("RequiresRepublish", "boolean"),
        column("Modes", "string"),
        AGE,
    ],
    row: |object| {
        let spec = &object["spec"];
        let joined = |values: Vec<String>, none: &str| -> Value {
            if values.is_empty() {
                json!(none)
            } else {
                values.join(",").into()
            }
        };
        vec![
            name(object),
            spec["attachRequired"].as_bool().unwrap_or(true).into(),
            spec["podInfoOnMount"].as_bool().unwrap_or(false).into(),
            spec["storageCapacity"].as_bool().unwrap_or(false).into(),
            joined(
                list(&spec["tokenRequests"])
                    .iter()
                    .map(|request| text(&request["audience"]))
                    .collect(),
                UNSET,
            ),
            spec["requiresRepublish"].as_bool().unwrap_or(false).into(),
            joined(
                list(&spec["volumeLifecycleModes"])
                    .iter()
                    .map(text)
                    .collect(),
                "<none>",
            ),
            age(object),
        ]
    },
};

pub(super) static NODES: Printer = Printer {
    columns: &[NAME, column("Drivers", "integer"), AGE],
    row: |object| {
        vec![
            name(object),
            (list(&object["spec"]["drivers"]).len() as i64).into(),
            age(object),
        ]
    },
};
