//! One step of a daemon set: a pod on every node that suits, replaced within the unavailability that is allowed.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::DaemonSetSpec;
use k8s_openapi::api::core::v1::{Node, Pod, Toleration};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::deployments::resolve;
use crate::pods::state;
use crate::revisions::HASH_LABEL;
use crate::scheduler::{node_matches, tolerates};

/// Tolerations every daemon pod has.
pub const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// What one step does.
#[derive(Debug, Default)]
pub struct Plan {
    /// Nodes that get a pod.
    pub create: Vec<String>,
    /// Pods to delete.
    pub delete: Vec<Arc<Pod>>,
}

/// The pods of a daemon set by node.
pub type ByNode = BTreeMap<String, Vec<Arc<Pod>>>;

/// The node a daemon pod is for, whether or not it is bound yet.
pub fn node_of(pod: &Pod) -> Option<String> {
    if let Some(node) = state::node(pod) {
        return Some(node.to_owned());
    }
    let affinity = pod
        .spec
        .as_ref()?
        .affinity
        .as_ref()?
        .node_affinity
        .as_ref()?;
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .as_ref()?;
    let fields = required
        .node_selector_terms
        .iter()
        .flat_map(|term| term.match_fields.iter().flatten());
    let named = fields
        .into_iter()
        .find(|field| field.key == "metadata.name")?;
    named.values.as_ref()?.first().cloned()
}

/// Whether a daemon pod of this template should run on the node, and whether one that runs there may stay.
pub fn suits(pod: &Pod, node: &Node) -> (bool, bool) {
    if !node_matches(pod, node) {
        return (false, false);
    }
    let mut tolerations: Vec<Toleration> = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.tolerations.clone())
        .unwrap_or_default();
    tolerations.extend(TOLERATED.iter().map(|(key, effect)| Toleration {
        key: Some((*key).to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some((*effect).to_owned()),
        ..Toleration::default()
    }));
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    let forbidden = |effect: &str| {
        taints
            .iter()
            .filter(|taint| taint.effect == effect)
            .any(|taint| !tolerations.iter().any(|held| tolerates(held, taint)))
    };
    (
        !forbidden("NoSchedule") && !forbidden("NoExecute"),
        !forbidden("NoExecute"),
    )
}

/// Plans one step. `nodes` says of each node whether a pod should run there and whether one may stay.
pub fn plan(
    spec: &DaemonSetSpec,
    update: &str,
    pods: &ByNode,
    nodes: &BTreeMap<String, (bool, bool)>,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    for (node, (should_run, may_stay)) in nodes {
        let held = pods.get(node).map(Vec::as_slice).unwrap_or_default();
        let ended: Vec<_> = held
            .iter()
            .filter(|pod| state::phase(pod) == "Failed")
            .collect();
        let mut alive: Vec<_> = held.iter().filter(|pod| state::is_active(pod)).collect();
        if *should_run || (*may_stay && !alive.is_empty()) {
            plan.delete.extend(
                ended
                    .iter()
                    .filter(|pod| !state::is_terminating(pod))
                    .map(|pod| (*pod).clone()),
            );
            // Of several, the oldest stays.
            alive.sort_by_key(|pod| pod.creation_timestamp());
            plan.delete
                .extend(alive.iter().skip(1).map(|pod| (*pod).clone()));
            if held.is_empty() && *should_run {
                plan.create.push(node.clone());
            }
        } else {
            plan.delete.extend(alive.into_iter().cloned());
        }
    }
    for pods in pods
        .iter()
        .filter(|(node, _)| !nodes.contains_key(*node))
        .map(|(_, pods)| pods)
    {
        plan.delete.extend(
            pods.iter()
                .filter(|pod| !state::is_terminating(pod))
                .cloned(),
        );
    }
    if plan.create.is_empty() && plan.delete.is_empty() {
        roll(spec, update, pods, nodes, now, &mut plan);
    }
    plan
}

