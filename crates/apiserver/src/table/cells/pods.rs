//! Pods.

use serde_json::Value;

use super::super::{Printer, age, duration, name};
use super::{AGE, NAME, column, list, or_none, wide};

pub(super) static PODS: Printer = Printer {
    columns: &[
        NAME,
        column("Ready", "string"),
        column("Status", "string"),
        column("Restarts", "string"),
        AGE,
        wide("IP", "string"),
        wide("Node", "string"),
        wide("Nominated Node", "string"),
        wide("Readiness Gates", "string"),
    ],
    row,
};

fn row(pod: &Value) -> Vec<Value> {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let phase = Phase::of(pod);
    let gates = list(&spec["readinessGates"]);
    let gates = if gates.is_empty() {
        "<none>".to_owned()
    } else {
        let passed = gates
            .iter()
            .filter(|gate| condition(pod, gate["conditionType"].as_str().unwrap_or_default()))
            .count();
        format!("{passed}/{}", gates.len())
    };
    vec![
        name(pod),
        format!("{}/{}", phase.ready, phase.containers).into(),
        phase.reason.into(),
        phase.restarts.into(),
        age(pod),
        or_none(&status["podIP"]),
        or_none(&spec["nodeName"]),
        or_none(&status["nominatedNodeName"]),
        gates.into(),
    ]
}

fn condition(pod: &Value, kind: &str) -> bool {
    list(&pod["status"]["conditions"])
        .iter()
        .any(|condition| condition["type"] == kind && condition["status"] == "True")
}

/// The state of a pod in the words of the Status column.
struct Phase {
    reason: String,
    ready: usize,
    containers: usize,
    restarts: String,
}

impl Phase {
    fn of(pod: &Value) -> Self {
        let (spec, status) = (&pod["spec"], &pod["status"]);
        let mut reason = status["phase"].as_str().unwrap_or_default().to_owned();
        if let Some(given) = status["reason"].as_str().filter(|given| !given.is_empty()) {
            given.clone_into(&mut reason);
        }
        let gated = |condition: &Value| {
            condition["type"] == "PodScheduled" && condition["reason"] == "SchedulingGated"
        };
        if list(&status["conditions"]).iter().any(gated) {
            reason = "SchedulingGated".into();
        }
        let inits = list(&spec["initContainers"]);
        let is_sidecar = |name: &Value| {
            inits.iter().any(|container| {
                container["name"] == *name && container["restartPolicy"] == "Always"
            })
        };
        let mut containers = list(&spec["containers"]).len();
        containers += inits
            .iter()
            .filter(|container| container["restartPolicy"] == "Always")
            .count();
        let (mut ready, mut restarts, mut last_restart) = (0, 0, None);
        let (mut sidecar_restarts, mut last_sidecar_restart) = (0, None);
        let mut is_initializing = false;
        for (index, init) in list(&status["initContainerStatuses"]).iter().enumerate() {
            let count = init["restartCount"].as_u64().unwrap_or(0);
            restarts += count;
            last_restart = later(last_restart, init);
            let sidecar = is_sidecar(&init["name"]);
            if sidecar {
                sidecar_restarts += count;
                last_sidecar_restart = later(last_sidecar_restart, init);
            }
            let (terminated, waiting) = (&init["state"]["terminated"], &init["state"]["waiting"]);
            if terminated.is_object() && terminated["exitCode"] == 0 {
                continue;
            }
            if sidecar && init["started"] == true {
                ready += usize::from(init["ready"] == true);
                continue;
            }
            reason = if terminated.is_object() {
                format!("Init:{}", ended(terminated))
            } else {
                match waiting["reason"]
                    .as_str()
                    .filter(|why| !why.is_empty() && *why != "PodInitializing")
                {
                    Some(why) => format!("Init:{why}"),
                    None => format!("Init:{index}/{}", inits.len()),
                }
            };
            is_initializing = true;
            break;
        }
        if !is_initializing || condition(pod, "Initialized") {
            restarts = sidecar_restarts;
            last_restart = last_sidecar_restart;
            let mut has_running = false;
            for container in list(&status["containerStatuses"]).iter().rev() {
                restarts += container["restartCount"].as_u64().unwrap_or(0);
                last_restart = later(last_restart, container);
                let state = &container["state"];
                if let Some(why) = state["waiting"]["reason"]
                    .as_str()
                    .filter(|why| !why.is_empty())
                {
                    why.clone_into(&mut reason);
                } else if state["terminated"].is_object() {
                    reason = ended(&state["terminated"]);
                } else if container["ready"] == true && state["running"].is_object() {
                    has_running = true;
                    ready += 1;
                }
            }
            if reason == "Completed" && has_running {
                reason = if condition(pod, "Ready") {
                    "Running".into()
                } else {
                    "NotReady".into()
                };
            }
        }
        if objects::meta::is_being_deleted(pod) {
            if status["reason"] == "NodeLost" {
                reason = "Unknown".into();
            } else if !matches!(status["phase"].as_str(), Some("Succeeded" | "Failed")) {
                reason = "Terminating".into();
            }
        }
        let restarts = match last_restart {
            Some(time) if restarts > 0 => {
                format!("{restarts} ({} ago)", duration::since(Some(&time)))
            }
            _ => restarts.to_string(),
        };
        Self {
            reason,
            ready,
            containers,
            restarts,
        }
    }
}

/// Why a container ended: its reason, or its signal or exit code.
fn ended(terminated: &Value) -> String {
    match (
        terminated["reason"].as_str().filter(|why| !why.is_empty()),
        terminated["signal"].as_i64().unwrap_or(0),
    ) {
        (Some(why), _) => why.to_owned(),
        (None, 0) => format!("ExitCode:{}", terminated["exitCode"].as_i64().unwrap_or(0)),
        (None, signal) => format!("Signal:{signal}"),
    }
}

fn later(known: Option<String>, container: &Value) -> Option<String> {
    // RFC 3339 in UTC sorts as text.
    let ended = container["lastState"]["terminated"]["finishedAt"]
        .as_str()
        .map(str::to_owned);
    known.max(ended)
}
