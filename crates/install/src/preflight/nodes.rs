//! What the nodes are: large enough, and with GPUs or without.

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client};

use super::{Finding, Verdict};

/// The guide's table: control planes 4 processors and 8 GB, workers 8 and 16. Nodes' capacity is a little below what
/// their machines are sold with.
pub fn sizes(nodes: &[Node]) -> Finding {
    const CHECK: &str = "node sizes";
    const ALLOWANCE: f64 = 0.93;
    if nodes.is_empty() {
        return Finding::new(
            CHECK,
            Verdict::Failure,
            "the cluster has no node",
            "add one",
        );
    }
    let mut small = Vec::new();
    for node in nodes {
        let labels = node.metadata.labels.clone().unwrap_or_default();
        let is_control_plane = labels.contains_key("node-role.kubernetes.io/control-plane")
            || labels.contains_key("node-role.kubernetes.io/master");
        let (cpus, gigabytes) = if is_control_plane {
            (4.0, 8.0)
        } else {
            (8.0, 16.0)
        };
        let capacity = node
            .status
            .as_ref()
            .and_then(|status| status.capacity.clone())
            .unwrap_or_default();
        let amount = |name: &str| {
            capacity
                .get(name)
                .and_then(|quantity| objects::quantity::Quantity::parse(&quantity.0).ok())
                .map_or(0.0, |quantity| quantity.to_f64())
        };
        let (has_cpus, has_gigabytes) = (amount("cpu"), amount("memory") / 1e9);
        if has_cpus < cpus || has_gigabytes < gigabytes * ALLOWANCE {
            let name = node.metadata.name.clone().unwrap_or_default();
            small.push(format!(
                "{name} has {has_cpus} CPU and {has_gigabytes:.0} GB ({} should have {cpus} and {gigabytes})",
                if is_control_plane { "a control plane" } else { "a worker" }
            ));
        }
    }
    if small.is_empty() {
        return Finding::ok(CHECK, format!("{} large enough", nodes.len()));
    }
    Finding::new(
        CHECK,
        Verdict::Warning,
        small.join("; "),
        "the platform itself starts in 1 GB; larger steps need larger nodes",
    )
}

/// What the nodes offer.
pub fn gpus(nodes: &[Node], has_operator: bool) -> Finding {
    const CHECK: &str = "GPUs";
    let count = |node: &Node| -> i64 {
        node.status
            .as_ref()
            .and_then(|status| status.allocatable.as_ref())
            .and_then(|allocatable| allocatable.get("nvidia.com/gpu"))
            .and_then(|quantity| quantity.0.parse().ok())
            .unwrap_or(0)
    };
    match (nodes.iter().map(count).sum::<i64>(), has_operator) {
        (0, true) => Finding::new(
            CHECK,
            Verdict::Warning,
            "the GPU operator is installed, and no node offers nvidia.com/gpu",
            "look at its pods: kubectl get pods -n gpu-operator",
        ),
        (0, false) => Finding::ok(CHECK, "none; steps that ask for one stay Pending"),
        (count, _) => Finding::ok(CHECK, format!("{count} nvidia.com/gpu")),
    }
}

/// Whether the GPU operator is installed.
pub async fn has_gpu_operator(client: &Client) -> bool {
    Api::<CustomResourceDefinition>::all(client.clone())
        .get_opt("clusterpolicies.nvidia.com")
        .await
        .is_ok_and(|found| found.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(cpus: &str, memory: &str, control_plane: bool) -> Node {
        let labels = if control_plane {
            json!({"node-role.kubernetes.io/control-plane": ""})
        } else {
            json!({})
        };
        serde_json::from_value(json!({
            "metadata": {"name": "n", "labels": labels},
            "status": {"capacity": {"cpu": cpus, "memory": memory}},
        }))
        .expect("a Node")
    }

    #[test]
    fn a_small_node_is_a_warning_and_a_cluster_without_nodes_a_failure() {
        assert_eq!(sizes(&[]).verdict, Verdict::Failure);
        assert_eq!(
            sizes(&[node("8", "16281432Ki", false)]).verdict,
            Verdict::Ok
        );
        assert_eq!(sizes(&[node("4", "7880Mi", true)]).verdict, Verdict::Ok);
        let small = sizes(&[node("4", "7880Mi", false)]);
        assert_eq!(small.verdict, Verdict::Warning);
        assert!(small.found.contains("n has 4 CPU") && !small.remedy.is_empty());
    }
}
