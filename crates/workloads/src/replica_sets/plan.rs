//! How many pods to create, or which to delete: the ones whose loss costs least.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::pods::state;
use crate::templated::Templated;

/// The most pods created or deleted in one go.
const BURST: usize = 500;
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What to do about the number of pods.
#[derive(Debug)]
pub enum Plan {
    /// The number is right.
    Keep,
    /// Create this many.
    Create(usize),
    /// Delete these.
    Delete(Vec<Arc<Pod>>),
}

/// Compares the wanted number with the active pods. `on_node` answers the pods of a node, to spread what remains.
pub fn plan(
    wanted: i32,
    pods: &[Arc<Pod>],
    on_node: impl Fn(&str) -> Vec<Arc<Pod>>,
    set: &Templated<ReplicaSet>,
    now: Timestamp,
) -> Plan {
    let wanted = usize::try_from(wanted).unwrap_or(0);
    match pods.len().cmp(&wanted) {
        Ordering::Equal => Plan::Keep,
        Ordering::Less => Plan::Create((wanted - pods.len()).min(BURST)),
        Ordering::Greater => {
            let count = (pods.len() - wanted).min(BURST);
            Plan::Delete(victims(pods, count, on_node, set, now))
        }
    }
}

fn victims(
    pods: &[Arc<Pod>],
    count: usize,
    on_node: impl Fn(&str) -> Vec<Arc<Pod>>,
    set: &Templated<ReplicaSet>,
    now: Timestamp,
) -> Vec<Arc<Pod>> {
    let mut victims = pods.to_vec();
    if count < pods.len() {
        let mut crowding: HashMap<String, usize> = HashMap::new();
        for node in pods.iter().filter_map(|pod| state::node(pod)) {
            if !crowding.contains_key(node) {
                let related = on_node(node)
                    .iter()
                    .filter(|pod| is_related(pod, set))
                    .count();
                crowding.insert(node.to_owned(), related);
            }
        }
        let rank = |pod: &Pod| {
            state::node(pod)
                .and_then(|node| crowding.get(node))
                .copied()
                .unwrap_or(0)
        };
        victims.sort_by(|a, b| compare(a, b, &rank, now));
    }
    victims.truncate(count);
    victims
}

/// Whether a pod is of the same application: of this set, or of another set of the same owner (its deployment).
fn is_related(pod: &Pod, set: &Templated<ReplicaSet>) -> bool {
    let selects = set.spec.as_ref().is_some_and(|spec| {
        let mut selector = spec.selector.clone();
        if let Some(labels) = &mut selector.match_labels {
            labels.remove("pod-template-hash");
        }
        crate::selector::matches(&selector, pod.labels())
    });
    state::is_active(pod) && pod.namespace() == set.namespace() && selects
}

/// Less means deleted earlier.
fn compare(a: &Pod, b: &Pod, rank: &impl Fn(&Pod) -> usize, now: Timestamp) -> Ordering {
    let phase = |pod: &Pod| match state::phase(pod) {
        "Unknown" => 1,
        "Running" => 2,
        _ => 0,
    };
    let cost = |pod: &Pod| {
        pod.annotations()
            .get(DELETION_COST)
            .and_then(|cost| cost.parse::<i32>().ok())
            .unwrap_or(0)
    };
    let created = |pod: &Pod| pod.creation_timestamp().map(|time| time.0);
    state::node(a)
        .is_some()
        .cmp(&state::node(b).is_some())
        .then(phase(a).cmp(&phase(b)))
        .then(state::is_ready(a).cmp(&state::is_ready(b)))
        .then(cost(a).cmp(&cost(b)))
        .then(rank(b).cmp(&rank(a)))
        .then_with(|| match (state::ready_since(a), state::ready_since(b)) {
            (Some(a), Some(b)) => age_class(a, now).cmp(&age_class(b, now)),
            _ => Ordering::Equal,
        })
        .then(state::restarts(b).cmp(&state::restarts(a)))
        .then_with(|| match (created(a), created(b)) {
            (Some(a), Some(b)) => age_class(a, now).cmp(&age_class(b, now)),
            _ => Ordering::Equal,
        })
        .then_with(|| a.uid().cmp(&b.uid()))
}

