//! A daemon set keeps a pod on every node that suits.

mod plan;

use std::collections::BTreeMap;
use std::sync::Arc;

use control::{Controller, Key, Queue, Recorder, Writer, noted, owners, write};
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::pods::template::pod_from_template;
use crate::pods::{claim, state};
use crate::revisions::{self, HASH_LABEL, Owner};
use crate::setup::Setup;
use crate::templated::Templated;
use crate::waking;
use crate::watches::Watches;
use plan::{ByNode, TOLERATED};

const IDENTITY: &str = "daemon-set-controller";
const GENERATION: &str = "deprecated.daemonset.template.generation";

struct Context {
    watches: Arc<Watches>,
    writer: Writer,
    recorder: Recorder,
}

/// Starts the controller.
pub fn start(setup: &mut Setup) {
    let queue = Arc::new(Queue::default());
    let watches = setup.watches.clone();
    waking::themselves(&watches.daemon_sets, &queue);
    waking::owners_of(&watches.pods, &queue, "DaemonSet", waking::nobody);
    let (wake, sets) = (queue.clone(), watches.daemon_sets.clone());
    watches.nodes.on_change(move |change| {
        let view = |node: &k8s_openapi::api::core::v1::Node| {
            (
                node.metadata.labels.clone(),
                node.spec
                    .as_ref()
                    .map(|spec| (spec.taints.clone(), spec.unschedulable)),
            )
        };
        if change.old.as_deref().map(view) != change.new.as_deref().map(view) {
            for set in sets.cache().list() {
                wake.add(Key::of(set.as_ref()));
            }
        }
    });
    let context = Arc::new(Context {
        writer: setup.writer(IDENTITY),
        recorder: setup.recorder(IDENTITY),
        watches: watches.clone(),
    });
    let controller = Controller {
        name: "daemonset",
        queue,
        workers: 2,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("daemonset", async move {
        watches.daemon_sets.synced().await;
        watches.revisions.synced().await;
        watches.pods.synced().await;
        watches.nodes.synced().await;
        controller
            .run(shutdown, move |key| reconcile(key, context.clone()))
            .await;
    });
}

async fn reconcile(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let Some(set) = context.watches.daemon_sets.cache().get(&key) else {
        return Ok(None);
    };
    let Some(spec) = &set.spec else {
        return Ok(None);
    };
    if set.metadata.deletion_timestamp.is_some() || crate::selector::is_empty(&spec.selector) {
        return Ok(None);
    }
    let owner = owners::controller_reference(set.as_ref(), "apps/v1", "DaemonSet");
    let held = set.status.clone().unwrap_or_default();
    let of_revisions = Owner {
        namespace: key.namespace.clone(),
        reference: owner.clone(),
        labels: revisions::selector_labels(&spec.selector),
        template: &set.template,
        collisions: held.collision_count,
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
            &DaemonSetStatus {
                collision_count: collisions,
                ..held
            },
        )
        .await?;
        return Ok(Some(std::time::Duration::from_millis(10)));
    };
    let hash = update
        .labels()
        .get("controller.kubernetes.io/hash")
        .cloned()
        .unwrap_or_default();

    let pods = observe(&context, &set).await?;
    let template: Pod =
        serde_json::from_value(json!({"spec": set.template["spec"]})).unwrap_or_default();
    let nodes: BTreeMap<String, (bool, bool)> = context
        .watches
        .nodes
        .cache()
        .list()
        .iter()
        .map(|node| (node.name_any(), plan::suits(&template, node)))
        .collect();
    let now = Timestamp::now();
    let plan = plan::plan(spec, &hash, &pods, &nodes, now);
    for node in &plan.create {
        create(&context, &set, node, &hash).await?;
    }
    for pod in &plan.delete {
        delete(&context, &set, pod).await?;
    }
    publish(&context, &set, &status(&set, &pods, &nodes, &hash, now)).await?;
    let in_use = |name: &str| {
        let revision = history.iter().find(|revision| revision.name_any() == name);
        let hash =
            revision.and_then(|revision| revision.labels().get("controller.kubernetes.io/hash"));
        name == update.name_any()
            || pods.values().flatten().any(|pod| {
                pod.labels()
                    .get(HASH_LABEL)
                    .is_some_and(|held| Some(held) == hash)
            })
    };
    let limit = spec.revision_history_limit.unwrap_or(10);
    revisions::truncate(&context.writer, informer, &history, in_use, limit).await?;
    Ok(None)
}

