//! Chooses a node for a pod, or says of every node why not.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};

use super::affinity::{self, NamespaceLabels};
use super::cluster::{Cluster, NodeView, host_ports};
use super::fallback::Fallback;
use super::resources::{Amounts, PODS, requests};
use super::spread::Spread;
use super::volumes::{self, Claims};

/// Why a node cannot run a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// In the scheduler's usual words.
    pub text: String,
    /// Whether the end of other pods could change it.
    pub frees_up: bool,
}

/// Why no node can run a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// How many nodes there are.
    pub nodes: usize,
    /// How many nodes each reason is given for.
    pub reasons: BTreeMap<String, usize>,
    /// Nodes where the end of other pods would help.
    pub could_free_up: usize,
    /// Resources of which no node has as much as is asked for.
    pub beyond_all: Vec<String>,
    /// A reason that has nothing to do with any node.
    pub everywhere: Option<String>,
}

/// A node for a pod, and what is waived for it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The node's name.
    pub node: String,
    /// What is waived.
    pub fallback: Fallback,
}

/// Chooses the best node.
pub fn place(
    pod: &Pod,
    cluster: &Cluster,
    claims: Result<&Claims, String>,
    allowed: Fallback,
    namespaces: &NamespaceLabels<'_>,
) -> Result<Placement, Failure> {
    let asked = requests(pod);
    let fallback = Fallback::needed(
        allowed,
        &asked,
        cluster
            .nodes()
            .map(|(_, view)| &view.allocatable)
            .collect::<Vec<_>>()
            .into_iter(),
    );
    let counted = fallback.reduce(asked);
    let claims = match claims {
        Ok(claims) => claims,
        Err(text) => {
            return Err(Failure {
                nodes: cluster.nodes().count(),
                everywhere: Some(text),
                ..Failure::default()
            });
        }
    };
    let spread = Spread::of(pod, cluster);
    let mut failure = Failure::default();
    let mut best: Option<(i64, &str)> = None;
    for (name, view) in cluster.nodes() {
        let Some(node) = &view.node else { continue };
        failure.nodes += 1;
        let mut reasons = refusals(pod, node, view, &counted, claims, cluster, namespaces);
        if reasons.is_empty()
            && let Some(text) = spread.conflict(node)
        {
            reasons.push(Reason {
                text: text.to_owned(),
                frees_up: true,
            });
        }
        if reasons.is_empty() {
            let score = score(pod, node, view, &counted);
            if best.is_none_or(|(held, _)| score > held) {
                best = Some((score, name));
            }
            continue;
        }
        failure.could_free_up += usize::from(reasons.iter().all(|reason| reason.frees_up));
        for reason in reasons {
            *failure.reasons.entry(reason.text).or_default() += 1;
        }
    }
    if let Some((_, name)) = best {
        return Ok(Placement {
            node: name.to_owned(),
            fallback,
        });
    }
    failure.beyond_all = counted
        .iter()
        .filter(|(name, amount)| {
            cluster
                .nodes()
                .all(|(_, view)| view.allocatable.get(name) < *amount)
        })
        .map(|(name, _)| name.to_owned())
        .collect();
    Err(failure)
}

/// Why a node cannot run a pod: the first check that fails speaks, as in kube-scheduler.
fn refusals(
    pod: &Pod,
    node: &Node,
    view: &NodeView,
    counted: &Amounts,
    claims: &Claims,
    cluster: &Cluster,
    namespaces: &NamespaceLabels<'_>,
) -> Vec<Reason> {
    let lasting = |text: String| {
        vec![Reason {
            text,
            frees_up: false,
        }]
    };
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.tolerations.as_deref())
        .unwrap_or_default();
    let cordoned = node
        .spec
        .as_ref()
        .is_some_and(|spec| spec.unschedulable == Some(true));
    if cordoned
        && !tolerations
            .iter()
            .any(|held| tolerates(held, &unschedulable_taint()))
    {
        return lasting("node(s) were unschedulable".to_owned());
    }
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    let forbidding = taints
        .iter()
        .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
        .find(|taint| !tolerations.iter().any(|held| tolerates(held, taint)));
    if let Some(taint) = forbidding {
        let value = taint.value.as_deref().unwrap_or_default();
        return lasting(format!(
            "node(s) had untolerated taint {{{}: {value}}}",
            taint.key
        ));
    }
    if !affinity::node_matches(pod, node) {
        return lasting("node(s) didn't match Pod's node affinity/selector".to_owned());
    }
    if ports_conflict(pod, view) {
        let text = "node(s) didn't have free ports for the requested pod ports".to_owned();
        return vec![Reason {
            text,
            frees_up: true,
        }];
    }
    let short = shortages(view, counted);
    if !short.is_empty() {
        return short;
    }
    if let Some(text) = volumes::conflict(claims, node) {
        return lasting(text.to_owned());
    }
    match affinity::pod_conflict(pod, view, cluster, namespaces) {
        Some(text) => vec![Reason {
            text: text.to_owned(),
            frees_up: !text.ends_with("pod affinity rules"),
        }],
        None => Vec::new(),
    }
}

fn shortages(view: &NodeView, counted: &Amounts) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if view.used.get(PODS) + 1 > view.allocatable.get(PODS) {
        reasons.push(Reason {
            text: "Too many pods".to_owned(),
            frees_up: true,
        });
    }
    for (name, amount) in counted
        .iter()
        .filter(|(name, amount)| *name != PODS && *amount > 0)
    {
        let allocatable = view.allocatable.get(name);
        if amount > allocatable - view.used.get(name) {
            reasons.push(Reason {
                text: format!("Insufficient {name}"),
                frees_up: amount <= allocatable,
            });
        }
    }
    reasons
}

fn unschedulable_taint() -> Taint {
    Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    }
}

/// Whether a toleration covers a taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    let value = |value: &Option<String>| value.clone().unwrap_or_default();
    (effect.is_empty() || effect == taint.effect)
        && (key.is_empty() || key == taint.key)
        && match toleration.operator.as_deref().unwrap_or("Equal") {
            "Exists" => true,
            "Equal" | "" => !key.is_empty() && value(&toleration.value) == value(&taint.value),
            _ => false,
        }
}

fn ports_conflict(pod: &Pod, view: &NodeView) -> bool {
    let wanted = host_ports(pod);
    !wanted.is_empty()
        && view
            .host_ports()
            .any(|(held_ip, held_protocol, held_port)| {
                wanted.iter().any(|(ip, protocol, port)| {
                    *port == held_port
                        && *protocol == held_protocol
                        && (*ip == held_ip || ip == "0.0.0.0" || held_ip == "0.0.0.0")
                })
            })
}

/// Higher is better: stated preferences first, then what leaves the node emptiest.
fn score(pod: &Pod, node: &Node, view: &NodeView, counted: &Amounts) -> i64 {
    let free = |name: &str| {
        let allocatable = view.allocatable.get(name).max(1);
        (allocatable - view.used.get(name) - counted.get(name))
            .max(0)
            .saturating_mul(100)
            / allocatable
    };
    let tolerations = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.tolerations.as_deref())
        .unwrap_or_default();
    let taints = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default();
    let avoided = taints
        .iter()
        .filter(|taint| taint.effect == "PreferNoSchedule")
        .filter(|taint| !tolerations.iter().any(|held| tolerates(held, taint)))
        .count();
    let preference = affinity::node_preference(pod, node);
    preference * 1000 - i64::try_from(avoided).unwrap_or(i64::MAX / 1000) * 1000
        + free("cpu")
        + free("memory")
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
