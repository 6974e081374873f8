//! The end-to-end suite: the built binary, real clients, a real browser.

use std::path::Path;
use std::process::Command;

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
    /// Only the ways of installing, by the real kustomize and Helm, which are built first.
    #[arg(long)]
    installing: bool,
    /// Leave the browser test out.
    #[arg(long)]
    no_browser: bool,
}

/// Runs `tests/e2e` against the cluster of `kubeconfig`.
pub fn on_a_cluster(kubeconfig: &Path, filter: Option<&str>) -> Result<()> {
    let kubectl = std::env::join_paths(setup::kubectl()?).context("list the kubectl binaries")?;
    let mut pytest = pytest();
    pytest
        .env("FERROFLOW_KUBECONFIG", kubeconfig)
        .env("FERROFLOW_KUBECTL", &kubectl);
    // The other files were written for one machine; a filter picks from them too.
    match filter {
        None => pytest.arg("tests/e2e/test_kubernetes.py"),
        Some(filter) => pytest.args([
            "tests/e2e",
            "--ignore=tests/e2e/test_installing.py",
            "-k",
            filter,
        ]),
    };
    step::run("end-to-end tests on a real Kubernetes", &mut pytest)
}

fn pytest() -> Command {
    let mut pytest = step::command(paths::venv_bin("python"));
    pytest
        .args([
            "-m",
            "pytest",
            "-q",
            "--timeout=300",
            "-p",
            "no:cacheprovider",
        ])
        .env("PYTHONDONTWRITEBYTECODE", "1");
    pytest
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
    let mut pytest = pytest();
    pytest
        .env("FERROFLOW_KFCTL", &kfctl)
        .env("FERROFLOW_KUBECTL", &kubectl)
        .env(
            "FERROFLOW_KUBE_RS",
            paths::target().join("debug/examples/kube_client"),
        );
    if args.installing {
        let (kustomize, helm) = setup::installers()?;
        pytest
            .arg("tests/e2e/test_installing.py")
            .env("FERROFLOW_KUSTOMIZE", kustomize)
            .env("FERROFLOW_HELM", helm);
    } else {
        pytest.args(["tests/e2e", "--ignore=tests/e2e/test_installing.py"]);
    }
    if let Some(filter) = &args.filter {
        pytest.args(["-k", filter]);
    }
    let clients = step::run("end-to-end tests with real clients", &mut pytest);
    if args.no_browser || args.installing || args.filter.is_some() {
        return clients;
    }
    setup::debian_packages()?;
    let browser = step::run(
        "browser test",
        step::command("npm")
            .args(["run", "--silent", "browser"])
            .current_dir(paths::root().join("web"))
            .env("FERROFLOW_KFCTL", &kfctl)
            .env("FERROFLOW_PYTHON", paths::venv_bin("python")),
    );
    step::all_passed([clients, browser])
}