async fn observe(context: &Context, set: &Templated<DaemonSet>) -> kube::Result<ByNode> {
    let informer = &context.watches.pods;
    let owner = owners::controller_reference(set, "apps/v1", "DaemonSet");
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
    let split = claim::claim(candidates, &owner.uid, false, &selector);
    let pods = claim::settle(&context.writer, informer, split, &owner, None).await?;
    let mut by_node = ByNode::new();
    for pod in pods {
        by_node
            .entry(plan::node_of(&pod).unwrap_or_default())
            .or_default()
            .push(pod);
    }
    Ok(by_node)
}

fn build(set: &Templated<DaemonSet>, node: &str, hash: &str) -> Value {
    let mut pod = pod_from_template(
        &set.template,
        &owners::controller_reference(set, "apps/v1", "DaemonSet"),
    );
    pod["metadata"]["labels"][HASH_LABEL] = hash.into();
    if let Some(generation) = set.annotations().get(GENERATION) {
        pod["metadata"]["labels"]["pod-template-generation"] = generation.clone().into();
    }
    let term =
        json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
    let required = &mut pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    match required["nodeSelectorTerms"]
        .as_array_mut()
        .filter(|terms| !terms.is_empty())
    {
        Some(terms) => terms
            .iter_mut()
            .for_each(|held| held["matchFields"] = term["matchFields"].clone()),
        None => required["nodeSelectorTerms"] = json!([term]),
    }
    let mut tolerations = pod["spec"]["tolerations"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let host_network = pod["spec"]["hostNetwork"] == true;
    let network = host_network.then_some(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    for (key, effect) in TOLERATED.iter().copied().chain(network) {
        let toleration = json!({"key": key, "operator": "Exists", "effect": effect});
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    pod["spec"]["tolerations"] = tolerations.into();
    pod
}

async fn create(
    context: &Context,
    set: &Templated<DaemonSet>,
    node: &str,
    hash: &str,
) -> kube::Result<()> {
    let namespace = set.namespace().unwrap_or_default();
    match context
        .writer
        .create::<Pod>(&namespace, build(set, node, hash))
        .await
    {
        Ok(pod) => {
            context.recorder.normal(
                set,
                "SuccessfulCreate",
                format!("Created pod: {}", pod.name_any()),
            );
            context.watches.pods.note(pod);
            Ok(())
        }
        Err(error) if write::is_namespace_terminating(&error) => Ok(()),
        Err(error) => {
            let message = format!("Error creating: {}", objects::chain(&error));
            context.recorder.warning(set, "FailedCreate", message);
            Err(error)
        }
    }
}

async fn delete(context: &Context, set: &Templated<DaemonSet>, pod: &Arc<Pod>) -> kube::Result<()> {
    noted::delete(&context.writer, &context.watches.pods, pod, None).await?;
    context.recorder.normal(
        set,
        "SuccessfulDelete",
        format!("Deleted pod: {}", pod.name_any()),
    );
    Ok(())
}

fn status(
    set: &Templated<DaemonSet>,
    pods: &ByNode,
    nodes: &BTreeMap<String, (bool, bool)>,
    hash: &str,
    now: Timestamp,
) -> DaemonSetStatus {
    let min_ready = set
        .spec
        .as_ref()
        .and_then(|spec| spec.min_ready_seconds)
        .unwrap_or(0);
    let mut status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        collision_count: set
            .status
            .as_ref()
            .and_then(|status| status.collision_count),
        conditions: set
            .status
            .as_ref()
            .and_then(|status| status.conditions.clone()),
        ..DaemonSetStatus::default()
    };
    let (mut updated, mut available) = (0, 0);
    for (node, (should_run, _)) in nodes {
        let held = pods.get(node).map(Vec::as_slice).unwrap_or_default();
        let pod = held
            .iter()
            .filter(|pod| !state::is_terminating(pod))
            .min_by_key(|pod| pod.creation_timestamp());
        if !should_run {
            status.number_misscheduled += i32::from(pod.is_some());
            continue;
        }
        status.desired_number_scheduled += 1;
        let Some(pod) = pod else { continue };
        status.current_number_scheduled += 1;
        status.number_ready += i32::from(state::is_ready(pod));
        available += i32::from(state::is_available(pod, min_ready, now));
        updated += i32::from(
            pod.labels()
                .get(HASH_LABEL)
                .is_some_and(|held| held == hash),
        );
    }
    let some = |count: i32| (count > 0).then_some(count);
    status.updated_number_scheduled = some(updated);
    status.number_available = some(available);
    status.number_unavailable = some(status.desired_number_scheduled - available);
    status
}

async fn publish(
    context: &Context,
    set: &Templated<DaemonSet>,
    status: &DaemonSetStatus,
) -> kube::Result<()> {
    noted::publish(
        &context.writer,
        &context.watches.daemon_sets,
        set,
        set.status.as_ref(),
        status,
    )
    .await
}
