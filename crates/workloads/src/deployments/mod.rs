//! A deployment rolls its template out through replica sets, one per template, and tells how far it is.

mod apply;
mod build;
mod observe;
mod plan;
mod progress;
mod rollout;
mod scale;
mod status;

use std::sync::Arc;

use control::{Controller, Key, Queue, Recorder, Writer, owners};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::selector;
use crate::setup::Setup;
use crate::waking;
use crate::watches::Watches;

pub use rollout::resolve;

const IDENTITY: &str = "deployment-controller";

struct Context {
    watches: Arc<Watches>,
    writer: Writer,
    recorder: Recorder,
}

/// Starts the controller.
pub fn start(setup: &mut Setup) {
    let queue = Arc::new(Queue::default());
    let watches = setup.watches.clone();
    waking::themselves(&watches.deployments, &queue);
    let deployments = watches.deployments.clone();
    waking::owners_of(
        &watches.replica_sets,
        &queue,
        "Deployment",
        move |namespace, set| {
            let all = deployments.cache().in_namespace(namespace);
            let selecting = all.iter().filter(|deployment| {
                deployment
                    .spec
                    .as_ref()
                    .is_some_and(|spec| selector::matches(&spec.selector, set.labels()))
            });
            selecting.map(|found| Key::of(found.as_ref())).collect()
        },
    );
    // A deployment that recreates waits for its last old pod to go.
    let (wake, sets) = (queue.clone(), watches.replica_sets.clone());
    watches.pods.on_change(move |change| {
        let pod = change.latest();
        let ended = change.new.is_none() || crate::pods::state::is_terminal(pod);
        if let Some(owner) =
            owners::controller_of(pod.as_ref()).filter(|owner| ended && owner.kind == "ReplicaSet")
        {
            let namespace = pod.namespace().unwrap_or_default();
            let set = sets.cache().find(&namespace, &owner.name);
            if let Some(deployment) = set.as_deref().and_then(owners::controller_of) {
                wake.add(Key::new(namespace, deployment.name.clone()));
            }
        }
    });
    let context = Arc::new(Context {
        writer: setup.writer(IDENTITY),
        recorder: setup.recorder(IDENTITY),
        watches: watches.clone(),
    });
    let controller = Controller {
        name: "deployment",
        queue,
        workers: 5,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("deployment", async move {
        watches.deployments.synced().await;
        watches.replica_sets.synced().await;
        watches.pods.synced().await;
        controller
            .run(shutdown, move |key| reconcile(key, context.clone()))
            .await;
    });
}

async fn reconcile(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let Some(deployment) = context.watches.deployments.cache().get(&key) else {
        return Ok(None);
    };
    let observed = observe::observe(&context, &deployment).await?;
    let now = Timestamp::now();
    let plan = plan::plan(&deployment, &observed, now);
    apply::apply(&context, &deployment, &observed, plan, now).await
}
