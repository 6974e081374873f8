//! Writes a plan: the new replica set, then sizes, then history, then the revision, and the status last, from what was
//! really done.

use control::{Key, noted, write};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

use super::observe::{Observed, Set};
use super::plan::Plan;
use super::status::{PROGRESSING, condition, set};
use super::{Context, build};
use crate::templated::Templated;

/// Applies the plan and publishes the status.
pub async fn apply(
    context: &Context,
    deployment: &Templated<Deployment>,
    observed: &Observed,
    plan: Plan,
    now: Timestamp,
) -> kube::Result<control::Next> {
    let mut status = plan.status;
    if plan.selects_all {
        let message = "This deployment is selecting all pods. A non-empty selector is required.";
        context
            .recorder
            .warning(deployment, "SelectingAll", message);
        publish(context, deployment, &status).await?;
        return Ok(None);
    }
    if let Some(planned) = &plan.create {
        match create(context, deployment, planned).await {
            Ok(()) => {}
            Err(error) if write::is_already_exists(&error) => {
                // Another template hashes to this name. The next attempt uses another name.
                let held = deployment.status.clone().unwrap_or_default();
                let collisions = Some(held.collision_count.unwrap_or(0) + 1);
                publish(
                    context,
                    deployment,
                    &DeploymentStatus {
                        collision_count: collisions,
                        ..held
                    },
                )
                .await?;
                return Err(error);
            }
            Err(error) if write::is_namespace_terminating(&error) => return Ok(None),
            Err(error) => {
                let message = match &error {
                    kube::Error::Api(status) => status.message.clone(),
                    other => other.to_string(),
                };
                let message = format!(
                    "Failed to create new replica set \"{}\": {message}",
                    planned.name
                );
                context
                    .recorder
                    .warning(deployment, "ReplicaSetCreateError", message.clone());
                status = deployment.status.clone().unwrap_or_default();
                set(
                    &mut status,
                    condition(PROGRESSING, "False", "ReplicaSetCreateError", &message, now),
                );
                publish(context, deployment, &status).await?;
                return Err(error);
            }
        }
    }
    for planned in &plan.change {
        if let Some(held) = observed.sets.iter().find(|held| held.name == planned.name) {
            change(context, deployment, held, planned).await?;
        }
    }
    for name in &plan.delete {
        delete(context, deployment, name).await?;
    }
    if let Some(revision) = plan.revision {
        let patch = json!({"metadata": {"uid": deployment.uid(), "annotations": {build::REVISION: revision}}});
        let key = Key::of(deployment);
        context.watches.deployments.note(
            context
                .writer
                .patch::<Templated<Deployment>>(&key, patch)
                .await?,
        );
    }
    publish(context, deployment, &status).await?;
    Ok(plan.next)
}

async fn create(
    context: &Context,
    deployment: &Templated<Deployment>,
    planned: &Set,
) -> kube::Result<()> {
    let body = build::replica_set(deployment, planned.replicas, &planned.annotations);
    let namespace = deployment.namespace().unwrap_or_default();
    let created = context
        .writer
        .create::<Templated<ReplicaSet>>(&namespace, body)
        .await?;
    context.watches.replica_sets.note(created);
    if planned.replicas > 0 {
        report_scaling(context, deployment, &planned.name, 0, planned.replicas);
    }
    Ok(())
}

async fn change(
    context: &Context,
    deployment: &Templated<Deployment>,
    held: &Set,
    planned: &Set,
) -> kube::Result<()> {
    let key = Key::new(deployment.namespace().unwrap_or_default(), &planned.name);
    let mut patch = json!({});
    if held.replicas != planned.replicas {
        patch["spec"]["replicas"] = planned.replicas.into();
    }
    if held.min_ready_seconds != planned.min_ready_seconds {
        patch["spec"]["minReadySeconds"] = planned.min_ready_seconds.into();
    }
    if let Some(annotations) =
        write::merge_diff(&json!(held.annotations), &json!(planned.annotations))
    {
        patch["metadata"]["annotations"] = annotations;
    }
    let updated = context
        .writer
        .patch::<Templated<ReplicaSet>>(&key, patch)
        .await?;
    context.watches.replica_sets.note(updated);
    if held.replicas != planned.replicas {
        report_scaling(
            context,
            deployment,
            &planned.name,
            held.replicas,
            planned.replicas,
        );
    }
    Ok(())
}

fn report_scaling(
    context: &Context,
    deployment: &Templated<Deployment>,
    name: &str,
    from: i32,
    to: i32,
) {
    let direction = if to > from { "up" } else { "down" };
    let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
    context
        .recorder
        .normal(deployment, "ScalingReplicaSet", message);
}

async fn delete(
    context: &Context,
    deployment: &Templated<Deployment>,
    name: &str,
) -> kube::Result<()> {
    let namespace = deployment.namespace().unwrap_or_default();
    if let Some(set) = context.watches.replica_sets.cache().find(&namespace, name) {
        noted::delete(&context.writer, &context.watches.replica_sets, &set, None).await?;
    }
    Ok(())
}

async fn publish(
    context: &Context,
    deployment: &Templated<Deployment>,
    status: &DeploymentStatus,
) -> kube::Result<()> {
    let informer = &context.watches.deployments;
    noted::publish(
        &context.writer,
        informer,
        deployment,
        deployment.status.as_ref(),
        status,
    )
    .await
}
