//! Controllers of pods.

use serde_json::{Value, json};

use super::super::{Printer, age, duration, name};
use super::{AGE, NAME, column, containers, list, number, or_none, pairs, selector, wide};

pub(super) static DEPLOYMENTS: Printer = Printer {
    columns: &[
        NAME,
        column("Ready", "string"),
        column("Up-to-date", "string"),
        column("Available", "string"),
        AGE,
        wide("Containers", "string"),
        wide("Images", "string"),
        wide("Selector", "string"),
    ],
    row: |object| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let [names, images] = containers(&spec["template"]["spec"]);
        vec![
            name(object),
            ready(object),
            number(&status["updatedReplicas"]).into(),
            number(&status["availableReplicas"]).into(),
            age(object),
            names,
            images,
            selector(&spec["selector"]),
        ]
    },
};

pub(super) static REPLICA_SETS: Printer = Printer {
    columns: REPLICA_COLUMNS,
    row: |object| replicas(object, false),
};

pub(super) static REPLICATION_CONTROLLERS: Printer = Printer {
    columns: REPLICA_COLUMNS,
    row: |object| replicas(object, true),
};

const REPLICA_COLUMNS: &[super::Column] = &[
    NAME,
    column("Desired", "integer"),
    column("Current", "integer"),
    column("Ready", "integer"),
    AGE,
    wide("Containers", "string"),
    wide("Images", "string"),
    wide("Selector", "string"),
];

fn replicas(object: &Value, is_plain_selector: bool) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let [names, images] = containers(&spec["template"]["spec"]);
    vec![
        name(object),
        number(&spec["replicas"]).into(),
        number(&status["replicas"]).into(),
        number(&status["readyReplicas"]).into(),
        age(object),
        names,
        images,
        if is_plain_selector {
            pairs(&spec["selector"])
        } else {
            selector(&spec["selector"])
        },
    ]
}

pub(super) static STATEFUL_SETS: Printer = Printer {
    columns: &[
        NAME,
        column("Ready", "string"),
        AGE,
        wide("Containers", "string"),
        wide("Images", "string"),
    ],
    row: |object| {
        let [names, images] = containers(&object["spec"]["template"]["spec"]);
        vec![name(object), ready(object), age(object), names, images]
    },
};

pub(super) static DAEMON_SETS: Printer = Printer {
    columns: &[
        NAME,
        column("Desired", "integer"),
        column("Current", "integer"),
        column("Ready", "integer"),
        column("Up-to-date", "integer"),
        column("Available", "integer"),
        column("Node Selector", "string"),
        AGE,
        wide("Containers", "string"),
        wide("Images", "string"),
        wide("Selector", "string"),
    ],
    row: |object| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let [names, images] = containers(&spec["template"]["spec"]);
        vec![
            name(object),
            number(&status["desiredNumberScheduled"]).into(),
            number(&status["currentNumberScheduled"]).into(),
            number(&status["numberReady"]).into(),
            number(&status["updatedNumberScheduled"]).into(),
            number(&status["numberAvailable"]).into(),
            pairs(&spec["template"]["spec"]["nodeSelector"]),
            age(object),
            names,
            images,
            selector(&spec["selector"]),
        ]
    },
};

pub(super) static CONTROLLER_REVISIONS: Printer = Printer {
    columns: &[
        NAME,
        column("Controller", "string"),
        column("Revision", "string"),
        AGE,
    ],
    row: |object| {
        let owner = objects::meta::controller(object).map_or_else(
            || "<none>".to_owned(),
            |owner| controller_name(owner.kind, owner.api_version, owner.name),
        );
        vec![
            name(object),
            owner.into(),
            number(&object["revision"]).into(),
            age(object),
        ]
    },
};

