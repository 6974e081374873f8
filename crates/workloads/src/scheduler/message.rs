//! Why a pod is not scheduled, in the words kube-scheduler uses, and what to do about it.

use super::placement::Failure;
use super::resources::is_gpu;

/// The text of the PodScheduled condition and of the FailedScheduling event.
pub fn text(failure: &Failure) -> String {
    if failure.nodes == 0 {
        return "no nodes available to schedule pods".to_owned();
    }
    let nodes = failure.nodes;
    if let Some(everywhere) = &failure.everywhere {
        return format!(
            "0/{nodes} nodes are available: {everywhere}. preemption: 0/{nodes} nodes are available: {nodes} Preemption is not helpful for scheduling."
        );
    }
    let mut reasons: Vec<String> = failure
        .reasons
        .iter()
        .map(|(text, count)| format!("{count} {text}"))
        .collect();
    reasons.sort();
    let mut preemption = Vec::new();
    if failure.could_free_up > 0 {
        preemption.push(format!(
            "{} No preemption victims found for incoming pod",
            failure.could_free_up
        ));
    }
    if failure.could_free_up < nodes {
        preemption.push(format!(
            "{} Preemption is not helpful for scheduling",
            nodes - failure.could_free_up
        ));
    }
    let mut text = format!(
        "0/{nodes} nodes are available: {}. preemption: 0/{nodes} nodes are available: {}.",
        reasons.join(", "),
        preemption.join(", ")
    );
    for remedy in remedies(failure) {
        text.push(' ');
        text.push_str(&remedy);
    }
    text
}

/// What the owner of the machine can do about requests that no node can ever meet.
fn remedies(failure: &Failure) -> Vec<String> {
    let remedy = |name: &String| {
        if is_gpu(name) {
            Some(format!(
                "No node has as many {name} as this pod asks for: add a node with GPUs, or start with `kfctl up --gpu-fallback=cpu` to run such pods on the CPU."
            ))
        } else if name == "memory" {
            Some("No node has as much memory as this pod asks for: lower its request, or start with `kfctl up --memory-fallback=clamp` to run such pods with what there is.".to_owned())
        } else {
            Some(format!(
                "No node has as much {name} as this pod asks for: lower its request or add a larger node."
            ))
        }
    };
    failure.beyond_all.iter().filter_map(remedy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(reasons: &[(&str, usize)], could_free_up: usize) -> Failure {
        Failure {
            nodes: 3,
            reasons: reasons
                .iter()
                .map(|(text, count)| ((*text).to_owned(), *count))
                .collect(),
            could_free_up,
            ..Failure::default()
        }
    }

    #[test]
    fn reasons_are_counted_over_nodes() {
        let failure = failure(
            &[("Insufficient cpu", 2), ("node(s) were unschedulable", 1)],
            2,
        );
        assert_eq!(
            text(&failure),
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu. preemption: 0/3 nodes are \
             available: 2 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."
        );
    }

    #[test]
    fn a_gpu_that_no_node_has_comes_with_the_remedy() {
        let mut failure = failure(&[("Insufficient nvidia.com/gpu", 3)], 0);
        failure.beyond_all = vec!["nvidia.com/gpu".to_owned()];
        let text = text(&failure);
        assert!(
            text.starts_with("0/3 nodes are available: 3 Insufficient nvidia.com/gpu. "),
            "{text}"
        );
        assert!(text.contains("kfctl up --gpu-fallback=cpu"), "{text}");
    }

    #[test]
    fn without_nodes_that_is_what_is_said() {
        assert_eq!(
            text(&Failure::default()),
            "no nodes available to schedule pods"
        );
    }
}
