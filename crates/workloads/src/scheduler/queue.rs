//! Pods that wait for a node: by priority, then by arrival. Those no node fits are parked together with all that ask for
//! the same, so that a change in the cluster costs one attempt per kind of pod and not one per pod.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use control::Key;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

/// Order of pods: higher priority first, then earlier arrival.
pub type Rank = (Reverse<i32>, u64);

/// Everything about a pod that decides where it fits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    text: String,
    /// Whether other pods' arrival could make it fit.
    pub seeks_pods: bool,
}

/// The shape of a pod.
pub fn shape(pod: &Pod) -> Shape {
    let Some(spec) = &pod.spec else {
        return Shape {
            text: String::new(),
            seeks_pods: false,
        };
    };
    let relations = spec
        .affinity
        .as_ref()
        .filter(|affinity| affinity.pod_affinity.is_some() || affinity.pod_anti_affinity.is_some());
    let relates = relations.is_some() || spec.topology_spread_constraints.is_some();
    let containers = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    let asked: Vec<_> = containers
        .map(|container| {
            let ports: Vec<_> = container
                .ports
                .iter()
                .flatten()
                .filter(|port| port.host_port.is_some())
                .collect();
            json!([container.resources, container.restart_policy, ports])
        })
        .collect();
    let claims = crate::watches::claims_of(pod);
    let text = json!([
        spec.node_selector,
        spec.affinity,
        spec.tolerations,
        spec.overhead,
        asked,
        claims,
        // Only relations between pods look at these.
        relates.then(|| (pod.namespace(), pod.labels().clone())),
        spec.topology_spread_constraints,
    ]);
    Shape {
        text: text.to_string(),
        seeks_pods: relates,
    }
}

#[derive(Clone)]
enum Place {
    Active,
    Parked(Shape),
}

/// Pods without a node.
#[derive(Default)]
pub struct Queue {
    active: BTreeMap<Rank, Key>,
    parked: HashMap<Shape, BTreeMap<Rank, Key>>,
    places: HashMap<Key, (Rank, Place)>,
    arrivals: u64,
}

impl Queue {
    /// Adds a pod, or brings a parked one back because it changed. Its place in the order is kept.
    pub fn push(&mut self, key: Key, priority: i32) {
        let arrival = match self.remove(&key) {
            Some((_, arrival)) => arrival,
            None => {
                self.arrivals += 1;
                self.arrivals
            }
        };
        let rank = (Reverse(priority), arrival);
        self.active.insert(rank, key.clone());
        self.places.insert(key, (rank, Place::Active));
    }

    /// Takes the pod whose turn it is.
    pub fn pop(&mut self) -> Option<(Rank, Key)> {
        let (rank, key) = self.active.pop_first()?;
        self.places.remove(&key);
        Some((rank, key))
    }

    /// Parks a pod that fits nowhere.
    pub fn park(&mut self, key: Key, rank: Rank, shape: Shape) {
        self.remove(&key);
        self.parked
            .entry(shape.clone())
            .or_default()
            .insert(rank, key.clone());
        self.places.insert(key, (rank, Place::Parked(shape)));
    }

    /// Forgets a pod.
    pub fn remove(&mut self, key: &Key) -> Option<Rank> {
        let (rank, place) = self.places.remove(key)?;
        match place {
            Place::Active => {
                self.active.remove(&rank);
            }
            Place::Parked(shape) => {
                if let Some(pods) = self.parked.get_mut(&shape) {
                    pods.remove(&rank);
                    if pods.is_empty() {
                        self.parked.remove(&shape);
                    }
                }
            }
        }
        Some(rank)
    }

    /// Gives the first parked pod of every shape another try.
    pub fn wake(&mut self, filter: impl Fn(&Shape) -> bool) {
        let shapes: Vec<Shape> = self
            .parked
            .keys()
            .filter(|shape| filter(shape))
            .cloned()
            .collect();
        for shape in shapes {
            self.wake_next(&shape);
        }
    }

    /// Gives the next parked pod of one shape a try, after another of that shape was placed.
    pub fn wake_next(&mut self, shape: &Shape) {
        let Some((rank, key)) = self.parked.get_mut(shape).and_then(BTreeMap::pop_first) else {
            return;
        };
        if self.parked.get(shape).is_some_and(BTreeMap::is_empty) {
            self.parked.remove(shape);
        }
        self.active.insert(rank, key.clone());
        self.places.insert(key, (rank, Place::Active));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("ns", name)
    }

    fn order(queue: &mut Queue) -> Vec<String> {
        std::iter::from_fn(|| queue.pop())
            .map(|(_, key)| key.name)
            .collect()
    }

    fn pod(cpu: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "labels": {"a": cpu}},
            "spec": {"containers": [{"name": "m", "resources": {"requests": {"cpu": cpu}}}]},
        }))
        .unwrap()
    }

    #[test]
    fn priority_comes_before_arrival() {
        let mut queue = Queue::default();
        queue.push(key("first"), 0);
        queue.push(key("second"), 0);
        queue.push(key("urgent"), 100);
        assert_eq!(order(&mut queue), ["urgent", "first", "second"]);
    }

    #[test]
    fn a_change_wakes_one_pod_of_each_shape() {
        let mut queue = Queue::default();
        for (name, cpu) in [("a1", "1"), ("a2", "1"), ("b1", "2")] {
            queue.push(key(name), 0);
            let (rank, popped) = queue.pop().unwrap();
            queue.park(popped, rank, shape(&pod(cpu)));
        }
        queue.wake(|_| true);
        assert_eq!(order(&mut queue), ["a1", "b1"]);
        queue.wake_next(&shape(&pod("1")));
        assert_eq!(order(&mut queue), ["a2"]);
    }

    #[test]
    fn a_parked_pod_that_changes_keeps_its_turn() {
        let mut queue = Queue::default();
        queue.push(key("early"), 0);
        let (rank, popped) = queue.pop().unwrap();
        queue.park(popped, rank, shape(&pod("1")));
        queue.push(key("late"), 0);
        queue.push(key("early"), 0);
        assert_eq!(order(&mut queue), ["early", "late"]);
        assert!(queue.pop().is_none());
    }

    #[test]
    fn a_removed_pod_is_not_woken() {
        let mut queue = Queue::default();
        queue.push(key("a"), 0);
        let (rank, popped) = queue.pop().unwrap();
        queue.park(popped, rank, shape(&pod("1")));
        queue.remove(&key("a"));
        queue.wake(|_| true);
        assert!(queue.pop().is_none());
    }

    #[test]
    fn labels_matter_to_a_shape_only_where_pods_relate() {
        assert_eq!(shape(&pod("1")), {
            let mut other = pod("1");
            other.metadata.labels = None;
            shape(&other)
        });
        assert_ne!(shape(&pod("1")), shape(&pod("2")));
    }
}
