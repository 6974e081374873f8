//! A stateful set keeps numbered pods with names and claims of their own, and changes them one after the other.

mod build;
mod plan;

use std::sync::Arc;

use control::{Controller, Key, Queue, Recorder, Writer, noted, owners, write};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::pods::{claim, state};
use crate::revisions::{self, HASH_LABEL, Owner};
use crate::setup::Setup;
use crate::templated::Templated;
use crate::waking;
use crate::watches::Watches;
use plan::View;

const IDENTITY: &str = "statefulset-controller";

struct Context {
    watches: Arc<Watches>,
    writer: Writer,
    recorder: Recorder,
}

/// Starts the controller.
pub fn start(setup: &mut Setup) {
    let queue = Arc::new(Queue::default());
    let watches = setup.watches.clone();
    waking::themselves(&watches.stateful_sets, &queue);
    let sets = watches.stateful_sets.clone();
    waking::owners_of(
        &watches.pods,
        &queue,
        "StatefulSet",
        move |namespace, pod: &Pod| {
            let all = sets.cache().in_namespace(namespace);
            let numbering = all.iter().filter(|set| plan::ordinal(set, pod).is_some());
            numbering.map(|set| Key::of(set.as_ref())).collect()
        },
    );
    let wake = queue.clone();
    watches.revisions.on_change(move |change| {
        if let Some(key) = revisions::owner_key(change.latest(), "StatefulSet") {
            wake.add(key);
        }
    });
    let context = Arc::new(Context {
        writer: setup.writer(IDENTITY),
        recorder: setup.recorder(IDENTITY),
        watches: watches.clone(),
    });
    let controller = Controller {
        name: "statefulset",
        queue,
        workers: 5,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("statefulset", async move {
        watches.stateful_sets.synced().await;
        watches.revisions.synced().await;
        watches.pods.synced().await;
        watches.claims.synced().await;
        controller
            .run(shutdown, move |key| reconcile(key, context.clone()))
            .await;
    });
}

async fn reconcile(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let Some(set) = context.watches.stateful_sets.cache().get(&key) else {
        return Ok(None);
    };
    let Some(spec) = &set.spec else {
        return Ok(None);
    };
    let owner = owners::controller_reference(set.as_ref(), "apps/v1", "StatefulSet");
    let pods = observe(&context, &set).await?;
    if set.metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    let held = set.status.clone().unwrap_or_default();
    let of_revisions = Owner {
        namespace: key.namespace.clone(),
        reference: owner.clone(),
        labels: revisions::selector_labels(&spec.selector),
        template: &set.template,
        collisions: Some(held.collision_count.unwrap_or(0)),
    };
    let informer = &context.watches.revisions;
    let history = revisions::history(informer, &owner.uid);
    let Some(update) =
        revisions::ensure(&context.writer, informer, &of_revisions, &history).await?
    else {
        let collisions = Some(held.collision_count.unwrap_or(0) + 1);
        publish(
            &context,
            &set,
            &StatefulSetStatus {
                collision_count: collisions,
                ..held
            },
        )
        .await?;
        return Ok(Some(std::time::Duration::from_millis(10)));
    };
    let update_name = update.name_any();
    let current = held
        .current_revision
        .clone()
        .filter(|name| history.iter().any(|held| held.name_any() == *name));
    let current = current.unwrap_or_else(|| update_name.clone());

    let view = View {
        spec,
        update: &update_name,
        current: &current,
        pods,
    };
    let now = Timestamp::now();
    let plan = plan::plan(&view, now);
    for (number, is_updated) in &plan.create {
        let old = history
            .iter()
            .find(|revision| !*is_updated && revision.name_any() == current);
        create(
            &context,
            &set,
            *number,
            old.map(AsRef::as_ref),
            &update_name,
        )
        .await?;
    }
    for pod in &plan.delete {
        delete(&context, &set, pod).await?;
    }
    let status = status(&set, &view, &held, now);
    publish(&context, &set, &status).await?;
    let live = |name: &str| {
        name == update_name
            || status.current_revision.as_deref() == Some(name)
            || view.pods.iter().any(|(_, pod)| {
                pod.labels()
                    .get(HASH_LABEL)
                    .is_some_and(|held| held == name)
            })
    };
    let limit = spec.revision_history_limit.unwrap_or(10);
    revisions::truncate(
        &context.writer,
        informer,
        &revisions::history(informer, &owner.uid),
        live,
        limit,
    )
    .await?;
    Ok(next_check(&view, now))
}

/// When the minimum ready time of a pod will be over.
fn next_check(view: &View<'_>, now: Timestamp) -> control::Next {
    let seconds = view.spec.min_ready_seconds.filter(|seconds| *seconds > 0)?;
    let waits = view
        .pods
        .iter()
        .filter(|(_, pod)| !state::is_available(pod, seconds, now))
        .filter_map(|(_, pod)| {
            let left = i64::from(seconds) - now.duration_since(state::ready_since(pod)?).as_secs();
            Some(std::time::Duration::from_secs(
                u64::try_from(left).unwrap_or(0).max(1),
            ))
        });
    waits.min()
}

/// The set's pods by number, after adopting those of its name.
async fn observe(
    context: &Context,
    set: &Templated<StatefulSet>,
) -> kube::Result<Vec<(i32, Arc<Pod>)>> {
    let informer = &context.watches.pods;
    let owner = owners::controller_reference(set, "apps/v1", "StatefulSet");
    let selector = set
        .spec
        .as_ref()
        .map(|spec| spec.selector.clone())
        .unwrap_or_default();
    let candidates = claim::candidates(
        informer.cache(),
        &set.namespace().unwrap_or_default(),
        &owner.uid,
    );
    let named = candidates
        .into_iter()
        .filter(|pod| plan::ordinal(set, pod).is_some());
    let split = claim::claim(
        named,
        &owner.uid,
        set.metadata.deletion_timestamp.is_some(),
        &selector,
    );
    let pods = claim::settle(&context.writer, informer, split, &owner, None).await?;
    let numbered = pods
        .into_iter()
        .filter_map(|pod| Some((plan::ordinal(set, &pod)?, pod)));
    let mut pods: Vec<_> = numbered.collect();
    pods.sort_by_key(|(number, _)| *number);
    Ok(pods)
}

/// Creates the claims of a number, then its pod, so that the pod never waits for claims that were forgotten.
async fn create(
    context: &Context,
    set: &Templated<StatefulSet>,
    number: i32,
    old: Option<&ControllerRevision>,
    update: &str,
) -> kube::Result<()> {
    let namespace = set.namespace().unwrap_or_default();
    for body in build::claims(set, number) {
        let name = body["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if context
            .watches
            .claims
            .cache()
            .find(&namespace, &name)
            .is_some()
        {
            continue;
        }
        match context
            .writer
            .create::<PersistentVolumeClaim>(&namespace, body)
            .await
        {
            Ok(claim) => {
                let message = format!(
                    "create Claim {name} Pod {}-{number} in StatefulSet {} success",
                    set.name_any(),
                    set.name_any()
                );
                context.recorder.normal(set, "SuccessfulCreate", message);
                context.watches.claims.note(claim);
            }
            Err(error) if write::is_already_exists(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let template = old.and_then(revisions::template_of);
    let revision = old.map_or_else(|| update.to_owned(), ResourceExt::name_any);
    let body = build::pod(
        set,
        template.as_ref().unwrap_or(&set.template),
        number,
        &revision,
    );
    match context.writer.create::<Pod>(&namespace, body).await {
        Ok(pod) => {
            let message = format!(
                "create Pod {} in StatefulSet {} successful",
                pod.name_any(),
                set.name_any()
            );
            context.recorder.normal(set, "SuccessfulCreate", message);
            context.watches.pods.note(pod);
            Ok(())
        }
        Err(error)
            if write::is_namespace_terminating(&error) || write::is_already_exists(&error) =>
        {
            Ok(())
        }
        Err(error) => {
            let message = format!(
                "create Pod {}-{number} in StatefulSet {} failed error: {}",
                set.name_any(),
                set.name_any(),
                objects::chain(&error)
            );
            context.recorder.warning(set, "FailedCreate", message);
            Err(error)
        }
    }
}

async fn delete(
    context: &Context,
    set: &Templated<StatefulSet>,
    pod: &Arc<Pod>,
) -> kube::Result<()> {
    noted::delete(&context.writer, &context.watches.pods, pod, None).await?;
    let message = format!(
        "delete Pod {} in StatefulSet {} successful",
        pod.name_any(),
        set.name_any()
    );
    context.recorder.normal(set, "SuccessfulDelete", message);
    Ok(())
}

fn status(
    set: &Templated<StatefulSet>,
    view: &View<'_>,
    held: &StatefulSetStatus,
    now: Timestamp,
) -> StatefulSetStatus {
    let min_ready = view.spec.min_ready_seconds.unwrap_or(0);
    let count = |matches: &dyn Fn(&Pod) -> bool| {
        i32::try_from(view.pods.iter().filter(|(_, pod)| matches(pod)).count()).unwrap_or(i32::MAX)
    };
    let some = |count: i32| (count > 0).then_some(count);
    let is_alive = |pod: &Pod| !state::is_terminating(pod);
    let updated = count(&|pod| is_alive(pod) && view.is_updated(pod));
    let ready = count(&|pod| is_alive(pod) && state::is_ready(pod));
    let replicas = count(&|_| true);
    // A rollout is over when every wanted pod has the new template and is ready.
    let is_complete = updated == replicas && ready == replicas && replicas == view.replicas();
    let current = if is_complete {
        view.update
    } else {
        view.current
    };
    let on_current = count(&|pod| {
        is_alive(pod)
            && pod
                .labels()
                .get(HASH_LABEL)
                .is_some_and(|held| held == current)
    });
    StatefulSetStatus {
        replicas,
        ready_replicas: some(ready),
        available_replicas: Some(count(&|pod| {
            is_alive(pod) && state::is_available(pod, min_ready, now)
        })),
        updated_replicas: some(updated),
        current_replicas: some(on_current),
        current_revision: Some(current.to_owned()),
        update_revision: Some(view.update.to_owned()),
        observed_generation: set.metadata.generation,
        collision_count: Some(held.collision_count.unwrap_or(0)),
        conditions: held.conditions.clone(),
    }
}

async fn publish(
    context: &Context,
    set: &Templated<StatefulSet>,
    status: &StatefulSetStatus,
) -> kube::Result<()> {
    noted::publish(
        &context.writer,
        &context.watches.stateful_sets,
        set,
        set.status.as_ref(),
        status,
    )
    .await
}
