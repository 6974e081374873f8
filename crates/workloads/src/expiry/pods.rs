//! Deletes pods that nobody will ever end: those of nodes that are gone, those deleted without ever having had a node,
//! and the oldest ended ones beyond a limit.

use std::sync::Arc;
use std::time::Duration;

use control::{Controller, Key, Queue, Writer, write};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};
use serde_json::json;

use crate::pods::state;
use crate::setup::Setup;
use crate::watches::{BY_NODE, ENDED, Watches};

/// Ended pods that are kept: as many as kube-controller-manager keeps.
const KEPT: usize = 12_500;
/// How long a node may be missing before its pods are given up.
const QUARANTINE: Duration = Duration::from_secs(40);

struct Context {
    watches: Arc<Watches>,
    writer: Writer,
}

/// Starts the controller.
pub fn start(setup: &mut Setup) {
    let queue = Arc::new(Queue::default());
    let watches = setup.watches.clone();
    let (wake, nodes, pods) = (queue.clone(), watches.nodes.clone(), watches.pods.clone());
    watches.pods.on_change(move |change| {
        let Some(pod) = &change.new else { return };
        let key = Key::of(pod.as_ref());
        match state::node(pod) {
            None if state::is_terminating(pod) => wake.add(key),
            Some(node) if nodes.cache().find("", node).is_none() => wake.add_after(key, QUARANTINE),
            _ => {}
        }
        if pods.cache().count(ENDED, "") > KEPT {
            let mut ended = pods.cache().by_index(ENDED, "");
            ended.sort_by_key(|pod| pod.creation_timestamp());
            for pod in &ended[..ended.len() - KEPT] {
                wake.add(Key::of(pod.as_ref()));
            }
        }
    });
    let (wake, pods) = (queue.clone(), watches.pods.clone());
    watches.nodes.on_change(move |change| {
        if change.new.is_none() {
            for pod in pods.cache().by_index(BY_NODE, &change.latest().name_any()) {
                wake.add_after(Key::of(pod.as_ref()), QUARANTINE);
            }
        }
    });
    let context = Arc::new(Context {
        writer: setup.writer("pod-garbage-collector"),
        watches: watches.clone(),
    });
    let controller = Controller {
        name: "pod-garbage-collector",
        queue,
        workers: 4,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("pod-garbage-collector", async move {
        watches.nodes.synced().await;
        watches.pods.synced().await;
        controller
            .run(shutdown, move |key| reconcile(key, context.clone()))
            .await;
    });
}

/// Why a pod has to go.
#[derive(Debug, PartialEq)]
enum Verdict {
    Keep,
    /// Its node is gone; whoever waits for it is told that it failed.
    Lost,
    /// Nothing is left to wait for.
    Over,
}

fn judge(pod: &Pod, has_node: bool, is_beyond_limit: bool) -> Verdict {
    match state::node(pod) {
        None if state::is_terminating(pod) => Verdict::Over,
        Some(_) if !has_node && !state::is_terminal(pod) => Verdict::Lost,
        Some(_) if !has_node => Verdict::Over,
        _ if state::is_terminal(pod) && is_beyond_limit => Verdict::Over,
        _ => Verdict::Keep,
    }
}

async fn reconcile(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let pods = context.watches.pods.cache();
    let Some(pod) = pods.get(&key) else {
        return Ok(None);
    };
    let has_node = state::node(&pod)
        .is_some_and(|node| context.watches.nodes.cache().find("", node).is_some());
    let verdict = judge(&pod, has_node, pods.count(ENDED, "") > KEPT);
    if verdict == Verdict::Keep {
        return Ok(None);
    }
    if verdict == Verdict::Lost {
        let condition = json!({
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists",
            "lastTransitionTime": Time(Timestamp::now()),
        });
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"phase": "Failed", "conditions": [condition]}});
        match context.writer.patch_status_by_key::<Pod>(&key, patch).await {
            Ok(updated) => context.watches.pods.note(updated),
            Err(error) if write::is_not_found(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: pod.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    context.writer.delete_with(pod.as_ref(), &params).await?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(node: Option<&str>, phase: &str, is_terminating: bool) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "deletionTimestamp": is_terminating.then_some("2026-01-01T00:00:00Z")},
            "spec": {"containers": [], "nodeName": node},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    #[test]
    fn a_running_pod_of_a_node_that_is_gone_has_failed() {
        assert_eq!(
            judge(&pod(Some("n"), "Running", false), false, false),
            Verdict::Lost
        );
        assert_eq!(
            judge(&pod(Some("n"), "Succeeded", false), false, false),
            Verdict::Over
        );
        assert_eq!(
            judge(&pod(Some("n"), "Running", true), true, true),
            Verdict::Keep
        );
    }

    #[test]
    fn a_pod_deleted_before_it_had_a_node_goes_at_once() {
        assert_eq!(
            judge(&pod(None, "Pending", true), false, false),
            Verdict::Over
        );
        assert_eq!(
            judge(&pod(None, "Pending", false), false, false),
            Verdict::Keep
        );
    }

    #[test]
    fn ended_pods_go_only_beyond_the_limit() {
        assert_eq!(
            judge(&pod(Some("n"), "Failed", false), true, true),
            Verdict::Over
        );
        assert_eq!(
            judge(&pod(Some("n"), "Failed", false), true, false),
            Verdict::Keep
        );
    }
}
