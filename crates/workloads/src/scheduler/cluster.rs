//! What the scheduler knows of nodes and of the pods bound to them, bindings under way included.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use control::Key;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use super::fallback::Fallback;
use super::resources::{Amounts, requests};
use crate::pods::state;

/// A node and what is used of it.
#[derive(Debug, Default)]
pub struct NodeView {
    /// The node; absent while only pods bound to it are known.
    pub node: Option<Arc<Node>>,
    /// What pods may use.
    pub allocatable: Amounts,
    /// What pods use.
    pub used: Amounts,
    /// The pods on it.
    pub pods: BTreeMap<Key, Arc<Pod>>,
}

impl NodeView {
    /// Host ports in use, as (address, protocol, port).
    pub fn host_ports(&self) -> impl Iterator<Item = (String, String, i32)> {
        self.pods.values().flat_map(|pod| host_ports(pod))
    }
}

struct Placed {
    uid: Option<String>,
    node: String,
    amounts: Amounts,
}

/// Nodes and bound pods.
#[derive(Default)]
pub struct Cluster {
    nodes: BTreeMap<String, NodeView>,
    placed: HashMap<Key, Placed>,
    /// Pods whose required anti-affinity others have to respect.
    repelling: BTreeSet<Key>,
}

impl Cluster {
    /// Nodes that exist, in order of name.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &NodeView)> {
        self.nodes
            .iter()
            .filter(|(_, view)| view.node.is_some())
            .map(|(name, view)| (name.as_str(), view))
    }

    /// Takes a node's state.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let view = self.nodes.entry(node.name_any()).or_default();
        let status = node.status.as_ref();
        view.allocatable = Amounts::from_list(
            status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref())),
        );
        view.node = Some(node);
    }

    /// A node is gone; what is bound to it stays counted until it goes too.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(view) = self.nodes.get_mut(name) {
            view.node = None;
            if view.pods.is_empty() {
                self.nodes.remove(name);
            }
        }
    }

    /// Takes a pod that is on a node, or is being bound to it.
    pub fn place(&mut self, pod: Arc<Pod>, node: &str, fallback: Fallback) {
        let key = Key::of(pod.as_ref());
        self.remove_pod(&key);
        let amounts = fallback.reduce(requests(&pod));
        let view = self.nodes.entry(node.to_owned()).or_default();
        view.used.add(&amounts);
        if super::affinity::repels(&pod) {
            self.repelling.insert(key.clone());
        }
        self.placed.insert(
            key.clone(),
            Placed {
                uid: pod.uid(),
                node: node.to_owned(),
                amounts,
            },
        );
        view.pods.insert(key, pod);
    }

    /// A pod uses nothing any more; answers whether it did.
    pub fn remove_pod(&mut self, key: &Key) -> bool {
        let Some(placed) = self.placed.remove(key) else {
            return false;
        };
        self.repelling.remove(key);
        if let Some(view) = self.nodes.get_mut(&placed.node) {
            view.used.subtract(&placed.amounts);
            view.pods.remove(key);
        }
        true
    }

    /// Takes a binding back that failed, unless the pod under that name is another one by now.
    pub fn unplace(&mut self, pod: &Pod) {
        let key = Key::of(pod);
        if self
            .placed
            .get(&key)
            .is_some_and(|placed| placed.uid == pod.uid())
        {
            self.remove_pod(&key);
        }
    }

    /// Whether this very pod is on a node or being bound.
    pub fn is_placed(&self, pod: &Pod) -> bool {
        self.placed
            .get(&Key::of(pod))
            .is_some_and(|placed| placed.uid == pod.uid())
    }

    /// Pods with required anti-affinity, with the node each is on.
    pub fn repelling(&self) -> impl Iterator<Item = (&Arc<Pod>, &NodeView)> {
        self.repelling.iter().filter_map(|key| {
            let view = self.nodes.get(&self.placed.get(key)?.node)?;
            Some((view.pods.get(key)?, view))
        })
    }
}

/// Whether the pod holds resources on a node.
pub fn holds_resources(pod: &Pod) -> bool {
    state::node(pod).is_some() && !state::is_terminal(pod)
}

/// The host ports a pod takes, as (address, protocol, port).
pub fn host_ports(pod: &Pod) -> Vec<(String, String, i32)> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let ports = containers.flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let address = port
                .host_ip
                .clone()
                .filter(|ip| !ip.is_empty())
                .unwrap_or_else(|| "0.0.0.0".to_owned());
            Some((
                address,
                port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                number,
            ))
        })
        .collect()
}
