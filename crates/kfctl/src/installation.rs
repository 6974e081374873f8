//! What `up` installs: the manifests of one machine, once per version, then waits until all of it is ready.

use anyhow::{Context, Result, anyhow};
use futures::future::try_join_all;
use jiff::Timestamp;
use serde_json::Value;

use crate::readiness::Board;
use crate::version;

/// Name of our image in the manifests.
const IMAGE_NAME: &str = "ferroflow/kfctl";

/// Installs, and waits for every Deployment that is still there.
pub async fn install(
    installer: &kube::Client,
    admin: &kube::Client,
    board: &Board,
    console_port: u16,
    since: Timestamp,
) -> Result<()> {
    let mut objects = install::kustomize::render("one-machine", &install::sources::read)?;
    install::kustomize::set_image(&mut objects, IMAGE_NAME, version::IMAGE);
    let deployments: Vec<(String, String)> = objects
        .iter()
        .filter(|object| object["kind"] == "Deployment")
        .map(name)
        .collect();
    for (_, deployment) in &deployments {
        board.starting(deployment, "waiting for its pod");
    }
    if install::record::installed(admin).await?.as_deref() != Some(version::FERROFLOW) {
        for object in &objects {
            let outcome = install::apply::apply(installer, object).await?;
            tracing::info!(
                object = install::apply::describe(object),
                ?outcome,
                "installed"
            );
        }
        install::record::write(admin, version::FERROFLOW).await?;
    }
    try_join_all(deployments.iter().map(|(namespace, deployment)| {
        wait(admin, board, namespace, deployment, console_port, since)
    }))
    .await?;
    Ok(())
}

async fn wait(
    admin: &kube::Client,
    board: &Board,
    namespace: &str,
    name: &str,
    console_port: u16,
    since: Timestamp,
) -> Result<()> {
    use k8s_openapi::api::apps::v1::Deployment;
    // What the user deleted stays deleted, and is not waited for.
    let api = kube::Api::<Deployment>::namespaced(admin.clone(), namespace);
    let found = api
        .get_opt(name)
        .await
        .with_context(|| format!("look for {name}"))?;
    let kept = match found {
        None => Some("deleted by you; kept so"),
        Some(found) => {
            let replicas = found.spec.and_then(|spec| spec.replicas);
            (replicas == Some(0)).then_some("scaled to 0 by you; kept so")
        }
    };
    if let Some(note) = kept {
        board.ready(name, note);
        return Ok(());
    }
    let report = |progress| match progress {
        install::wait::Progress::Waiting(what) => board.starting(name, what),
        install::wait::Progress::Troubled(cause) => board.troubled(name, cause),
        install::wait::Progress::Ready if name == "dashboard" => {
            board.ready(name, format!("http://127.0.0.1:{console_port}"))
        }
        install::wait::Progress::Ready => board.ready(name, ""),
    };
    install::wait::until_ready(admin, namespace, name, since, &report)
        .await
        .map_err(|error| {
            board.failed(name, "it cannot start by itself");
            anyhow!("{error}; to look around with kubectl, start with: kfctl up --bare")
        })
}

fn name(object: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (
        text(&object["metadata"]["namespace"]),
        text(&object["metadata"]["name"]),
    )
}