fn controller_name(kind: &str, api_version: &str, name: &str) -> String {
    let kind = kind.to_lowercase();
    match api_version.split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

pub(super) static POD_TEMPLATES: Printer = Printer {
    columns: &[
        NAME,
        column("Containers", "string"),
        column("Images", "string"),
        column("Pod Labels", "string"),
    ],
    row: |object| {
        let template = &object["template"];
        let [names, images] = containers(&template["spec"]);
        vec![
            name(object),
            names,
            images,
            pairs(&template["metadata"]["labels"]),
        ]
    },
};

pub(super) static JOBS: Printer = Printer {
    columns: &[
        NAME,
        column("Status", "string"),
        column("Completions", "string"),
        column("Duration", "string"),
        AGE,
        wide("Containers", "string"),
        wide("Images", "string"),
        wide("Selector", "string"),
    ],
    row: |object| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let succeeded = number(&status["succeeded"]);
        let completions = match (spec["completions"].as_i64(), number(&spec["parallelism"])) {
            (Some(wanted), _) => format!("{succeeded}/{wanted}"),
            (None, parallel) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
            (None, _) => format!("{succeeded}/1"),
        };
        let time = |field: &str| {
            status[field]
                .as_str()
                .and_then(|text| text.parse::<jiff::Timestamp>().ok())
        };
        let took = match (time("startTime"), time("completionTime")) {
            (None, _) => String::new(),
            (Some(start), Some(end)) => duration::human(end.as_second() - start.as_second()),
            (Some(start), None) => {
                duration::human(jiff::Timestamp::now().as_second() - start.as_second())
            }
        };
        let has = |kind: &str| {
            list(&status["conditions"])
                .iter()
                .any(|condition| condition["type"] == kind && condition["status"] == "True")
        };
        let state = if has("Complete") {
            "Complete"
        } else if has("Failed") {
            "Failed"
        } else if objects::meta::is_being_deleted(object) {
            "Terminating"
        } else if has("Suspended") {
            "Suspended"
        } else if has("FailureTarget") {
            "FailureTarget"
        } else if has("SuccessCriteriaMet") {
            "SuccessCriteriaMet"
        } else {
            "Running"
        };
        let [names, images] = containers(&spec["template"]["spec"]);
        vec![
            name(object),
            state.into(),
            completions.into(),
            took.into(),
            age(object),
            names,
            images,
            selector(&spec["selector"]),
        ]
    },
};

pub(super) static CRON_JOBS: Printer = Printer {
    columns: &[
        NAME,
        column("Schedule", "string"),
        column("Timezone", "string"),
        column("Suspend", "boolean"),
        column("Active", "integer"),
        column("Last Schedule", "string"),
        AGE,
        wide("Containers", "string"),
        wide("Images", "string"),
        wide("Selector", "string"),
    ],
    row: |object| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let last = match status["lastScheduleTime"].as_str() {
            None => "<none>".to_owned(),
            Some(time) => duration::since(Some(time)),
        };
        let template = &spec["jobTemplate"]["spec"];
        let [names, images] = containers(&template["template"]["spec"]);
        let suspended = match spec["suspend"].as_bool() {
            None => "<unset>".to_owned(),
            Some(true) => "True".into(),
            Some(false) => "False".into(),
        };
        vec![
            name(object),
            spec["schedule"].clone(),
            or_none(&spec["timeZone"]),
            suspended.into(),
            (list(&status["active"]).len() as i64).into(),
            last.into(),
            age(object),
            names,
            images,
            selector(&template["selector"]),
        ]
    },
};

pub(super) static AUTOSCALERS: Printer = Printer {
    columns: &[
        NAME,
        column("Reference", "string"),
        column("Targets", "string"),
        column("MinPods", "string"),
        column("MaxPods", "string"),
        column("Replicas", "string"),
        AGE,
    ],
    row: |object| {
        let (spec, status) = (&object["spec"], &object["status"]);
        let reference = &spec["scaleTargetRef"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        vec![
            name(object),
            format!("{}/{}", text(&reference["kind"]), text(&reference["name"])).into(),
            targets(spec, status).into(),
            spec["minReplicas"]
                .as_i64()
                .map_or_else(|| json!("<unset>"), |least| least.to_string().into()),
            number(&spec["maxReplicas"]).to_string().into(),
            number(&status["currentReplicas"]).into(),
            age(object),
        ]
    },
};

fn targets(spec: &Value, status: &Value) -> String {
    let current = list(&status["currentMetrics"]);
    let show = |values: &Value, fields: &[&str]| -> Option<String> {
        fields.iter().find_map(|field| match &values[*field] {
            Value::Number(percent) if *field == "averageUtilization" => Some(format!("{percent}%")),
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    };
    let all: Vec<String> = list(&spec["metrics"])
        .iter()
        .enumerate()
        .map(|(index, metric)| {
            let kind = metric["type"].as_str().unwrap_or_default();
            let mut key: String = kind.to_owned();
            if let Some(first) = key.get_mut(..1) {
                first.make_ascii_lowercase();
            }
            let fields = ["averageUtilization", "averageValue", "value"];
            let target = show(&metric[&key]["target"], &fields).unwrap_or_else(|| "<auto>".into());
            let now = current
                .get(index)
                .and_then(|metric| show(&metric[&key]["current"], &fields));
            let label = metric[&key]["name"]
                .as_str()
                .map(|name| format!("{name}: "))
                .unwrap_or_default();
            format!(
                "{label}{}/{target}",
                now.unwrap_or_else(|| "<unknown>".into())
            )
        })
        .collect();
    match all.as_slice() {
        [] => "<none>".into(),
        [one, two, rest @ ..] if !rest.is_empty() => {
            format!("{one}, {two} + {} more...", rest.len())
        }
        some => some.join(", "),
    }
}

fn ready(object: &Value) -> Value {
    format!(
        "{}/{}",
        number(&object["status"]["readyReplicas"]),
        number(&object["spec"]["replicas"])
    )
    .into()
}
