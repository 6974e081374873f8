//! Carries a step of a job out: pods first, then the status that knows them, then their finalizers, then the status
//! that has counted them. A crash in between repeats steps but never counts a pod twice.

use std::collections::HashSet;
use std::sync::Arc;

use control::{Key, finalizers, noted, write};
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::plan::{Plan, settle};
use super::verdict::{self, Verdict};
use super::{Context, TRACKING, build};
use crate::pods::create::slow_start;
use crate::templated::Templated;

/// Carries the plan out.
pub async fn apply(
    context: &Context,
    job: &Templated<Job>,
    plan: Plan,
    now: Timestamp,
) -> kube::Result<control::Next> {
    let (created, failure) = create(context, job, &plan).await;
    let mut active = plan.active + created;
    let mut terminating = plan.terminating;
    for pod in &plan.delete {
        release(context, pod).await?;
        delete(context, job, pod).await?;
        active -= 1;
    }
    for pod in &plan.stop {
        active -= 1;
        terminating += i32::from(delete(context, job, pod).await?);
    }
    match plan.suspension {
        Some(true) => context.recorder.normal(job, "Suspended", "Job suspended"),
        Some(false) => context.recorder.normal(job, "Resumed", "Job resumed"),
        None => {}
    }
    let mut status = plan.status;
    status.active = (active > 0).then_some(active);
    status.terminating = Some(terminating);

    let mut held = job.status.clone().unwrap_or_default();
    let mut still_tracked = HashSet::new();
    if !plan.release.is_empty() {
        publish(context, job, &held, &status).await?;
        held = status.clone();
        for pod in &plan.release {
            if let Err(error) = release(context, pod).await {
                tracing::debug!(object = %pod.name_any(), error = %objects::chain(&error), "finalizer stays for now");
                still_tracked.insert(pod.uid().unwrap_or_default());
            }
        }
    }
    // Pods that are gone altogether are no longer tracked either.
    let was_finished = verdict::is_finished(job);
    let settled = settle(
        status,
        |uid| still_tracked.contains(uid),
        active,
        terminating,
        plan.verdict.as_ref(),
        now,
    );
    publish(context, job, &held, &settled).await?;
    if !was_finished {
        report_end(context, job, &settled, plan.verdict.as_ref());
    }
    if let Some(error) = failure.filter(|error| !write::is_namespace_terminating(error)) {
        return Err(error);
    }
    if !still_tracked.is_empty() {
        return Ok(Some(std::time::Duration::from_millis(100)));
    }
    Ok(plan.next)
}

async fn create(
    context: &Context,
    job: &Templated<Job>,
    plan: &Plan,
) -> (i32, Option<kube::Error>) {
    if plan.create.is_empty() {
        return (0, None);
    }
    let namespace = job.namespace().unwrap_or_default();
    let (created, failure) = slow_start(plan.create.len(), |position| {
        let (body, namespace) = (build::pod(job, plan.create[position]), &namespace);
        async move {
            let pod = context.writer.create::<Pod>(namespace, body).await?;
            context.recorder.normal(
                job,
                "SuccessfulCreate",
                format!("Created pod: {}", pod.name_any()),
            );
            context.watches.pods.note(pod);
            Ok(())
        }
    })
    .await;
    if let Some(error) = &failure
        && !write::is_namespace_terminating(error)
    {
        let message = match error {
            kube::Error::Api(status) => status.message.clone(),
            other => other.to_string(),
        };
        context
            .recorder
            .warning(job, "FailedCreate", format!("Error creating: {message}"));
    }
    (i32::try_from(created.len()).unwrap_or(i32::MAX), failure)
}

/// Takes the tracking finalizer off a pod.
pub async fn release(context: &Context, pod: &Arc<Pod>) -> kube::Result<()> {
    let key = Key::of(pod.as_ref());
    let held = context
        .watches
        .pods
        .cache()
        .get(&key)
        .filter(|held| held.uid() == pod.uid());
    let current = held.unwrap_or_else(|| pod.clone());
    let Some(patch) = finalizers::remove(current.finalizers(), TRACKING) else {
        return Ok(());
    };
    noted::patch(&context.writer, &context.watches.pods, &key, patch)
        .await
        .map(|_| ())
}

/// Deletes a pod; answers whether it takes its time.
async fn delete(context: &Context, job: &Templated<Job>, pod: &Arc<Pod>) -> kube::Result<bool> {
    let is_going = noted::delete(&context.writer, &context.watches.pods, pod, None).await?;
    context.recorder.normal(
        job,
        "SuccessfulDelete",
        format!("Deleted pod: {}", pod.name_any()),
    );
    Ok(is_going)
}

async fn publish(
    context: &Context,
    job: &Templated<Job>,
    held: &JobStatus,
    status: &JobStatus,
) -> kube::Result<()> {
    noted::publish(
        &context.writer,
        &context.watches.jobs,
        job,
        Some(held),
        status,
    )
    .await
}

fn report_end(
    context: &Context,
    job: &Templated<Job>,
    status: &JobStatus,
    verdict: Option<&Verdict>,
) {
    let Some(verdict) = verdict else { return };
    if verdict::find(status, verdict.types().1).is_none() {
        return;
    }
    if verdict.is_success {
        context.recorder.normal(job, "Completed", "Job completed");
    } else {
        context
            .recorder
            .warning(job, &verdict.reason, verdict.message.clone());
    }
}
