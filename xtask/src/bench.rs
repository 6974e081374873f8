//! Measurements, printed as the rows of docs/benchmarks.md. Nothing here passes or fails by time.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{cluster, e2e, paths, setup, step};

/// What can be measured, in the order in which it is.
const GROUPS: [&str; 6] = [
    "crates",
    "apiserver",
    "platform",
    "pipelines",
    "timeline",
    HOMES,
];
/// Needs root and Go, and so is measured only where it is named.
const HOMES: &str = "homes";
/// The images of the guide's pipeline.
const GUIDE: [&str; 3] = ["preprocess", "train", "validate"];

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    /// Only these groups: crates, apiserver, platform, pipelines, timeline (default: these), homes (beside a real Kubernetes).
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
    let wants = |group: &str| {
        args.groups.is_empty() && group != HOMES || args.groups.iter().any(|wanted| wanted == group)
    };
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
            "--example",
            "api_load",
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
    if wants(HOMES) {
        homes(&built)?;
    }
    Ok(())
}

/// The embedded Kubernetes and a real one in turn, with the same clients.
fn homes(built: &Path) -> Result<()> {
    let kubectl = setup::kubectl()?;
    let kfctl = built.join("kfctl");
    let place = cluster::up(&cluster::Up::new(
        Some(paths::cache().join("cluster/bench")),
        Vec::new(),
    ))?;
    let measured = e2e::prepare(&place, &kfctl, &kubectl)
        .and_then(|()| guide_images(&place, &kfctl))
        .and_then(|()| {
            step::run(
                HOMES,
                step::command(paths::venv_bin("python"))
                    .arg("tests/bench/homes.py")
                    .env("FERROFLOW_KFCTL", &kfctl)
                    .env("FERROFLOW_API_LOAD", built.join("examples/api_load"))
                    .env("FERROFLOW_KUBECONFIG", place.kubeconfig()),
            )
        });
    cluster::down(&place)?;
    measured
}

/// Gives the real one what the guide's pipeline runs in: made from the same folders, by the same command.
fn guide_images(place: &cluster::Place, kfctl: &Path) -> Result<()> {
    let scratch = place.root().join("images/guide");
    std::fs::create_dir_all(&scratch).context("make a folder for images")?;
    for name in GUIDE {
        let image = format!("guide/{name}:1");
        let data = scratch.join("data");
        step::run(
            &format!("make the image {image}"),
            step::command(kfctl)
                .args(["image", "add", &image])
                .arg(paths::root().join("examples/guide").join(name))
                .arg("--data-dir")
                .arg(&data),
        )?;
        let archive = scratch.join(format!("{name}.tar"));
        step::run(
            &format!("write the image {image}"),
            step::command(kfctl)
                .args(["image", "export", &image, "--oci"])
                .arg(&archive)
                .arg("--data-dir")
                .arg(&data),
        )?;
        cluster::load(place, &archive)?;
    }
    Ok(())
}
