//! `kfctl delete`: takes away what `apply` installed. What users made (claims, and the namespaces they are in) stays
//! unless it is asked for.

use std::io::IsTerminal;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use install::apply_set::{self, ApplySet};
use serde_json::Value;

use crate::cli_cluster::Delete;
use crate::cluster::{self, Cluster};
use crate::kfdef_folder::KfDefFolder;
use crate::platform;

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
    let set = ApplySet::new(opened.kfdef.name(), "kubeflow");
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
    for member in &gone {
        apply_set::delete(&cluster.client, member).await?;
        println!("{} deleted", install::apply::short_name(member));
    }
    let left = wait(&cluster, args, &gone).await?;
    if !left.is_empty() {
        bail!(
            "not gone after {} s: {}; something holds them (see their finalizers), and the same command goes on",
            args.timeout.as_secs(),
            left.join(", ")
        );
    }
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

/// Waits until what was deleted is gone; answers what is still there.
async fn wait(cluster: &Cluster, args: &Delete, gone: &[Value]) -> Result<Vec<String>> {
    let started = Instant::now();
    let mut left: Vec<&Value> = gone.iter().collect();
    loop {
        let mut still = Vec::new();
        for object in left {
            if apply_set::exists(&cluster.client, object).await? {
                still.push(object);
            }
        }
        if still.is_empty() || started.elapsed() > args.timeout {
            return Ok(still.into_iter().map(install::apply::describe).collect());
        }
        left = still;
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}
