//! `kfctl delete`: takes away what `apply` installed. What users made (claims, and the namespaces they are in) stays
//! unless it is asked for.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use install::apply_set::{self, ApplySet};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use pipelines::pods::marks;
use serde_json::{Value, json};

use crate::cli_cluster::Delete;
use crate::cluster::{self, Cluster};
use crate::kfdef_folder::KfDefFolder;
use crate::platform;

/// Where the installation is recorded, and where steps run.
const NAMESPACE: &str = "kubeflow";

/// Deletes.
pub fn run(args: &Delete) -> Result<()> {
    platform::block_on(delete(args))
}

async fn delete(args: &Delete) -> Result<()> {
    let opened = KfDefFolder::open(&args.file.file).await?;
    let cluster = args.target.cluster().await?;
    let applied_to = opened.kfdef.cluster().unwrap_or_default();
    if applied_to != cluster.name && !args.force_deletion {
        let was = if applied_to.is_empty() {
            format!("{} was not applied from here", opened.file.display())
        } else {
            format!(
                "{} was applied to the cluster {applied_to:?}",
                opened.file.display()
            )
        };
        bail!(
            "{was}, and the context {} is the cluster {:?}; choose another --context, or insist with --force-deletion",
            cluster.context,
            cluster.name
        );
    }
    println!("context  {} ({})", cluster.context, cluster.server());
    let set = ApplySet::new(opened.kfdef.name(), NAMESPACE);
    cluster
        .client
        .apiserver_version()
        .await
        .map_err(|error| cluster::refusal(&cluster, &error))?;
    let mut members = set.members(&cluster.client).await?;
    if members.is_empty() {
        println!("nothing of {} is installed there", opened.kfdef.name());
        return Ok(());
    }
    install::kustomize::sort(&mut members);
    members.reverse();
    let (kept, gone): (Vec<Value>, Vec<Value>) = members
        .into_iter()
        .partition(|member| holds_data(member) && !args.delete_storage);
    confirm(args, gone.len())?;
    // What removes the folders of volumes goes when they are removed.
    let (provisioner, others): (Vec<Value>, Vec<Value>) =
        gone.into_iter().partition(is_of_the_provisioner);
    take_away(&cluster, args, &others).await?;
    if !provisioner.is_empty() && args.delete_storage {
        until(args, || async { orphaned_volumes(&cluster).await }).await?;
    }
    take_away(&cluster, args, &provisioner).await?;
    if !args.delete_storage {
        let names: Vec<String> = kept.iter().map(install::apply::describe).collect();
        println!(
            "kept     {}; delete them too with --delete-storage",
            names.join(", ")
        );
        return Ok(());
    }
    set.forget(&cluster.client)
        .await
        .context("forget the installation")
}

fn confirm(args: &Delete, count: usize) -> Result<()> {
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("{count} objects would be deleted; say --yes where nobody can be asked");
    }
    let data = if args.delete_storage {
        ", runs and artifacts with them"
    } else {
        ""
    };
    if super::ask(&format!("Delete {count} objects{data}?"))? {
        return Ok(());
    }
    bail!("nothing was deleted")
}

fn holds_data(object: &Value) -> bool {
    ["PersistentVolumeClaim", "Namespace"].contains(&object["kind"].as_str().unwrap_or_default())
}

fn is_of_the_provisioner(object: &Value) -> bool {
    object["metadata"]["labels"]["app.kubernetes.io/component"] == "provisioner"
}

/// Deletes, and waits until it is gone.
async fn take_away(cluster: &Cluster, args: &Delete, objects: &[Value]) -> Result<()> {
    for object in objects {
        apply_set::delete(&cluster.client, object).await?;
        println!("{} deleted", install::apply::short_name(object));
    }
    until(args, || async {
        if args.delete_storage {
            release_steps(cluster).await?;
        }
        let mut left = Vec::new();
        for object in objects {
            if apply_set::exists(&cluster.client, object).await? {
                left.push(install::apply::describe(object));
            }
        }
        Ok(left)
    })
    .await
}

/// Pods of steps stay until the outcome of each is recorded. Where the runs go too, nobody records it any more, and
/// their namespace would wait for ever.
async fn release_steps(cluster: &Cluster) -> Result<()> {
    let api = Api::<Pod>::namespaced(cluster.client.clone(), NAMESPACE);
    let pods = api
        .list(&ListParams::default().labels(marks::RUN))
        .await
        .context("list the pods of steps")?;
    for pod in pods {
        let others: Vec<&String> = pod
            .finalizers()
            .iter()
            .filter(|finalizer| *finalizer != marks::FINALIZER)
            .collect();
        if pod.metadata.deletion_timestamp.is_none() || others.len() == pod.finalizers().len() {
            continue;
        }
        let patch =
            json!({"metadata": {"resourceVersion": pod.resource_version(), "finalizers": others}});
        let name = pod.name_any();
        match api
            .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
        {
            Ok(_) => {}
            // Somebody else changed or removed it; the next look tells.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => return Err(error).with_context(|| format!("let the pod {name} go")),
        }
    }
    Ok(())
}

/// Our own volumes whose claims are gone.
async fn orphaned_volumes(cluster: &Cluster) -> Result<Vec<String>> {
    let client = &cluster.client;
    let volumes = Api::<PersistentVolume>::all(client.clone())
        .list(&ListParams::default())
        .await
        .context("list the volumes")?;
    let mut orphaned = Vec::new();
    for volume in volumes
        .into_iter()
        .filter(workloads::on_node::goes_with_its_claim)
    {
        let claim = volume
            .spec
            .as_ref()
            .and_then(|spec| spec.claim_ref.clone())
            .unwrap_or_default();
        let (namespace, name) = (
            claim.namespace.unwrap_or_default(),
            claim.name.unwrap_or_default(),
        );
        let found = Api::<PersistentVolumeClaim>::namespaced(client.clone(), &namespace)
            .get_metadata_opt(&name)
            .await
            .with_context(|| format!("look for the claim {namespace}/{name}"))?;
        if found.is_none_or(|found| found.metadata.uid != claim.uid) {
            orphaned.push(format!("persistentvolume/{}", volume.name_any()));
        }
    }
    Ok(orphaned)
}

/// Waits until nothing is `left`.
async fn until<F, R>(args: &Delete, left: F) -> Result<()>
where
    F: Fn() -> R,
    R: Future<Output = Result<Vec<String>>>,
{
    let started = Instant::now();
    loop {
        let left = left().await?;
        if left.is_empty() {
            return Ok(());
        }
        if started.elapsed() > args.timeout {
            bail!(
                "not gone after {} s: {}; something holds them (see their finalizers), and the same command goes on",
                args.timeout.as_secs(),
                left.join(", ")
            );
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