/// Replaces pods with an old template: unavailable ones at once, others as far as the limit allows.
fn roll(
    spec: &DaemonSetSpec,
    update: &str,
    pods: &ByNode,
    nodes: &BTreeMap<String, (bool, bool)>,
    now: Timestamp,
    plan: &mut Plan,
) {
    let strategy = spec.update_strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
        return;
    }
    let wanted = nodes.values().filter(|(should_run, _)| *should_run).count();
    let one = k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(1);
    let limit = strategy
        .and_then(|strategy| strategy.rolling_update.as_ref()?.max_unavailable.clone())
        .unwrap_or(one);
    let limit = resolve(&limit, i32::try_from(wanted).unwrap_or(i32::MAX), true).max(1);
    let seconds = spec.min_ready_seconds.unwrap_or(0);
    let mut unavailable = 0;
    let mut old_available = Vec::new();
    for node in nodes
        .iter()
        .filter(|(_, (should_run, _))| *should_run)
        .map(|(node, _)| node)
    {
        let held = pods.get(node).map(Vec::as_slice).unwrap_or_default();
        let Some(pod) = held.iter().find(|pod| state::is_active(pod)) else {
            unavailable += 1;
            continue;
        };
        let is_old = pod
            .labels()
            .get(HASH_LABEL)
            .is_none_or(|revision| revision != update);
        let is_available = state::is_available(pod, seconds, now);
        unavailable += i32::from(!is_available);
        match (is_old, is_available) {
            (true, false) => plan.delete.push(pod.clone()),
            (true, true) => old_available.push(pod.clone()),
            (false, _) => {}
        }
    }
    let room = usize::try_from(limit - unavailable).unwrap_or(0);
    plan.delete.extend(old_available.into_iter().take(room));
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(node: &str, revision: &str, ready: bool) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": format!("agent-{node}"), "labels": {HASH_LABEL: revision}},
                "spec": {"containers": [], "nodeName": node},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
            }))
            .unwrap(),
        )
    }

    fn step(
        change: Value,
        pods: &[Arc<Pod>],
        nodes: &[(&str, bool)],
    ) -> (Vec<String>, Vec<String>) {
        let mut spec = json!({"selector": {}, "template": {}});
        for (field, value) in change.as_object().unwrap() {
            spec[field] = value.clone();
        }
        let mut by_node = ByNode::new();
        for pod in pods {
            by_node
                .entry(node_of(pod).unwrap())
                .or_default()
                .push(pod.clone());
        }
        let nodes = nodes
            .iter()
            .map(|(name, suits)| ((*name).to_owned(), (*suits, *suits)))
            .collect();
        let plan = plan(
            &serde_json::from_value(spec).unwrap(),
            "new",
            &by_node,
            &nodes,
            Timestamp::UNIX_EPOCH,
        );
        (
            plan.create,
            plan.delete.iter().map(|pod| pod.name_any()).collect(),
        )
    }

    #[test]
    fn every_node_that_suits_has_one_pod() {
        let pods = [pod("b", "new", true), pod("c", "new", true)];
        let (create, delete) = step(json!({}), &pods, &[("a", true), ("b", true), ("c", false)]);
        assert_eq!(
            (create, delete),
            (vec!["a".to_owned()], vec!["agent-c".to_owned()])
        );
    }

    #[test]
    fn a_pod_of_a_node_that_is_gone_goes() {
        assert_eq!(
            step(json!({}), &[pod("a", "new", true)], &[]).1,
            ["agent-a"]
        );
    }

    #[test]
    fn old_pods_are_replaced_one_at_a_time_and_broken_ones_at_once() {
        let pods = [
            pod("a", "old", true),
            pod("b", "old", true),
            pod("c", "old", true),
        ];
        let nodes = [("a", true), ("b", true), ("c", true)];
        assert_eq!(step(json!({}), &pods, &nodes).1, ["agent-a"]);
        let broken = [
            pod("a", "old", true),
            pod("b", "old", false),
            pod("c", "new", true),
        ];
        assert_eq!(step(json!({}), &broken, &nodes).1, ["agent-b"]);
        let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
        assert!(step(on_delete, &pods, &nodes).1.is_empty());
    }

    #[test]
    fn a_daemon_pod_tolerates_a_cordon_and_not_a_taint_of_somebody_elses() {
        let tainted = |key: &str| -> Node {
            serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": {"taints": [{"key": key, "effect": "NoSchedule"}]}}))
                .unwrap()
        };
        let template: Pod = serde_json::from_value(json!({"spec": {"containers": []}})).unwrap();
        assert_eq!(
            suits(&template, &tainted("node.kubernetes.io/unschedulable")),
            (true, true)
        );
        assert_eq!(suits(&template, &tainted("dedicated")), (false, true));
    }
}
