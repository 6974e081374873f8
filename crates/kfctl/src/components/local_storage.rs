//! The local provisioner as a pod on each node of a cluster that has no storage of its own.

use std::path::PathBuf;

use anyhow::Result;
use workloads::on_node::{self, Place};

use super::standalone::Process;

/// Where its volumes are.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// Name of the node that this process works for.
    #[arg(long, env = "NODE_NAME")]
    node: String,
    /// Folder on the node below which volumes are made.
    #[arg(long, default_value = "/var/lib/ferroflow/volumes")]
    volumes: PathBuf,
}

/// As a process of its own; each node's works for itself, so there is nothing to lead.
pub async fn alone(process: &Process, settings: &Settings) -> Result<()> {
    let place = Place {
        node: settings.node.clone(),
        base: settings.volumes.clone(),
    };
    let surface = &process.surface;
    on_node::provide(
        process.cluster.client.clone(),
        place,
        surface.shutdown.clone(),
        || surface.vitals.ready(true),
    )
    .await;
    Ok(())
}
