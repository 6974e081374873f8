//! Amounts of resources: what a pod asks for and what a node has.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The resource every pod takes one of.
pub const PODS: &str = "pods";

/// Amounts by resource name: CPU in thousandths, everything else in whole units (bytes, devices, pods).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts(BTreeMap<String, i64>);

impl Amounts {
    /// Amounts from a resource list; what cannot be read counts as nothing.
    pub fn from_list(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let read = |(name, quantity): (&String, &Quantity)| {
            Some((name.clone(), amount(name, &quantity.0)?))
        };
        Self(list.into_iter().flatten().filter_map(read).collect())
    }

    /// The amount of one resource.
    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Sets the amount of one resource.
    pub fn set(&mut self, name: &str, amount: i64) {
        self.0.insert(name.to_owned(), amount);
    }

    /// Every resource named, with its amount.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    /// Adds the other amounts.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let held = self.0.entry(name.clone()).or_default();
            *held = held.saturating_add(*amount);
        }
    }

    /// Takes the other amounts off.
    pub fn subtract(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let held = self.0.entry(name.clone()).or_default();
            *held = held.saturating_sub(*amount);
        }
    }

    /// Raises each amount to at least the other's.
    fn raise(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let held = self.0.entry(name.clone()).or_default();
            *held = (*held).max(*amount);
        }
    }
}

fn amount(name: &str, quantity: &str) -> Option<i64> {
    let quantity = objects::quantity::Quantity::parse(quantity).ok()?;
    Some(if name == "cpu" {
        quantity.as_millis()
    } else {
        quantity.as_bytes()
    })
}

/// What a pod asks for in all: its containers together, or its largest init container if that is more, and overhead.
/// Init containers that keep running count beside what comes after them.
pub fn requests(pod: &Pod) -> Amounts {
    let mut total = Amounts::default();
    let Some(spec) = &pod.spec else { return total };
    for container in &spec.containers {
        total.add(&container_requests(container));
    }
    let mut sidecars = Amounts::default();
    let mut largest_init = Amounts::default();
    for container in spec.init_containers.iter().flatten() {
        let asked = container_requests(container);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&asked);
            total.add(&asked);
            largest_init.raise(&sidecars);
        } else {
            let mut together = sidecars.clone();
            together.add(&asked);
            largest_init.raise(&together);
        }
    }
    total.raise(&largest_init);
    total.add(&Amounts::from_list(spec.overhead.as_ref()));
    total.set(PODS, 1);
    total
}

fn container_requests(container: &Container) -> Amounts {
    let none = ResourceRequirements::default();
    let resources = container.resources.as_ref().unwrap_or(&none);
    let mut asked = Amounts::from_list(resources.limits.as_ref());
    // A limit is a request where none is made.
    for (name, amount) in Amounts::from_list(resources.requests.as_ref()).0 {
        asked.0.insert(name, amount);
    }
    asked
}

/// What a pod asks for in all, as quantities; pods are left out.
pub fn requests_of(pod: &Pod) -> BTreeMap<String, objects::quantity::Quantity> {
    let quantity = |name: &str, amount: i64| match name {
        "cpu" => objects::quantity::Quantity::from_millis(amount),
        "memory" => objects::quantity::Quantity::from_bytes(u64::try_from(amount).unwrap_or(0)),
        _ if name.ends_with("storage") || name.starts_with("hugepages-") => {
            objects::quantity::Quantity::from_bytes(u64::try_from(amount).unwrap_or(0))
        }
        _ => objects::quantity::Quantity::from_units(amount),
    };
    let asked = requests(pod);
    asked
        .iter()
        .filter(|(name, _)| *name != PODS)
        .map(|(name, amount)| (name.to_owned(), quantity(name, amount)))
        .collect()
}

/// Whether this is a resource for graphics processors, of any vendor or slice.
pub fn is_gpu(name: &str) -> bool {
    name.split_once('/')
        .is_some_and(|(_, device)| device.starts_with("gpu") || device.starts_with("mig-"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"spec": spec})).unwrap()
    }

    #[test]
    fn the_largest_init_container_counts_when_it_asks_for_more() {
        let asked = requests(&pod(json!({
            "containers": [
                {"name": "a", "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}}},
                {"name": "b", "resources": {"requests": {"cpu": "1"}}},
            ],
            "initContainers": [{"name": "i", "resources": {"requests": {"cpu": "500m", "memory": "2Gi"}}}],
        })));
        assert_eq!(asked.get("cpu"), 1100);
        assert_eq!(asked.get("memory"), 2 << 30);
        assert_eq!(asked.get(PODS), 1);
    }

    #[test]
    fn a_sidecar_counts_beside_the_containers_and_later_init_containers() {
        let asked = requests(&pod(json!({
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}],
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "200m"}}},
                {"name": "i", "resources": {"requests": {"cpu": "1500m"}}},
            ],
        })));
        assert_eq!(asked.get("cpu"), 1700);
    }

    #[test]
    fn a_limit_is_a_request_where_none_is_made() {
        let asked = requests(&pod(json!({
            "containers": [{"name": "a", "resources": {"limits": {"nvidia.com/gpu": "1", "cpu": "2"}, "requests": {"cpu": "1"}}}],
        })));
        assert_eq!((asked.get("nvidia.com/gpu"), asked.get("cpu")), (1, 1000));
    }

    #[test]
    fn gpus_are_recognised_by_their_device_name() {
        assert!(
            is_gpu("nvidia.com/gpu") && is_gpu("amd.com/gpu") && is_gpu("nvidia.com/mig-1g.5gb")
        );
        assert!(!is_gpu("memory") && !is_gpu("example.com/fpga"));
    }
}
