//! A replica set keeps its number of pods: it adopts, creates and deletes them and reports how many are ready.

mod plan;
mod source;
mod status;

use std::sync::Arc;

use control::events::Severity;
use control::{Controller, Key, Queue, Recorder, Writer, noted, owners, write};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::pods::claim;
use crate::pods::create::slow_start;
use crate::pods::{state, template};
use crate::setup::Setup;
use crate::templated::Templated;
use crate::waking;
use crate::watches::{BY_NODE, Watches};
use source::Source;

struct Context {
    watches: Arc<Watches>,
    source: Source,
    writer: Writer,
    recorder: Recorder,
}

/// Starts the controller of replica sets and that of replication controllers, their older form.
pub fn start(setup: &mut Setup) {
    let sets = Source::Sets(setup.watches.replica_sets.clone());
    let controllers = Source::Controllers(setup.watches.replication_controllers.clone());
    start_for(setup, "replicaset", "replicaset-controller", sets);
    start_for(
        setup,
        "replicationcontroller",
        "replication-controller",
        controllers,
    );
}

fn start_for(setup: &mut Setup, name: &'static str, identity: &str, source: Source) {
    let queue = Arc::new(Queue::default());
    let watches = setup.watches.clone();
    let wake = queue.clone();
    source.on_change(move |key| wake.add(key));
    let adopters = source.clone();
    waking::owners_of(
        &watches.pods,
        &queue,
        source.kind(),
        move |namespace, pod: &Pod| adopters.selecting(namespace, pod.labels()),
    );
    let context = Arc::new(Context {
        writer: setup.writer(identity),
        recorder: setup.recorder(identity),
        watches: watches.clone(),
        source,
    });
    let controller = Controller {
        name,
        queue,
        workers: 5,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn(name, async move {
        context.source.synced().await;
        watches.pods.synced().await;
        controller
            .run(shutdown, move |key| reconcile(key, context.clone()))
            .await;
    });
}

async fn reconcile(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let Some(set) = context.source.get(&key) else {
        return Ok(None);
    };
    let Some(spec) = &set.spec else {
        return Ok(None);
    };
    let owner = owners::controller_reference(
        set.as_ref(),
        context.source.api_version(),
        context.source.kind(),
    );
    let is_deleted = set.metadata.deletion_timestamp.is_some();

    let informer = &context.watches.pods;
    let candidates = claim::candidates(informer.cache(), &key.namespace, &owner.uid);
    let active = candidates.into_iter().filter(|pod| state::is_active(pod));
    let split = claim::claim(active, &owner.uid, is_deleted, &spec.selector);
    let pods = claim::settle(&context.writer, informer, split, &owner, None).await?;

    let mut failure = None;
    if !is_deleted {
        failure = manage(&context, &set, &pods, &owner).await;
    }
    let now = Timestamp::now();
    let desired = status::desired(&set, &pods, failure.as_ref(), now);
    context
        .source
        .publish(&context.writer, &set, &desired)
        .await?;
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

impl Context {
    fn record(
        &self,
        set: &Templated<ReplicaSet>,
        severity: Severity,
        reason: &str,
        message: String,
    ) {
        self.recorder
            .record(&self.source.reference(set), severity, reason, message);
    }
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
        context.record(
            set,
            Severity::Normal,
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
    context.record(
        set,
        Severity::Warning,
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
        noted::delete(&context.writer, &context.watches.pods, pod, None).await?;
        context.record(
            set,
            Severity::Normal,
            "SuccessfulDelete",
            format!("Deleted pod: {}", pod.name_any()),
        );
        Ok::<(), kube::Error>(())
    }))
    .await;
    let error = outcomes.into_iter().find_map(Result::err)?;
    context.record(
        set,
        Severity::Warning,
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
