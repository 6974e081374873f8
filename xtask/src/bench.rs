//! Measurements, printed as the rows of docs/benchmarks.md. Nothing here passes or fails by time.

use anyhow::{Result, bail};

use crate::{paths, setup, step};

/// What can be measured, in the order in which it is.
const GROUPS: [&str; 5] = ["crates", "apiserver", "platform", "pipelines", "timeline"];

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Only these groups: crates, apiserver, platform, pipelines, timeline (default: all).
    groups: Vec<String>,
}

/// Builds release binaries and runs the groups.
pub fn run(args: &Args) -> Result<()> {
    if let Some(unknown) = args
        .groups
        .iter()
        .find(|group| !GROUPS.contains(&group.as_str()))
    {
        bail!(
            "no group is called {unknown:?}; there are: {}",
            GROUPS.join(", ")
        );
    }
    let wants =
        |group: &str| args.groups.is_empty() || args.groups.iter().any(|wanted| wanted == group);
    // The whole workspace each time: with one set of features nothing is compiled twice.
    if wants("crates") {
        step::run(
            "crates",
            step::cargo(&["bench", "--workspace"]).args(
                ["deployment", "network", "pods", "runs"]
                    .iter()
                    .flat_map(|name| ["--bench", name]),
            ),
        )?;
    }
    step::run(
        "build kfctl and the API server's bench (release)",
        step::cargo(&["build", "--release", "--workspace"]).args([
            "--bin",
            "kfctl",
            "--example",
            "bench",
        ]),
    )?;
    let built = paths::target().join("release");
    if wants("apiserver") {
        step::run(
            "apiserver",
            &mut step::command(built.join("examples/bench")),
        )?;
    }
    let whole: Vec<&str> = ["platform", "pipelines", "timeline"]
        .into_iter()
        .filter(|group| wants(group))
        .collect();
    if !whole.is_empty() {
        setup::python_environment()?;
    }
    for group in whole {
        step::run(
            group,
            step::command(paths::venv_bin("python"))
                .arg("tests/bench/measure.py")
                .arg(group)
                .env("FERROFLOW_KFCTL", built.join("kfctl")),
        )?;
    }
    Ok(())
}
