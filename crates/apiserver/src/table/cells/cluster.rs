//! Namespaces, nodes, events and other things of the whole cluster.

use serde_json::{Value, json};

use super::super::{Printer, age, duration, name};
use super::{AGE, NAME, column, list, wide};

pub(super) static NAMESPACES: Printer = Printer {
    columns: &[NAME, column("Status", "string"), AGE],
    row: |object| vec![name(object), object["status"]["phase"].clone(), age(object)],
};

pub(super) static NODES: Printer = Printer {
    columns: &[
        NAME,
        column("Status", "string"),
        column("Roles", "string"),
        AGE,
        column("Version", "string"),
        wide("Internal-IP", "string"),
        wide("External-IP", "string"),
        wide("OS-Image", "string"),
        wide("Kernel-Version", "string"),
        wide("Container-Runtime", "string"),
    ],
    row: |node| {
        let info = &node["status"]["nodeInfo"];
        let ready = list(&node["status"]["conditions"])
            .iter()
            .find(|condition| condition["type"] == "Ready");
        let mut status = match ready {
            None => "Unknown".to_owned(),
            Some(condition) if condition["status"] == "True" => "Ready".into(),
            Some(_) => "NotReady".into(),
        };
        if node["spec"]["unschedulable"] == true {
            status.push_str(",SchedulingDisabled");
        }
        let mut roles: Vec<&str> = objects::meta::labels(node)
            .into_iter()
            .flatten()
            .filter_map(
                |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                    Some(role) => Some(role),
                    None if key == "kubernetes.io/role" => value.as_str(),
                    None => None,
                },
            )
            .filter(|role| !role.is_empty())
            .collect();
        roles.sort_unstable();
        let roles = if roles.is_empty() {
            "<none>".to_owned()
        } else {
            roles.join(",")
        };
        let address = |kind: &str| -> Value {
            list(&node["status"]["addresses"])
                .iter()
                .find(|address| address["type"] == kind)
                .map_or_else(|| json!("<none>"), |address| address["address"].clone())
        };
        let known = |field: &str| -> Value {
            info[field]
                .as_str()
                .filter(|text| !text.is_empty())
                .unwrap_or("<unknown>")
                .into()
        };
        vec![
            name(node),
            status.into(),
            roles.into(),
            age(node),
            info["kubeletVersion"].as_str().unwrap_or_default().into(),
            address("InternalIP"),
            address("ExternalIP"),
            known("osImage"),
            known("kernelVersion"),
            known("containerRuntimeVersion"),
        ]
    },
};

pub(super) static EVENTS: Printer = Printer {
    columns: &[
        column("Last Seen", "string"),
        column("Type", "string"),
        column("Reason", "string"),
        column("Object", "string"),
        wide("Subobject", "string"),
        wide("Source", "string"),
        column("Message", "string"),
        wide("First Seen", "string"),
        wide("Count", "string"),
        wide("Name", "string"),
    ],
    row: |event| {
        // One row function for both groups' field names.
        let pick = |core: &str, new: &str| -> Value {
            let value = &event[core];
            if value.is_null() {
                event[new].clone()
            } else {
                value.clone()
            }
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let event_time = text(&event["eventTime"]);
        let or_event_time = |time: Value| -> String {
            let time = time
                .as_str()
                .map(str::to_owned)
                .filter(|time| !time.is_empty());
            duration::since(
                time.or_else(|| Some(event_time.clone()).filter(|time| !time.is_empty()))
                    .as_deref(),
            )
        };
        let first = or_event_time(pick("firstTimestamp", "deprecatedFirstTimestamp"));
        let (last, count) = match event["series"]["lastObservedTime"].as_str() {
            Some(time) => (
                duration::since(Some(time)),
                event["series"]["count"].as_i64().unwrap_or(1),
            ),
            None => (
                or_event_time(pick("lastTimestamp", "deprecatedLastTimestamp")),
                pick("count", "deprecatedCount")
                    .as_i64()
                    .unwrap_or(1)
                    .max(1),
            ),
        };
        let about = pick("involvedObject", "regarding");
        let kind = text(&about["kind"]).to_lowercase();
        let object = match text(&about["name"]) {
            name if name.is_empty() => kind,
            name => format!("{kind}/{name}"),
        };
        let source = pick("source", "deprecatedSource");
        let mut component = text(&source["component"]);
        if component.is_empty() {
            component = text(&pick("reportingComponent", "reportingController"));
        }
        let host = match text(&source["host"]) {
            host if host.is_empty() => text(&event["reportingInstance"]),
            host => host,
        };
        let source = if host.is_empty() {
            component
        } else {
            format!("{component}, {host}")
        };
        vec![
            last.into(),
            event["type"].clone(),
            event["reason"].clone(),
            object.into(),
            text(&about["fieldPath"]).into(),
            source.into(),
            text(&pick("message", "note")).trim().into(),
            first.into(),
            count.into(),
            name(event),
        ]
    },
};

pub(super) static LEASES: Printer = Printer {
    columns: &[NAME, column("Holder", "string"), AGE],
    row: |object| {
        vec![
            name(object),
            object["spec"]["holderIdentity"]
                .as_str()
                .unwrap_or_default()
                .into(),
            age(object),
        ]
    },
};

pub(super) static PRIORITY_CLASSES: Printer = Printer {
    columns: &[
        NAME,
        column("Value", "integer"),
        column("Global-Default", "boolean"),
        AGE,
        column("PreemptionPolicy", "string"),
    ],
    row: |object| {
        vec![
            name(object),
            object["value"].clone(),
            object["globalDefault"].as_bool().unwrap_or(false).into(),
            age(object),
            object["preemptionPolicy"]
                .as_str()
                .unwrap_or("PreemptLowerPriority")
                .into(),
        ]
    },
};

pub(super) static RUNTIME_CLASSES: Printer = Printer {
    columns: &[NAME, column("Handler", "string"), AGE],
    row: |object| vec![name(object), object["handler"].clone(), age(object)],
};