/// Ages that differ by less than a factor of two count as equal; younger is less.
fn age_class(since: Timestamp, now: Timestamp) -> u32 {
    let seconds = now.duration_since(since).as_secs();
    u64::try_from(seconds)
        .unwrap_or(0)
        .checked_ilog2()
        .map_or(0, |log| log + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: &str = "2026-01-01T10:00:00Z";

    fn set() -> Templated<ReplicaSet> {
        serde_json::from_value(json!({
            "metadata": {"name": "s", "namespace": "ns"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {}},
        }))
        .unwrap()
    }

    fn pod(name: &str, change: serde_json::Value) -> Arc<Pod> {
        let mut pod = json!({
            "metadata": {
                "name": name, "namespace": "ns", "uid": name, "labels": {"app": "web"},
                "creationTimestamp": "2026-01-01T09:00:00Z",
            },
            "spec": {"containers": [], "nodeName": "n1"},
            "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T09:00:00Z"},
            ]},
        });
        merge(&mut pod, &change);
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn merge(into: &mut serde_json::Value, change: &serde_json::Value) {
        match (into.as_object_mut(), change.as_object()) {
            (Some(fields), Some(changes)) => {
                for (name, value) in changes {
                    merge(fields.entry(name).or_insert(serde_json::Value::Null), value);
                }
            }
            _ => *into = change.clone(),
        }
    }

    fn deleted(wanted: i32, pods: &[Arc<Pod>]) -> Vec<String> {
        let all = pods.to_vec();
        let on_node = |node: &str| {
            all.iter()
                .filter(|pod| state::node(pod) == Some(node))
                .cloned()
                .collect::<Vec<_>>()
        };
        match plan(wanted, pods, on_node, &set(), NOW.parse().unwrap()) {
            Plan::Delete(victims) => victims.iter().map(|pod| pod.name_any()).collect(),
            other => panic!("expected deletions, got {other:?}"),
        }
    }

    #[test]
    fn missing_pods_are_created_up_to_the_burst() {
        assert!(matches!(
            plan(3, &[], |_| Vec::new(), &set(), NOW.parse().unwrap()),
            Plan::Create(3)
        ));
        assert!(matches!(
            plan(900, &[], |_| Vec::new(), &set(), NOW.parse().unwrap()),
            Plan::Create(500)
        ));
        assert!(matches!(
            plan(0, &[], |_| Vec::new(), &set(), NOW.parse().unwrap()),
            Plan::Keep
        ));
    }

    #[test]
    fn unbound_then_pending_then_unready_pods_go_first() {
        let pods = [
            pod("ready", json!({})),
            pod(
                "unready",
                json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}),
            ),
            pod(
                "pending",
                json!({"status": {"phase": "Pending", "conditions": []}}),
            ),
            pod(
                "unbound",
                json!({"spec": {"nodeName": null}, "status": {"phase": "Pending", "conditions": []}}),
            ),
        ];
        assert_eq!(deleted(1, &pods), ["unbound", "pending", "unready"]);
    }

    #[test]
    fn a_cheap_pod_goes_before_a_dear_one() {
        let cost = |cost: &str| json!({"metadata": {"annotations": {DELETION_COST: cost}}});
        let pods = [
            pod("dear", cost("100")),
            pod("cheap", cost("-5")),
            pod("plain", json!({})),
        ];
        assert_eq!(deleted(1, &pods), ["cheap", "plain"]);
    }

    #[test]
    fn the_crowded_node_loses_a_pod_first() {
        let pods = [
            pod("alone", json!({"spec": {"nodeName": "n2"}})),
            pod("crowded-a", json!({})),
            pod("crowded-b", json!({})),
        ];
        assert_eq!(deleted(2, &pods), ["crowded-a"]);
    }

    #[test]
    fn the_younger_of_two_equal_pods_goes_first() {
        let young = json!({
            "metadata": {"creationTimestamp": "2026-01-01T09:59:50Z"},
            "status": {"conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T09:59:51Z"},
            ]},
        });
        let pods = [pod("old", json!({})), pod("young", young)];
        assert_eq!(deleted(1, &pods), ["young"]);
    }
}
