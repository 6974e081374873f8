//! What may be waived for pods that no node could ever run, when the owner of the machine said so.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::resources::{Amounts, is_gpu};

/// On a pod that asked for GPUs and runs without.
pub const GPU_ANNOTATION: &str = "ferroflow.io/gpu-fallback";
/// On a pod that asked for more memory than there is.
pub const MEMORY_ANNOTATION: &str = "ferroflow.io/memory-fallback";

/// Which requests are waived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fallback {
    /// GPUs: the pod runs on the CPU.
    pub gpu: bool,
    /// Memory: the pod runs with what there is, and does not count against others.
    pub memory: bool,
}

impl Fallback {
    /// What was waived for a pod when it was bound.
    pub fn of(pod: &Pod) -> Self {
        Self {
            gpu: pod.annotations().contains_key(GPU_ANNOTATION),
            memory: pod.annotations().contains_key(MEMORY_ANNOTATION),
        }
    }

    /// What has to be waived for a pod that asks for `asked`, of what is `allowed`, given what each node has in all.
    pub fn needed<'a>(
        allowed: Self,
        asked: &Amounts,
        nodes: impl Iterator<Item = &'a Amounts> + Clone,
    ) -> Self {
        let none_has = |name: &str, amount: i64| {
            nodes
                .clone()
                .all(|allocatable| allocatable.get(name) < amount)
        };
        Self {
            gpu: allowed.gpu
                && asked
                    .iter()
                    .any(|(name, amount)| is_gpu(name) && amount > 0 && none_has(name, amount)),
            memory: allowed.memory && none_has("memory", asked.get("memory")),
        }
    }

    /// What a pod counts for after waiving.
    pub fn reduce(self, mut asked: Amounts) -> Amounts {
        if self.gpu {
            let gpus: Vec<String> = asked
                .iter()
                .filter(|(name, _)| is_gpu(name))
                .map(|(name, _)| name.to_owned())
                .collect();
            for name in gpus {
                asked.set(&name, 0);
            }
        }
        if self.memory {
            asked.set("memory", 0);
        }
        asked
    }

    /// The annotations that say what was waived.
    pub fn annotations(self) -> BTreeMap<&'static str, &'static str> {
        let gpu = self.gpu.then_some((GPU_ANNOTATION, "cpu"));
        let memory = self.memory.then_some((MEMORY_ANNOTATION, "clamp"));
        gpu.into_iter().chain(memory).collect()
    }

    /// The same in words, for the pod's events.
    pub fn words(self) -> Vec<(&'static str, &'static str)> {
        let gpu = self.gpu.then_some((
            "GpuFallback",
            "No node has the GPUs this pod asks for; it runs on the CPU, as --gpu-fallback=cpu allows.",
        ));
        let memory = self.memory.then_some((
            "MemoryFallback",
            "No node has the memory this pod asks for; it runs with what there is, as --memory-fallback=clamp allows.",
        ));
        gpu.into_iter().chain(memory).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amounts(list: &[(&str, i64)]) -> Amounts {
        let mut amounts = Amounts::default();
        for (name, amount) in list {
            amounts.set(name, *amount);
        }
        amounts
    }

    #[test]
    fn only_what_no_node_could_ever_give_is_waived() {
        let both = Fallback {
            gpu: true,
            memory: true,
        };
        let node = amounts(&[("memory", 100), ("nvidia.com/gpu", 1)]);
        let nodes = [&node];
        let needed =
            |asked: &[(&str, i64)]| Fallback::needed(both, &amounts(asked), nodes.iter().copied());
        assert_eq!(
            needed(&[("nvidia.com/gpu", 1), ("memory", 100)]),
            Fallback::default()
        );
        assert_eq!(
            needed(&[("nvidia.com/gpu", 2)]),
            Fallback {
                gpu: true,
                memory: false
            }
        );
        assert_eq!(
            needed(&[("memory", 101)]),
            Fallback {
                gpu: false,
                memory: true
            }
        );
    }

    #[test]
    fn nothing_is_waived_that_was_not_allowed() {
        let node = amounts(&[]);
        let asked = amounts(&[("nvidia.com/gpu", 1), ("memory", 5)]);
        let needed = Fallback::needed(Fallback::default(), &asked, [&node].into_iter());
        assert_eq!(needed, Fallback::default());
        assert_eq!(needed.reduce(asked.clone()), asked);
    }
}
