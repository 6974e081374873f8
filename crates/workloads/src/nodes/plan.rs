//! What the age of a node's lease and its Ready condition call for.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::{Value, json};

/// How long a node may be silent: as long as kube-controller-manager waits.
const GRACE: SignedDuration = SignedDuration::from_secs(50);
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const NO_SCHEDULE: &str = "NoSchedule";

/// What to write, and when to look again.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// Conditions to set, by type.
    pub status: Option<Value>,
    /// The change of taints.
    pub taints: Option<Value>,
    /// When the lease will have run out.
    pub next: control::Next,
}

/// Plans for one node. `started` is when this controller began to listen: before that it cannot have missed anything.
pub fn plan(node: &Node, lease: Option<&Lease>, started: Timestamp, now: Timestamp) -> Plan {
    let conditions = node
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let ready = conditions
        .iter()
        .find(|condition| condition.type_ == "Ready");
    let heard = last_heard(node, lease, ready).max(Some(started));
    let left = heard
        .map(|heard| (heard + GRACE).duration_since(now))
        .filter(|left| left.is_positive());
    let is_silent = left.is_none() && ready.is_some();
    let status = is_silent.then(|| unknown(conditions, now)).flatten();
    let verdict = if is_silent {
        "Unknown"
    } else {
        ready.map_or("", |ready| ready.status.as_str())
    };
    Plan {
        status,
        taints: taints(node, verdict),
        next: left
            .map(|left| Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(0) + 1)),
    }
}

fn last_heard(
    node: &Node,
    lease: Option<&Lease>,
    ready: Option<&NodeCondition>,
) -> Option<Timestamp> {
    let renewed = lease
        .and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref())
        .map(|time| time.0);
    // A condition that this controller has set is no sign of life.
    let beat = ready
        .filter(|ready| ready.status != "Unknown")
        .and_then(|ready| ready.last_heartbeat_time.as_ref());
    let created = node.creation_timestamp().map(|time| time.0);
    renewed.max(beat.map(|time| time.0)).max(created)
}

fn unknown(conditions: &[NodeCondition], now: Timestamp) -> Option<Value> {
    let changed: Vec<Value> = conditions
        .iter()
        .filter(|condition| {
            matches!(
                condition.type_.as_str(),
                "Ready" | "MemoryPressure" | "DiskPressure" | "PIDPressure"
            ) && condition.status != "Unknown"
        })
        .map(|condition| {
            json!({
                "type": condition.type_,
                "status": "Unknown",
                "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.",
                "lastTransitionTime": Time(now),
            })
        })
        .collect();
    (!changed.is_empty()).then(|| json!({"status": {"conditions": changed}}))
}

fn taints(node: &Node, ready: &str) -> Option<Value> {
    let wanted = match ready {
        "True" => None,
        "False" => Some(NOT_READY),
        "Unknown" => Some(UNREACHABLE),
        // A node that has not reported yet keeps whatever it came with.
        _ => return None,
    };
    let held = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    let is_ours = |taint: &Taint| {
        taint.effect == NO_SCHEDULE && [NOT_READY, UNREACHABLE].contains(&taint.key.as_str())
    };
    let mut taints: Vec<Taint> = held
        .iter()
        .filter(|taint| !is_ours(taint) || Some(taint.key.as_str()) == wanted)
        .cloned()
        .collect();
    if let Some(key) = wanted
        && !taints.iter().any(is_ours)
    {
        taints.push(Taint {
            key: key.to_owned(),
            effect: NO_SCHEDULE.to_owned(),
            ..Taint::default()
        });
    }
    let taints_json = if taints.is_empty() {
        Value::Null
    } else {
        json!(taints)
    };
    (taints != held).then(|| {
        json!({
            "metadata": {"uid": node.uid(), "resourceVersion": node.resource_version()},
            "spec": {"taints": taints_json},
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T10:00:00Z".parse().unwrap()
    }

    fn long_ago() -> Timestamp {
        Timestamp::UNIX_EPOCH
    }

    fn node(ready: &str, taints: Value) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n", "creationTimestamp": "2026-01-01T08:00:00Z"},
            "spec": {"taints": taints},
            "status": {"conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {"type": "Ready", "status": ready, "lastHeartbeatTime": "2026-01-01T09:00:00Z"},
            ]},
        }))
        .unwrap()
    }

    fn lease(renewed: &str) -> Lease {
        serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": {"renewTime": renewed}}))
            .unwrap()
    }

    #[test]
    fn a_node_that_is_heard_of_is_left_alone_until_its_lease_runs_out() {
        let plan = plan(
            &node("True", json!(null)),
            Some(&lease("2026-01-01T09:59:50.000000Z")),
            long_ago(),
            now(),
        );
        assert_eq!((plan.status, plan.taints), (None, None));
        assert_eq!(plan.next, Some(Duration::from_millis(40_001)));
    }

    #[test]
    fn a_controller_that_has_just_started_waits_before_it_judges() {
        let just_now = "2026-01-01T09:59:55Z".parse().unwrap();
        let plan = plan(
            &node("True", json!(null)),
            Some(&lease("2026-01-01T08:00:00.000000Z")),
            just_now,
            now(),
        );
        assert_eq!(plan.status, None);
        assert_eq!(plan.next, Some(Duration::from_millis(45_001)));
    }

    #[test]
    fn a_silent_node_becomes_unknown_and_unreachable() {
        let plan = plan(
            &node("True", json!(null)),
            Some(&lease("2026-01-01T09:59:00.000000Z")),
            long_ago(),
            now(),
        );
        let conditions = plan.status.unwrap()["status"]["conditions"].clone();
        assert_eq!(conditions.as_array().unwrap().len(), 2);
        assert_eq!(conditions[1]["reason"], "NodeStatusUnknown");
        assert_eq!(
            plan.taints.unwrap()["spec"]["taints"][0]["key"],
            UNREACHABLE
        );
        assert_eq!(plan.next, None);
    }

    #[test]
    fn a_node_that_is_ready_again_loses_our_taint_and_no_other() {
        let taints = json!([
            {"key": UNREACHABLE, "effect": "NoSchedule"},
            {"key": "dedicated", "effect": "NoSchedule"},
        ]);
        let plan = plan(
            &node("True", taints),
            Some(&lease("2026-01-01T09:59:59.000000Z")),
            long_ago(),
            now(),
        );
        assert_eq!(
            plan.taints.unwrap()["spec"]["taints"],
            json!([{"key": "dedicated", "effect": "NoSchedule"}])
        );
    }
}
