//! The end-to-end suite: the built binary, real clients, a real browser.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{cluster, paths, setup, step, web};

/// Options of `cargo xtask e2e`.
#[derive(clap::Args, Default)]
pub struct Args {
    /// Only tests whose name matches this pytest expression.
    #[arg(short = 'k', long)]
    filter: Option<String>,
    /// Test this binary instead of a freshly built one.
    #[arg(long)]
    kfctl: Option<PathBuf>,
    /// Only the ways of installing, by the real kustomize and Helm, which are built first.
    #[arg(long)]
    installing: bool,
    /// Leave the browser test out.
    #[arg(long)]
    no_browser: bool,
}

/// How long one test may take, in seconds, in a home that is one process and in one that is ten.
const LIMIT: u32 = 300;
const LIMIT_ON_A_CLUSTER: u32 = 900;

/// Gives the real Kubernetes of `place` what its tests need, and runs them there.
pub fn on_a_cluster(place: &cluster::Place, filter: Option<&str>) -> Result<()> {
    let mut kubectl = setup::kubectl()?;
    // The oldest and the newest: those between would say the same, half a minute later each.
    let among = kubectl.len().saturating_sub(1);
    kubectl.drain(1.min(among)..among);
    let (kustomize, helm) = setup::installers()?;
    setup::debian_packages()?;
    setup::node_packages()?;
    web::build()?;
    step::run(
        "build kfctl and its client",
        &mut step::cargo(&[
            "build",
            "--workspace",
            "--quiet",
            "--bins",
            "--example",
            "kube_client",
        ]),
    )?;
    let kfctl = paths::target().join("debug/kfctl");
    prepare(place, &kfctl, &kubectl)?;
    let record = place.running()?.context("find the cluster")?;
    let mut pytest = pytest(LIMIT_ON_A_CLUSTER);
    pytest
        .args(["tests/e2e", "-rs"])
        .env("FERROFLOW_KUBECONFIG", place.kubeconfig())
        .env(
            "FERROFLOW_REGISTRY_ADDRESS",
            record.host_address.to_string(),
        )
        .env("FERROFLOW_KFCTL", &kfctl)
        .env(
            "FERROFLOW_KUBE_RS",
            paths::target().join("debug/examples/kube_client"),
        )
        .env("FERROFLOW_KUSTOMIZE", kustomize)
        .env("FERROFLOW_HELM", helm)
        .env(
            "FERROFLOW_KUBECTL",
            std::env::join_paths(&kubectl).context("list the kubectl binaries")?,
        );
    if let Some(filter) = filter {
        pytest.args(["-k", filter]);
    }
    step::run("end-to-end tests on a real Kubernetes", &mut pytest)
}

/// The suites that our own node and controllers pass on a real API server.
const ON_A_CONTROL_PLANE: [&str; 4] = [
    "tests/e2e/test_own_node.py",
    "tests/e2e/test_workloads.py",
    "tests/e2e/test_pods.py",
    "tests/e2e/test_streaming.py",
];

/// Runs those against the API server of `place`, which the suite itself lets our own parts join.
pub fn on_a_control_plane(place: &cluster::Place, filter: Option<&str>) -> Result<()> {
    let kubectl = setup::kubectl()?;
    setup::node_packages()?;
    web::build()?;
    step::run(
        "build kfctl",
        &mut step::cargo(&["build", "--workspace", "--quiet", "--bins"]),
    )?;
    let mut pytest = pytest(LIMIT);
    pytest
        .args(ON_A_CONTROL_PLANE)
        .env("FERROFLOW_CONTROL_PLANE", place.root())
        .env("FERROFLOW_KFCTL", paths::target().join("debug/kfctl"))
        .env(
            "FERROFLOW_KUBECTL",
            std::env::join_paths(&kubectl).context("list the kubectl binaries")?,
        );
    if let Some(filter) = filter {
        pytest.args(["-k", filter]);
    }
    step::run(
        "our own node and controllers on a real API server",
        &mut pytest,
    )
}

/// Images that tests do not push themselves, and storage, by our own provisioner.
pub fn prepare(place: &cluster::Place, kfctl: &Path, kubectl: &[PathBuf]) -> Result<()> {
    let scratch = place.root().join("images");
    let archive = scratch.join("kfctl.tar");
    let stripped = scratch.join("kfctl");
    step::run(
        "leave out what only a debugger reads",
        step::command("strip").arg("-o").arg(&stripped).arg(kfctl),
    )?;
    step::run(
        "make the image of kfctl",
        step::command(&stripped)
            .args(["image", "export"])
            .arg(format!("ferroflow/kfctl:{}", env!("CARGO_PKG_VERSION")))
            .arg("--oci")
            .arg(&archive)
            .arg("--data-dir")
            .arg(scratch.join("data")),
    )?;
    cluster::load(place, &archive)?;
    let python = scratch.join("python");
    if python.exists() {
        std::fs::remove_dir_all(&python).context("clear the image's folder")?;
    }
    step::run(
        "make the image python:3.11 from this machine's Python and busybox",
        step::command(paths::venv_bin("python"))
            .arg("tests/cluster/python_image.py")
            .arg(&python),
    )?;
    for name in ["python:3.11", "alpine:3.20", "busybox:1", "busybox:1.36"] {
        cluster::add_image(place, name, &python)?;
    }
    let manifests = scratch.join("manifests");
    step::run(
        "write the manifests",
        step::command(kfctl)
            .args(["export", "kustomize", "--to"])
            .arg(&manifests),
    )?;
    let kubectl = kubectl.last().context("no kubectl was found")?;
    step::run(
        "install storage",
        step::command(kubectl)
            .arg("--kubeconfig")
            .arg(place.kubeconfig())
            .args(["apply", "-k"])
            .arg(manifests.join("local-provisioner")),
    )
}

fn pytest(limit: u32) -> Command {
    let mut pytest = step::command(paths::venv_bin("python"));
    pytest
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .arg(format!("--timeout={limit}"))
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
    let mut pytest = pytest(LIMIT);
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
        pytest
            .args(["tests/e2e", "--ignore=tests/e2e/test_installing.py"])
            .env("FERROFLOW_VERSITYGW", setup::s3_server()?);
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
