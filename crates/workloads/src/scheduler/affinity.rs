//! Where a pod wants to be: node selectors and node affinity, affinity and anti-affinity to other pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodAffinityTerm,
    PodAntiAffinity,
};
use kube::ResourceExt;

use super::cluster::{Cluster, NodeView};
use crate::selector;

/// Whether the node satisfies the pod's node selector and required node affinity.
pub fn node_matches(pod: &Pod, node: &Node) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let labels = node.labels();
    let selected = spec
        .node_selector
        .iter()
        .flatten()
        .all(|(name, value)| labels.get(name) == Some(value));
    let affinity = spec
        .affinity
        .as_ref()
        .and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| {
        affinity
            .required_during_scheduling_ignored_during_execution
            .as_ref()
    });
    selected && required.is_none_or(|required| selects(required, node))
}

/// Whether any term of the selector selects the node.
pub fn selects(selector: &NodeSelector, node: &Node) -> bool {
    selector
        .node_selector_terms
        .iter()
        .any(|term| term_selects(term, node))
}

/// The weights of the preferred node affinity terms that the node satisfies, together.
pub fn node_preference(pod: &Pod, node: &Node) -> i64 {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let terms = affinity
        .and_then(|affinity| affinity.node_affinity.as_ref())
        .and_then(|affinity| {
            affinity
                .preferred_during_scheduling_ignored_during_execution
                .as_ref()
        });
    let satisfied = terms
        .into_iter()
        .flatten()
        .filter(|term| term_selects(&term.preference, node));
    satisfied.map(|term| i64::from(term.weight)).sum()
}

/// An empty term selects nothing.
fn term_selects(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let names = BTreeMap::from([("metadata.name".to_owned(), node.name_any())]);
    expressions
        .iter()
        .all(|requirement| holds(requirement, node.labels()))
        && fields.iter().all(|requirement| holds(requirement, &names))
}

fn holds(requirement: &NodeSelectorRequirement, values: &selector::Labels) -> bool {
    let held = values.get(&requirement.key);
    let wanted = requirement.values.as_deref().unwrap_or_default();
    let number = |text: &String| text.parse::<i64>().ok();
    let compare = |greater: bool| match (held.and_then(number), wanted.first().and_then(number)) {
        (Some(held), Some(bound)) => (greater && held > bound) || (!greater && held < bound),
        _ => false,
    };
    match requirement.operator.as_str() {
        "In" => held.is_some_and(|held| wanted.contains(held)),
        "NotIn" => held.is_none_or(|held| !wanted.contains(held)),
        "Exists" => held.is_some(),
        "DoesNotExist" => held.is_none(),
        "Gt" => compare(true),
        "Lt" => compare(false),
        _ => false,
    }
}

fn anti_affinity(pod: &Pod) -> Option<&PodAntiAffinity> {
    pod.spec
        .as_ref()?
        .affinity
        .as_ref()?
        .pod_anti_affinity
        .as_ref()
}

fn repelled_by(pod: &Pod) -> &[PodAffinityTerm] {
    anti_affinity(pod)
        .and_then(|affinity| {
            affinity
                .required_during_scheduling_ignored_during_execution
                .as_deref()
        })
        .unwrap_or_default()
}

fn drawn_to(pod: &Pod) -> &[PodAffinityTerm] {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    affinity
        .and_then(|affinity| affinity.pod_affinity.as_ref())
        .and_then(|affinity| {
            affinity
                .required_during_scheduling_ignored_during_execution
                .as_deref()
        })
        .unwrap_or_default()
}

/// Whether other pods have to keep away from this one.
pub fn repels(pod: &Pod) -> bool {
    !repelled_by(pod).is_empty()
}

/// Namespaces' labels by name, for terms that select namespaces.
pub type NamespaceLabels<'a> = dyn Fn(&str) -> Option<selector::Labels> + 'a;

/// Whether a term of `owner`'s is about `other`.
fn term_matches(
    term: &PodAffinityTerm,
    owner: &Pod,
    other: &Pod,
    namespaces: &NamespaceLabels<'_>,
) -> bool {
    let other_namespace = other.namespace().unwrap_or_default();
    let listed = term.namespaces.as_deref().unwrap_or_default();
    let by_name = if listed.is_empty() && term.namespace_selector.is_none() {
        owner.namespace().unwrap_or_default() == other_namespace
    } else {
        listed.contains(&other_namespace)
    };
    let by_labels = term.namespace_selector.as_ref().is_some_and(|wanted| {
        namespaces(&other_namespace).is_some_and(|labels| selector::matches(wanted, &labels))
    });
    (by_name || by_labels)
        && term
            .label_selector
            .as_ref()
            .is_some_and(|wanted| selector::matches(wanted, other.labels()))
}

