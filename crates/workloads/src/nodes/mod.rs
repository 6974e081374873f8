//! A node whose heartbeats stop is marked as not heard of, and nodes that are not ready get the taint that keeps new
//! pods away. Pods on a lost node are left alone: here the node is this very machine.

mod plan;

use std::sync::Arc;

use control::{Controller, Key, Queue, Recorder, Writer, write};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::jiff::Timestamp;

use crate::setup::Setup;
use crate::watches::Watches;

/// The namespace of the leases by which nodes say that they live.
const LEASES: &str = "kube-node-lease";
const IDENTITY: &str = "node-controller";

struct Context {
    watches: Arc<Watches>,
    writer: Writer,
    recorder: Recorder,
    started: Timestamp,
}

/// Starts the controller.
pub fn start(setup: &mut Setup) {
    let queue = Arc::new(Queue::default());
    let watches = setup.watches.clone();
    let wake = queue.clone();
    watches
        .nodes
        .on_change(move |change| wake.add(Key::of(change.latest().as_ref())));
    let wake = queue.clone();
    watches.leases.on_change(move |change| {
        let lease = change.latest();
        if lease.metadata.namespace.as_deref() == Some(LEASES) {
            wake.add(Key::cluster(
                lease.metadata.name.clone().unwrap_or_default(),
            ));
        }
    });
    let context = Arc::new(Context {
        writer: setup.writer(IDENTITY),
        recorder: setup.recorder(IDENTITY),
        started: Timestamp::now(),
        watches: watches.clone(),
    });
    let controller = Controller {
        name: "node-lifecycle",
        queue,
        workers: 1,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("node-lifecycle", async move {
        watches.nodes.synced().await;
        watches.leases.synced().await;
        controller
            .run(shutdown, move |key| reconcile(key, context.clone()))
            .await;
    });
}

async fn reconcile(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let Some(node) = context.watches.nodes.cache().get(&key) else {
        return Ok(None);
    };
    let lease = context.watches.leases.cache().find(LEASES, &key.name);
    let plan = plan::plan(&node, lease.as_deref(), context.started, Timestamp::now());
    if let Some(patch) = plan.status {
        let updated = context
            .writer
            .patch_status_by_key::<Node>(&key, patch)
            .await;
        if !settle(&context, updated)? {
            return Ok(None);
        }
        let message = format!("Node {} status is now: NodeNotReady", key.name);
        context
            .recorder
            .normal(node.as_ref(), "NodeNotReady", message);
    }
    if let Some(patch) = plan.taints {
        let updated = context.writer.patch::<Node>(&key, patch).await;
        settle(&context, updated)?;
    }
    Ok(plan.next)
}

/// Notes a written node; answers whether there still is one.
fn settle(context: &Context, updated: kube::Result<Node>) -> kube::Result<bool> {
    match updated {
        Ok(node) => {
            context.watches.nodes.note(node);
            Ok(true)
        }
        Err(error) if write::is_not_found(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
