//! A replica set keeps its number of pods: it adopts, creates and deletes them and reports how many are ready.

mod plan;
mod status;

use std::sync::Arc;

use control::{Controller, Key, Queue, Recorder, Writer, owners, write};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::pods::claim::{self, Claim};
use crate::pods::create::slow_start;
use crate::pods::{state, template};
use crate::selector;
use crate::setup::Setup;
use crate::templated::Templated;
use crate::watches::{BY_NODE, Watches};

const IDENTITY: &str = "replicaset-controller";

struct Context {
    watches: Arc<Watches>,
    writer: Writer,
    recorder: Recorder,
}

/// Starts the controller.
pub fn start(setup: &mut Setup) {
    let queue = Arc::new(Queue::default());
    let watches = setup.watches.clone();
    let wake = queue.clone();
    watches
        .replica_sets
        .on_change(move |change| wake.add(Key::of(change.latest().as_ref())));
    let (wake, sets) = (queue.clone(), watches.replica_sets.clone());
    watches.pods.on_change(move |change| {
        let pod = change.latest();
        for side in change.sides() {
            if let Some(owner) = owners::controller_of(side.as_ref()) {
                if owner.kind == "ReplicaSet" {
                    wake.add(Key::new(
                        side.namespace().unwrap_or_default(),
                        owner.name.clone(),
                    ));
                }
            } else if change.new.is_some() {
                for set in sets
                    .cache()
                    .in_namespace(&pod.namespace().unwrap_or_default())
                {
                    if selector::matches(
                        &set.spec
                            .as_ref()
                            .map(|spec| spec.selector.clone())
                            .unwrap_or_default(),
                        pod.labels(),
                    ) {
                        wake.add(Key::of(set.as_ref()));
                    }
                }
            }
        }
    });
    let context = Arc::new(Context {
        writer: setup.writer(IDENTITY),
        recorder: setup.recorder(IDENTITY),
        watches: watches.clone(),
    });
    let controller = Controller {
        name: "replicaset",
        queue,
        workers: 5,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("replicaset", async move {
        watches.replica_sets.synced().await;
        watches.pods.synced().await;
        controller
            .run(shutdown, move |key| reconcile(key, context.clone()))
            .await;
    });
}

async fn reconcile(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let Some(set) = context.watches.replica_sets.cache().get(&key) else {
        return Ok(None);
    };
    let Some(spec) = &set.spec else {
        return Ok(None);
    };
    let owner = owners::controller_reference(set.as_ref(), "apps/v1", "ReplicaSet");
    let is_deleted = set.metadata.deletion_timestamp.is_some();

    let candidates = claim::candidates(context.watches.pods.cache(), &key.namespace, &owner.uid);
    let active = candidates.into_iter().filter(|pod| state::is_active(pod));
    let split = claim::claim(active, &owner.uid, is_deleted, &spec.selector);
    let pods = settle_claim(&context, split, &owner).await?;

    let mut failure = None;
    if !is_deleted {
        failure = manage(&context, &set, &pods, &owner).await;
    }
    let now = Timestamp::now();
    let desired = status::desired(&set, &pods, failure.as_ref(), now);
    if let Some(patch) = status::patch(&set, &desired) {
        let updated = context
            .writer
            .patch_status::<Templated<ReplicaSet>>(&key, patch)
            .await;
        match updated {
            Ok(updated) => context.watches.replica_sets.note(updated),
            Err(error) if write::is_not_found(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    if let Some(failure) = failure {
        return Err(failure.error);
    }
    Ok(status::next_check(&set, &pods, now))
}

/// A refused creation or deletion and what the condition calls it.
struct Failure {
    reason: &'static str,
    error: kube::Error,
}

/// Adopts and releases; answers the pods that belong to the set.
async fn settle_claim(
    context: &Context,
    split: Claim<Pod>,
    owner: &OwnerReference,
) -> kube::Result<Vec<Arc<Pod>>> {
    let mut pods = split.owned;
    for (pod, patch) in split
        .adopt
        .iter()
        .map(|pod| (pod, claim::adoption(pod.as_ref(), owner, None)))
    {
        match context
            .writer
            .patch::<Pod>(&Key::of(pod.as_ref()), patch)
            .await
        {
            Ok(adopted) => {
                context.watches.pods.note(adopted.clone());
                pods.push(Arc::new(adopted));
            }
            Err(error) if write::is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
    }
    for pod in &split.release {
        match context
            .writer
            .patch::<Pod>(
                &Key::of(pod.as_ref()),
                claim::release(pod.as_ref(), &owner.uid),
            )
            .await
        {
            Ok(released) => context.watches.pods.note(released),
            Err(error) if write::is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(pods)
}

/// Creates or deletes the difference.
async fn manage(
    context: &Context,
    set: &Templated<ReplicaSet>,
    pods: &[Arc<Pod>],
    owner: &OwnerReference,
) -> Option<Failure> {
    let wanted = set
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    match plan::plan(
        wanted,
        pods,
        |node| context.watches.pods.cache().by_index(BY_NODE, node),
        set,
        Timestamp::now(),
    ) {
        plan::Plan::Keep => None,
        plan::Plan::Create(count) => create(context, set, count, owner).await,
        plan::Plan::Delete(victims) => delete(context, set, &victims).await,
    }
}

async fn create(
    context: &Context,
    set: &Templated<ReplicaSet>,
    count: usize,
    owner: &OwnerReference,
) -> Option<Failure> {
    let body = template::pod_from_template(&set.template, owner);
    let namespace = set.namespace().unwrap_or_default();
    let (_, error) = slow_start(count, |_| async {
        let pod = context
            .writer
            .create::<Pod>(&namespace, body.clone())
            .await?;
        context.recorder.normal(
            set,
            "SuccessfulCreate",
            format!("Created pod: {}", pod.name_any()),
        );
        context.watches.pods.note(pod);
        Ok(())
    })
    .await;
    let error = error?;
    // A namespace that goes away takes nothing new, and that is no failure.
    if write::is_namespace_terminating(&error) {
        return None;
    }
    context.recorder.warning(
        set,
        "FailedCreate",
        format!("Error creating: {}", message(&error)),
    );
    Some(Failure {
        reason: "FailedCreate",
        error,
    })
}

async fn delete(
    context: &Context,
    set: &Templated<ReplicaSet>,
    victims: &[Arc<Pod>],
) -> Option<Failure> {
    let outcomes = futures::future::join_all(victims.iter().map(|pod| async {
        match context.writer.delete(pod.as_ref(), None).await? {
            Some(write::Deleted::Going(held)) => context.watches.pods.note(*held),
            Some(write::Deleted::Gone) | None => {
                context.watches.pods.note_gone(pod.as_ref().clone())
            }
        }
        context.recorder.normal(
            set,
            "SuccessfulDelete",
            format!("Deleted pod: {}", pod.name_any()),
        );
        Ok::<(), kube::Error>(())
    }))
    .await;
    let error = outcomes.into_iter().find_map(Result::err)?;
    context.recorder.warning(
        set,
        "FailedDelete",
        format!("Error deleting: {}", message(&error)),
    );
    Some(Failure {
        reason: "FailedDelete",
        error,
    })
}

/// The server's own words for a refusal.
fn message(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
