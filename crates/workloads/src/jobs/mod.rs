//! A job runs pods until enough of them succeeded, or until it has to be given up. Every pod carries a finalizer until it
//! is counted, so none is counted twice or lost.

mod apply;
mod build;
mod failure_policy;
mod indexes;
mod manage;
mod plan;
mod tally;
mod verdict;

use std::sync::Arc;

use control::{Controller, Key, Queue, Recorder, Writer, owners};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::pods::claim;
use crate::setup::Setup;
use crate::templated::Templated;
use crate::waking;
use crate::watches::Watches;

pub use verdict::is_finished;

/// The finalizer of pods that are not counted yet.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// A pod's completion index, as label and annotation.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Failures of a pod's index before it.
const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const IDENTITY: &str = "job-controller";
const OUR_NAME: &str = "kubernetes.io/job-controller";

struct Context {
    watches: Arc<Watches>,
    writer: Writer,
    recorder: Recorder,
}

/// Starts the controller.
pub fn start(setup: &mut Setup) {
    let queue = Arc::new(Queue::default());
    let watches = setup.watches.clone();
    waking::themselves(&watches.jobs, &queue);
    let jobs = watches.jobs.clone();
    waking::owners_of(&watches.pods, &queue, "Job", move |namespace, pod: &Pod| {
        let all = jobs.cache().in_namespace(namespace);
        let selecting = all.iter().filter(|job| {
            let wanted = job.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            wanted.is_some_and(|wanted| crate::selector::matches(wanted, pod.labels()))
        });
        selecting.map(|job| Key::of(job.as_ref())).collect()
    });
    // Pods whose job is gone or over are let go.
    let orphans = Arc::new(Queue::default());
    let (wake, jobs) = (orphans.clone(), watches.jobs.clone());
    watches.pods.on_change(move |change| {
        if let Some(pod) = change.new.as_ref().filter(|pod| tally::is_tracked(pod))
            && is_orphaned(pod, jobs.cache())
        {
            wake.add(Key::of(pod.as_ref()));
        }
    });
    let (wake, pods) = (orphans.clone(), watches.pods.clone());
    watches.jobs.on_change(move |change| {
        let job = change.latest();
        if change.new.is_none() || is_finished(job) {
            for pod in pods.cache().controlled_by(&job.uid().unwrap_or_default()) {
                if tally::is_tracked(&pod) {
                    wake.add(Key::of(pod.as_ref()));
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
        name: "job",
        queue,
        workers: 5,
        metrics: setup.metrics.clone(),
    };
    let for_orphans = Controller {
        name: "job-orphans",
        queue: orphans,
        workers: 2,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("job", async move {
        watches.jobs.synced().await;
        watches.pods.synced().await;
        let of_orphans = context.clone();
        tokio::join!(
            controller.run(shutdown.clone(), move |key| reconcile(key, context.clone())),
            for_orphans.run(shutdown, move |key| let_go(key, of_orphans.clone())),
        );
    });
}

fn is_orphaned(pod: &Pod, jobs: &control::Cache<Templated<Job>>) -> bool {
    let Some(owner) = owners::controller_of(pod).filter(|owner| owner.kind == "Job") else {
        return true;
    };
    let job = jobs.find(&pod.namespace().unwrap_or_default(), &owner.name);
    job.filter(|job| job.uid().as_ref() == Some(&owner.uid))
        .is_none_or(|job| is_finished(&job))
}

async fn let_go(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let Some(pod) = context.watches.pods.cache().get(&key) else {
        return Ok(None);
    };
    if tally::is_tracked(&pod) && is_orphaned(&pod, context.watches.jobs.cache()) {
        apply::release(&context, &pod).await?;
    }
    Ok(None)
}

async fn reconcile(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let Some(job) = context.watches.jobs.cache().get(&key) else {
        return Ok(None);
    };
    let Some(spec) = &job.spec else {
        return Ok(None);
    };
    if is_finished(&job) || spec.managed_by.as_deref().is_some_and(|by| by != OUR_NAME) {
        return Ok(None);
    }
    let pods = observe(&context, &job).await?;
    let now = Timestamp::now();
    let plan = plan::plan(&job, &pods, now);
    apply::apply(&context, &job, plan, now).await
}

/// The job's pods, after adopting and releasing.
async fn observe(context: &Context, job: &Templated<Job>) -> kube::Result<Vec<Arc<Pod>>> {
    let informer = &context.watches.pods;
    let owner = owners::controller_reference(job, "batch/v1", "Job");
    let Some(selector) = job.spec.as_ref().and_then(|spec| spec.selector.clone()) else {
        return Ok(informer.cache().controlled_by(&owner.uid));
    };
    let namespace = job.namespace().unwrap_or_default();
    let candidates = claim::candidates(informer.cache(), &namespace, &owner.uid);
    let split = claim::claim(
        candidates,
        &owner.uid,
        job.metadata.deletion_timestamp.is_some(),
        &selector,
    );
    for pod in &split.release {
        apply::release(context, pod).await?;
    }
    claim::settle(&context.writer, informer, split, &owner, Some(TRACKING)).await
}
