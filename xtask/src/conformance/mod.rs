//! Kubernetes' own conformance suite on the embedded Kubernetes: built from its Go module, run against a server with a
//! data folder of its own, and told as a table per group with the cause of each failure.

mod home;
mod images;
mod report;
mod results;
mod suite;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{paths, setup, step};
use home::Home;
use results::Results;

/// Options of `cargo xtask conformance`.
#[derive(clap::Args)]
pub struct Args {
    /// Only tests whose name matches this regular expression, such as `\[sig-apps\]`.
    #[arg(long, default_value = "")]
    focus: String,
    /// Leave out tests whose name matches this regular expression.
    #[arg(long, default_value = "")]
    skip: String,
    /// Tests at a time; those that bear no company run alone at the end.
    #[arg(long, default_value_t = 4)]
    procs: usize,
    /// Begin no test after this time, and give up what still runs then.
    #[arg(long, default_value = "12h")]
    timeout: String,
    /// Which Kubernetes' suite: a version that tests/conformance has a Go module for.
    #[arg(long, default_value = suite::VERSIONS[0].number, value_parser = suite::known_version)]
    kubernetes: String,
    /// Test this binary instead of a freshly built one.
    #[arg(long)]
    kfctl: Option<PathBuf>,
    /// Test what this kubeconfig leads to, which is neither started nor ended, nor given any image.
    #[arg(long, conflicts_with = "kfctl")]
    kubeconfig: Option<PathBuf>,
    /// Run nothing: take the results of this report of the suite.
    #[arg(long, conflicts_with_all = ["kfctl", "kubeconfig"])]
    take: Option<PathBuf>,
    /// Keep what was found in tests/conformance and docs/compatibility.md.
    #[arg(long)]
    record: bool,
}

/// Runs the suite, or the part that was asked for.
pub fn run(args: &Args) -> Result<()> {
    let text = match &args.take {
        Some(report) => {
            std::fs::read_to_string(report).with_context(|| format!("read {}", report.display()))?
        }
        None => run_suite(args)?,
    };
    let outcomes = report::read(&text)?;
    print!("{}", results::told(&outcomes));
    if args.record {
        let mut results = Results::open()?;
        results.take(&outcomes, &args.kubernetes, &commit()?, &today()?);
        results.keep()?;
        println!("recorded in tests/conformance/results.json and docs/compatibility.md");
    }
    Ok(())
}

/// Runs the suite and answers with its report.
fn run_suite(args: &Args) -> Result<String> {
    setup::debian_packages()?;
    setup::conformance_packages()?;
    let suite = suite::build(&args.kubernetes)?;
    let place = paths::cache().join("conformance");
    let reports = place.join("report");
    let _ = std::fs::remove_dir_all(&reports);
    std::fs::create_dir_all(&reports).with_context(|| format!("create {}", reports.display()))?;
    let ran = match &args.kubeconfig {
        Some(kubeconfig) => suite.run(args, kubeconfig, &reports),
        None => on_a_fresh_home(args, &suite, &place, &reports),
    };
    // A suite with failures ends badly too; what it found is in its report.
    match std::fs::read_to_string(reports.join("junit_01.xml")) {
        Ok(text) => Ok(text),
        Err(error) => {
            ran?;
            Err(error).context("read the suite's report")
        }
    }
}

fn on_a_fresh_home(
    args: &Args,
    suite: &suite::Suite,
    place: &std::path::Path,
    reports: &std::path::Path,
) -> Result<()> {
    let kfctl = match &args.kfctl {
        Some(binary) => binary.clone(),
        None => {
            step::run(
                "build kfctl",
                &mut step::cargo(&["build", "--workspace", "--quiet"]),
            )?;
            paths::target().join("debug/kfctl")
        }
    };
    let archives = images::make(suite, &place.join("images"))?;
    let home = Home::new(kfctl)?;
    for archive in &archives {
        home.load(archive)?;
    }
    home.start()?;
    let ran = suite.run(args, &home.kubeconfig(), reports);
    let _ = std::fs::copy(home.log(), reports.join("kfctl.log"));
    home.end()?;
    ran
}

fn commit() -> Result<String> {
    said(step::command("git").args(["rev-parse", "--short", "HEAD"]))
}

fn today() -> Result<String> {
    said(step::command("date").args(["-u", "+%Y-%m-%d"]))
}

fn said(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("start {:?}", command.get_program()))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
