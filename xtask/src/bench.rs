//! Measurements, printed as the rows of docs/benchmarks.md. Nothing here passes or fails by time.

use anyhow::Result;

use crate::{paths, setup, step};

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Only these groups: platform, pipelines, crates (default: all).
    groups: Vec<String>,
}

/// Builds the release binary and runs the groups.
pub fn run(args: &Args) -> Result<()> {
    setup::python_environment()?;
    let wants =
        |group: &str| args.groups.is_empty() || args.groups.iter().any(|wanted| wanted == group);
    step::run(
        "build kfctl (release)",
        &mut step::cargo(&["build", "--release", "--package", "kfctl"]),
    )?;
    if wants("crates") {
        step::run(
            "crates",
            &mut step::cargo(&[
                "bench",
                "--package",
                "objects",
                "--package",
                "node",
                "--package",
                "pipelines",
            ]),
        )?;
    }
    for group in ["platform", "pipelines"] {
        if wants(group) {
            step::run(
                group,
                step::command(paths::venv_bin("python"))
                    .arg("tests/bench/measure.py")
                    .arg(group)
                    .env("FERROFLOW_KFCTL", paths::target().join("release/kfctl")),
            )?;
        }
    }
    Ok(())
}