/// Why a pod's relations to other pods forbid a node, in the scheduler's usual words.
pub fn pod_conflict(
    pod: &Pod,
    view: &NodeView,
    cluster: &Cluster,
    namespaces: &NamespaceLabels<'_>,
) -> Option<&'static str> {
    let node = view.node.as_ref()?;
    let domain = |key: &str| node.labels().get(key);
    let same_domain = |other: &NodeView, key: &str| {
        let labels = other.node.as_ref().map(|node| node.labels());
        domain(key).is_some() && labels.and_then(|labels| labels.get(key)) == domain(key)
    };
    let exists_in_domain = |term: &PodAffinityTerm| {
        cluster
            .nodes()
            .filter(|(_, other)| same_domain(other, &term.topology_key))
            .any(|(_, other)| {
                other
                    .pods
                    .values()
                    .any(|placed| term_matches(term, pod, placed, namespaces))
            })
    };
    for term in drawn_to(pod) {
        let satisfied = domain(&term.topology_key).is_some()
            && (exists_in_domain(term) || is_first_of_its_kind(term, pod, cluster, namespaces));
        if !satisfied {
            return Some("node(s) didn't match pod affinity rules");
        }
    }
    if repelled_by(pod).iter().any(exists_in_domain) {
        return Some("node(s) didn't match pod anti-affinity rules");
    }
    let disturbs = cluster.repelling().any(|(placed, other)| {
        repelled_by(placed).iter().any(|term| {
            same_domain(other, &term.topology_key) && term_matches(term, placed, pod, namespaces)
        })
    });
    disturbs.then_some("node(s) didn't satisfy existing pods anti-affinity rules")
}

/// A pod drawn to pods like itself may come first.
fn is_first_of_its_kind(
    term: &PodAffinityTerm,
    pod: &Pod,
    cluster: &Cluster,
    namespaces: &NamespaceLabels<'_>,
) -> bool {
    term_matches(term, pod, pod, namespaces)
        && !cluster.nodes().any(|(_, view)| {
            view.pods
                .values()
                .any(|placed| term_matches(term, pod, placed, namespaces))
        })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::fallback::Fallback;
    use super::*;

    fn node(name: &str, labels: serde_json::Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
    }

    fn pod(name: &str, affinity: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": "db"}},
            "spec": {"containers": [], "affinity": affinity},
        }))
        .unwrap()
    }

    fn term() -> serde_json::Value {
        json!([{"labelSelector": {"matchLabels": {"app": "db"}}, "topologyKey": "zone"}])
    }

    #[test]
    fn node_affinity_takes_any_term_and_all_of_its_requirements() {
        let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [
                {"key": "gpu", "operator": "Exists"}, {"key": "gen", "operator": "Gt", "values": ["3"]},
            ]},
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["special"]}]},
        ]}}});
        let pod = pod("p", affinity);
        assert!(node_matches(
            &pod,
            &node("a", json!({"gpu": "", "gen": "4"}))
        ));
        assert!(!node_matches(
            &pod,
            &node("a", json!({"gpu": "", "gen": "3"}))
        ));
        assert!(node_matches(&pod, &node("special", json!({}))));
    }

    #[test]
    fn anti_affinity_keeps_pods_apart_in_both_directions() {
        let mut cluster = Cluster::default();
        cluster.set_node(Arc::new(node("a", json!({"zone": "1"}))));
        cluster.set_node(Arc::new(node("b", json!({"zone": "2"}))));
        let shy = pod(
            "shy",
            json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term()}}),
        );
        let plain = pod("plain", json!({}));
        cluster.place(Arc::new(shy.clone()), "a", Fallback::default());
        let conflict = |pod: &Pod, name: &str| {
            let view = cluster.nodes().find(|(held, _)| *held == name).unwrap().1;
            pod_conflict(pod, view, &cluster, &|_| None)
        };
        assert_eq!(
            conflict(&shy, "a"),
            Some("node(s) didn't match pod anti-affinity rules")
        );
        assert_eq!(conflict(&shy, "b"), None);
        assert_eq!(
            conflict(&plain, "a"),
            Some("node(s) didn't satisfy existing pods anti-affinity rules")
        );
        assert_eq!(conflict(&plain, "b"), None);
    }

    #[test]
    fn the_first_of_pods_that_seek_each_other_goes_anywhere_and_the_next_beside_it() {
        let mut cluster = Cluster::default();
        cluster.set_node(Arc::new(node("a", json!({"zone": "1"}))));
        cluster.set_node(Arc::new(node("b", json!({"zone": "2"}))));
        let affinity =
            json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term()}});
        let (first, second) = (pod("first", affinity.clone()), pod("second", affinity));
        let conflict = |cluster: &Cluster, pod: &Pod, name: &str| {
            let view = cluster.nodes().find(|(held, _)| *held == name).unwrap().1;
            pod_conflict(pod, view, cluster, &|_| None)
        };
        assert_eq!(conflict(&cluster, &first, "b"), None);
        cluster.place(Arc::new(first), "b", Fallback::default());
        assert_eq!(
            conflict(&cluster, &second, "a"),
            Some("node(s) didn't match pod affinity rules")
        );
        assert_eq!(conflict(&cluster, &second, "b"), None);
    }
}
