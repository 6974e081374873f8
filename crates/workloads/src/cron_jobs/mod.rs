//! A CronJob starts jobs at the times of its schedule and keeps the last few.

mod plan;
mod schedule;

use std::sync::Arc;

use control::{Controller, Key, Queue, Recorder, Writer, noted, owners, write};
use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::PropagationPolicy;
use serde_json::{Value, json};

use crate::setup::Setup;
use crate::templated::Templated;
use crate::waking;
use crate::watches::Watches;

const IDENTITY: &str = "cronjob-controller";

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
    watches.cron_jobs.on_change(move |change| {
        let seen = |cron: &Templated<CronJob>| {
            (
                cron.metadata.generation,
                cron.metadata.deletion_timestamp.clone(),
            )
        };
        if change.old.as_deref().map(seen) != change.new.as_deref().map(seen) {
            wake.add(Key::of(change.latest().as_ref()));
        }
    });
    waking::owners_of(&watches.jobs, &queue, "CronJob", waking::nobody);
    let context = Arc::new(Context {
        writer: setup.writer(IDENTITY),
        recorder: setup.recorder(IDENTITY),
        watches: watches.clone(),
    });
    let controller = Controller {
        name: "cronjob",
        queue,
        workers: 5,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("cronjob", async move {
        watches.cron_jobs.synced().await;
        watches.jobs.synced().await;
        controller
            .run(shutdown, move |key| reconcile(key, context.clone()))
            .await;
    });
}

/// The name of the job of a time: the same time never makes two jobs.
fn job_name(cron: &Templated<CronJob>, at: Timestamp) -> String {
    format!("{}-{}", cron.name_any(), at.as_second() / 60)
}

async fn reconcile(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let Some(cron) = context.watches.cron_jobs.cache().get(&key) else {
        return Ok(None);
    };
    let jobs = context
        .watches
        .jobs
        .cache()
        .controlled_by(&cron.uid().unwrap_or_default());
    let plan = plan::plan(&cron, &jobs, Timestamp::now());
    for (warns, reason, message) in &plan.events {
        if *warns {
            context
                .recorder
                .warning(cron.as_ref(), reason, message.clone());
        } else {
            context
                .recorder
                .normal(cron.as_ref(), reason, message.clone());
        }
    }
    for job in plan.delete.iter().chain(&plan.replace) {
        delete(&context, &cron, job).await?;
    }
    let mut status = plan.status;
    for job in &plan.replace {
        if let Some(active) = &mut status.active {
            active.retain(|reference| reference.uid != job.uid());
        }
    }
    publish(&context, &cron, &status).await?;
    if let Some(at) = plan.start
        && let Some(job) = create(&context, &cron, at).await?
    {
        status
            .active
            .get_or_insert_default()
            .push(plan::reference(&job));
        status.last_schedule_time = Some(Time(at));
        // What was published above is the base of the next patch.
        if let Some(current) = context.watches.cron_jobs.cache().get(&key) {
            publish(&context, &current, &status).await?;
        }
    }
    Ok(plan.next)
}

async fn create(
    context: &Context,
    cron: &Templated<CronJob>,
    at: Timestamp,
) -> kube::Result<Option<Templated<Job>>> {
    let name = job_name(cron, at);
    let namespace = cron.namespace().unwrap_or_default();
    match context
        .writer
        .create::<Templated<Job>>(&namespace, build(cron, &name, at))
        .await
    {
        Ok(job) => {
            context
                .recorder
                .normal(cron, "SuccessfulCreate", format!("Created job {name}"));
            context.watches.jobs.note(job.clone());
            Ok(Some(job))
        }
        Err(error) if write::is_namespace_terminating(&error) => Ok(None),
        Err(error) if write::is_already_exists(&error) => Ok(None),
        Err(error) => {
            let message = format!("Error creating job: {}", objects::chain(&error));
            context.recorder.warning(cron, "FailedCreate", message);
            Err(error)
        }
    }
}

fn build(cron: &Templated<CronJob>, name: &str, at: Timestamp) -> Value {
    let (annotation, time) = plan::time_annotation(at);
    let template = &cron.template;
    let mut metadata = json!({
        "name": name,
        "labels": template["metadata"]["labels"],
        "annotations": template["metadata"]["annotations"],
        "ownerReferences": [owners::controller_reference(cron, "batch/v1", "CronJob")],
    });
    metadata["annotations"][annotation] = time.into();
    json!({"metadata": metadata, "spec": template["spec"]})
}

async fn delete(
    context: &Context,
    cron: &Templated<CronJob>,
    job: &Arc<Templated<Job>>,
) -> kube::Result<()> {
    noted::delete(
        &context.writer,
        &context.watches.jobs,
        job,
        Some(PropagationPolicy::Background),
    )
    .await?;
    context.recorder.normal(
        cron,
        "SuccessfulDelete",
        format!("Deleted job {}", job.name_any()),
    );
    Ok(())
}

async fn publish(
    context: &Context,
    cron: &Templated<CronJob>,
    status: &CronJobStatus,
) -> kube::Result<()> {
    noted::publish(
        &context.writer,
        &context.watches.cron_jobs,
        cron,
        cron.status.as_ref(),
        status,
    )
    .await
}
