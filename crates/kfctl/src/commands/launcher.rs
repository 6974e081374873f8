//! `kfctl launcher install FOLDER`: what a step's init container does, where the launcher is not on the artifact volume.

use anyhow::{Context, Result};

use crate::cli::Launcher;

/// The launcher for pods of this machine's kind.
pub const LAUNCHER: &[u8] = include_bytes!(env!("FERROFLOW_LAUNCHER"));

/// Writes the launcher into the folder.
pub fn run(command: &Launcher) -> Result<()> {
    let Launcher::Install { folder } = command;
    pipelines::launcher_file::install(folder, LAUNCHER)
        .with_context(|| format!("put the launcher into {}", folder.display()))
}
