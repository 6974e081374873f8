//! Topology spread: a pod goes only where its kind does not pile up beyond what its constraints allow.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Node, Pod, TopologySpreadConstraint};
use kube::ResourceExt;

use super::affinity;
use super::cluster::Cluster;
use crate::pods::state;
use crate::selector;

/// A constraint with how many matching pods each domain has.
struct Counted<'a> {
    constraint: &'a TopologySpreadConstraint,
    domains: HashMap<String, i64>,
    least: i64,
    counts_itself: bool,
}

/// The binding constraints of one pod, counted once for all nodes.
#[derive(Default)]
pub struct Spread<'a> {
    constraints: Vec<Counted<'a>>,
}

impl<'a> Spread<'a> {
    /// Counts for a pod; quick for pods without constraints.
    pub fn of(pod: &'a Pod, cluster: &Cluster) -> Self {
        let constraints = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.topology_spread_constraints.as_ref());
        let binding = constraints
            .into_iter()
            .flatten()
            .filter(|held| held.when_unsatisfiable == "DoNotSchedule");
        Self {
            constraints: binding
                .map(|constraint| count(pod, constraint, cluster))
                .collect(),
        }
    }

    /// Why the constraints forbid a node.
    pub fn conflict(&self, node: &Node) -> Option<&'static str> {
        self.constraints.iter().find_map(|counted| {
            let Some(domain) = node.labels().get(&counted.constraint.topology_key) else {
                return Some(
                    "node(s) didn't match pod topology spread constraints (missing required label)",
                );
            };
            let here = counted.domains.get(domain).copied().unwrap_or(0)
                + i64::from(counted.counts_itself);
            (here - counted.least > i64::from(counted.constraint.max_skew))
                .then_some("node(s) didn't match pod topology spread constraints")
        })
    }
}

fn count<'a>(
    pod: &Pod,
    constraint: &'a TopologySpreadConstraint,
    cluster: &Cluster,
) -> Counted<'a> {
    let mut wanted = constraint.label_selector.clone().unwrap_or_default();
    for key in constraint.match_label_keys.iter().flatten() {
        if let Some(value) = pod.labels().get(key) {
            wanted
                .match_labels
                .get_or_insert_default()
                .insert(key.clone(), value.clone());
        }
    }
    let selects = |other: &Pod| {
        constraint.label_selector.is_some()
            && other.namespace() == pod.namespace()
            && selector::matches(&wanted, other.labels())
    };
    let honours_affinity = constraint.node_affinity_policy.as_deref() != Some("Ignore");
    let mut domains: HashMap<String, i64> = HashMap::new();
    for (_, view) in cluster.nodes() {
        let Some(node) = &view.node else { continue };
        let Some(domain) = node.labels().get(&constraint.topology_key) else {
            continue;
        };
        if honours_affinity && !affinity::node_matches(pod, node) {
            continue;
        }
        let here = view
            .pods
            .values()
            .filter(|other| !state::is_terminating(other) && selects(other))
            .count();
        *domains.entry(domain.clone()).or_default() += i64::try_from(here).unwrap_or(i64::MAX);
    }
    let is_short = constraint
        .min_domains
        .is_some_and(|least| domains.len() < usize::try_from(least).unwrap_or(0));
    let least = if is_short {
        0
    } else {
        domains.values().copied().min().unwrap_or(0)
    };
    Counted {
        constraint,
        domains,
        least,
        counts_itself: selects(pod),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::fallback::Fallback;
    use super::*;

    fn node(name: &str, zone: Option<&str>) -> Arc<Node> {
        let labels = zone.map(|zone| json!({"zone": zone})).unwrap_or_default();
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap(),
        )
    }

    fn pod(name: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": "web"}},
            "spec": {"containers": [], "topologySpreadConstraints": [{
                "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "web"}},
            }]},
        }))
        .unwrap()
    }

    #[test]
    fn pods_do_not_pile_up_in_one_zone() {
        let mut cluster = Cluster::default();
        for (name, zone) in [("a", Some("1")), ("b", Some("2")), ("c", None)] {
            cluster.set_node(node(name, zone));
        }
        let next = pod("next");
        assert_eq!(
            Spread::of(&next, &cluster).conflict(&node("a", Some("1"))),
            None
        );
        cluster.place(Arc::new(pod("first")), "a", Fallback::default());
        let spread = Spread::of(&next, &cluster);
        assert_eq!(
            spread.conflict(&node("a", Some("1"))),
            Some("node(s) didn't match pod topology spread constraints")
        );
        assert_eq!(spread.conflict(&node("b", Some("2"))), None);
        let missing = spread.conflict(&node("c", None)).unwrap();
        assert!(missing.ends_with("(missing required label)"));
    }
}
