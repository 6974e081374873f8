//! The embedded Kubernetes and a real one, asked the same: `tests/differential` holds the requests and the
//! list of differences that are known, with the reason of each.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cluster::{self, Optional};
use crate::{paths, setup, step};

/// Options of `cargo xtask differential`.
#[derive(clap::Args)]
pub struct Args {
    /// Only scripts whose name contains this.
    #[arg(short = 'k', long)]
    filter: Option<String>,
    /// Show the known differences too.
    #[arg(long)]
    all: bool,
    /// Write what came out into docs/compatibility.md, if everything that differs is listed.
    #[arg(long)]
    record: bool,
    /// Ask this binary instead of a freshly built one.
    #[arg(long)]
    kfctl: Option<PathBuf>,
}

/// Starts both, asks, and ends both.
pub fn run(args: &Args) -> Result<()> {
    setup::python_environment()?;
    let kfctl = step::kfctl(args.kfctl.as_deref())?;
    // No pod runs in these scripts, and none must: the two servers are what is compared.
    let folder = paths::cache().join("cluster/differential");
    let real = cluster::up(&cluster::Up::new(
        Some(folder),
        vec![Optional::Scheduler, Optional::Kubelet],
    ))?;
    let compared = compare(args, &kfctl, &real.kubeconfig());
    cluster::down(&real)?;
    compared
}

fn compare(args: &Args, kfctl: &PathBuf, real: &PathBuf) -> Result<()> {
    let data = std::env::temp_dir().join(format!("ferroflow-differential-{}", std::process::id()));
    let call = |arguments: &[&str]| {
        let mut command = Command::new(kfctl);
        command.args(arguments).env("FERROFLOW_DATA_DIR", &data);
        command
    };
    step::run(
        "start the embedded Kubernetes",
        &mut call(&[
            "up",
            "--bare",
            "--detach",
            "--port",
            "17878",
            "--api-port",
            "17443",
        ]),
    )?;
    let kubectl = std::env::join_paths(setup::kubectl()?).context("list the kubectl binaries")?;
    let mut python = step::command(paths::venv_bin("python"));
    python
        .args(["-m", "differential", "--embedded"])
        .arg(data.join("kubeconfig"))
        .arg("--real")
        .arg(real)
        .current_dir(paths::root().join("tests"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("FERROFLOW_KUBECTL", kubectl);
    if let Some(filter) = &args.filter {
        python.args(["-k", filter]);
    }
    if args.all {
        python.arg("--all");
    }
    if args.record {
        python.args(["--record", &commit()?]);
    }
    let compared = step::run("ask both and compare", &mut python);
    step::run("end the embedded Kubernetes", &mut call(&["down"]))?;
    let _ = std::fs::remove_dir_all(&data);
    compared
}

/// The commit that is checked out, in short.
fn commit() -> Result<String> {
    let git = Command::new("git")
        .args(["rev-parse", "--short", "HEAD"])
        .current_dir(paths::root())
        .output()
        .context("ask git for the commit that is recorded")?;
    Ok(String::from_utf8_lossy(&git.stdout).trim().to_owned())
}
