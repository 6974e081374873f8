//! Disruption budgets say how many of their pods may be evicted; the API server refuses evictions beyond that.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;

use control::{Controller, Key, Queue, Writer, noted, owners};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::selector;
use crate::setup::Setup;
use crate::watches::Watches;
use plan::Scale;

struct Context {
    watches: Arc<Watches>,
    writer: Writer,
}

/// Starts the controller.
pub fn start(setup: &mut Setup) {
    let queue = Arc::new(Queue::default());
    let watches = setup.watches.clone();
    let wake = queue.clone();
    watches
        .budgets
        .on_change(move |change| wake.add(Key::of(change.latest().as_ref())));
    let (wake, budgets) = (queue.clone(), watches.budgets.clone());
    watches.pods.on_change(move |change| {
        for budget in budgets
            .cache()
            .in_namespace(&change.latest().namespace().unwrap_or_default())
        {
            if change.sides().any(|pod| selects(&budget, pod)) {
                wake.add(Key::of(budget.as_ref()));
            }
        }
    });
    // What owners want is part of what is allowed.
    macro_rules! wake_all_on {
        ($($kind:ident),*) => {$({
            let (wake, budgets) = (queue.clone(), watches.budgets.clone());
            watches.$kind.on_change(move |change| {
                for budget in budgets.cache().in_namespace(&change.latest().namespace().unwrap_or_default()) {
                    wake.add(Key::of(budget.as_ref()));
                }
            });
        })*};
    }
    wake_all_on!(
        deployments,
        replica_sets,
        stateful_sets,
        replication_controllers
    );

    let context = Arc::new(Context {
        writer: setup.writer("disruption-controller"),
        watches: watches.clone(),
    });
    let controller = Controller {
        name: "disruption",
        queue,
        workers: 2,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("disruption", async move {
        watches.budgets.synced().await;
        watches.pods.synced().await;
        watches.deployments.synced().await;
        watches.replica_sets.synced().await;
        watches.stateful_sets.synced().await;
        watches.replication_controllers.synced().await;
        controller
            .run(shutdown, move |key| reconcile(key, context.clone()))
            .await;
    });
}

/// An empty selector selects all pods of the namespace, an absent one none.
fn selects(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let wanted = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    wanted.is_some_and(|wanted| selector::matches(wanted, pod.labels()))
}

async fn reconcile(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let Some(budget) = context.watches.budgets.cache().get(&key) else {
        return Ok(None);
    };
    let pods = context.watches.pods.cache().in_namespace(&key.namespace);
    let pods: Vec<Arc<Pod>> = pods
        .into_iter()
        .filter(|pod| selects(&budget, pod))
        .collect();
    let scale = || scale(&context.watches, &key.namespace, &pods);
    let (status, next) = plan::plan(&budget, &pods, scale, Timestamp::now());
    // An eviction may have been let through meanwhile.
    noted::publish_unless_changed(
        &context.writer,
        &context.watches.budgets,
        &budget,
        budget.status.as_ref(),
        &status,
    )
    .await?;
    Ok(next)
}

/// What the owners of these pods want together. Pods without an owner want nothing.
fn scale(watches: &Watches, namespace: &str, pods: &[Arc<Pod>]) -> Scale {
    let mut wanted: BTreeMap<String, i32> = BTreeMap::new();
    for owner in pods
        .iter()
        .filter_map(|pod| owners::controller_of(pod.as_ref()))
    {
        let found = match owner.kind.as_str() {
            "ReplicaSet" => of_replica_set(watches, namespace, &owner.name),
            "ReplicationController" => watches
                .replication_controllers
                .cache()
                .find(namespace, &owner.name)
                .map(|held| {
                    (
                        held.uid(),
                        held.spec.as_ref().and_then(|spec| spec.replicas),
                    )
                }),
            "StatefulSet" => watches
                .stateful_sets
                .cache()
                .find(namespace, &owner.name)
                .map(|held| {
                    (
                        held.uid(),
                        held.spec.as_ref().and_then(|spec| spec.replicas),
                    )
                }),
            _ => return Scale::Unknown,
        };
        if let Some((uid, replicas)) = found {
            wanted.insert(uid.unwrap_or_default(), replicas.unwrap_or(1));
        }
    }
    Scale::Known(wanted.values().sum())
}

/// A replica set of a deployment wants what its deployment wants.
fn of_replica_set(
    watches: &Watches,
    namespace: &str,
    name: &str,
) -> Option<(Option<String>, Option<i32>)> {
    let set = watches.replica_sets.cache().find(namespace, name)?;
    let deployment = owners::controller_of(set.as_ref())
        .filter(|owner| owner.kind == "Deployment")
        .and_then(|owner| watches.deployments.cache().find(namespace, &owner.name));
    Some(match deployment {
        Some(held) => (
            held.uid(),
            held.spec.as_ref().and_then(|spec| spec.replicas),
        ),
        None => (set.uid(), set.spec.as_ref().and_then(|spec| spec.replicas)),
    })
}
