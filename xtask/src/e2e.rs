//! The end-to-end suite: the built binary, real clients, a real browser.

use anyhow::{Context, Result};

use crate::{paths, setup, step, web};

/// Options of `cargo xtask e2e`.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Only tests whose name matches this pytest expression.
    #[arg(short = 'k', long)]
    filter: Option<String>,
    /// Test this binary instead of a freshly built one.
    #[arg(long)]
    kfctl: Option<std::path::PathBuf>,
    /// Leave the browser test out.
    #[arg(long)]
    no_browser: bool,
}

/// Builds the binary and runs `tests/e2e`, then the browser test.
pub fn run(args: &Args) -> Result<()> {
    setup::python_environment()?;
    let kubectl = std::env::join_paths(setup::kubectl()?).context("list the kubectl binaries")?;
    let kfctl = match &args.kfctl {
        Some(binary) => binary.clone(),
        None => {
            setup::node_packages()?;
            web::build()?;
            paths::target().join("debug/kfctl")
        }
    };
    // The client in Rust is built even where another binary is tested.
    let mut build = vec![
        "build",
        "--workspace",
        "--quiet",
        "--example",
        "kube_client",
    ];
    if args.kfctl.is_none() {
        build.push("--bins");
    }
    step::run("build kfctl and its client", &mut step::cargo(&build))?;
    let mut pytest = step::command(paths::venv_bin("python"));
    pytest
        .args([
            "-m",
            "pytest",
            "-q",
            "--timeout=300",
            "-p",
            "no:cacheprovider",
            "tests/e2e",
        ])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("FERROFLOW_KFCTL", &kfctl)
        .env("FERROFLOW_KUBECTL", &kubectl)
        .env(
            "FERROFLOW_KUBE_RS",
            paths::target().join("debug/examples/kube_client"),
        );
    if let Some(filter) = &args.filter {
        pytest.args(["-k", filter]);
    }
    step::run("end-to-end tests with real clients", &mut pytest)?;
    if args.no_browser || args.filter.is_some() {
        return Ok(());
    }
    setup::debian_packages()?;
    step::run(
        "browser test",
        step::command("npm")
            .args(["run", "--silent", "browser"])
            .current_dir(paths::root().join("web"))
            .env("FERROFLOW_KFCTL", &kfctl)
            .env("FERROFLOW_PYTHON", paths::venv_bin("python")),
    )
}
