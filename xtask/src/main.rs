//! One entry for everything that is done to this repository: set-up, checks, demo, benchmarks.
//! Continuous integration calls `cargo xtask test` and knows nothing that a laptop does not.

mod bench;
mod cluster;
mod conformance;
mod demo;
mod differential;
mod dist;
mod e2e;
mod go;
mod image_archive;
mod paths;
mod seed;
mod setup;
mod step;
mod test;
mod tidy;
mod web;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, check and try Ferroflow.
#[derive(Parser)]
#[command(name = "cargo xtask", version, about)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what building and testing need: Debian packages, npm packages, a Python environment.
    Setup,
    /// Build everything, start the platform and run the guide's pipeline on real text.
    Demo(demo::Args),
    /// Run every check: format, lints, licences, unit, in-process, end-to-end and browser tests.
    Test(test::Args),
    /// Check the repository's own promises: module docs, crate map, arrows between crates.
    Tidy,
    /// Build the console's web pages into web/dist.
    Web,
    /// Run the end-to-end suite against a freshly built binary.
    E2e(e2e::Args),
    /// Start, end or look at a real Kubernetes made for tests on this machine.
    Cluster(cluster::Args),
    /// Ask the embedded Kubernetes and a real one the same and show where their answers differ.
    Differential(differential::Args),
    /// Run Kubernetes' own conformance suite on the embedded Kubernetes, in part or whole.
    Conformance(conformance::Args),
    /// Measure what docs/benchmarks.md reports.
    Bench(bench::Args),
    /// Make the files that are shipped, under dist/.
    Dist,
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Setup => setup::everything().map(drop),
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Tidy => tidy::run(),
        Command::Web => setup::node_packages().and_then(|()| web::build()),
        Command::E2e(args) => e2e::run(&args),
        Command::Cluster(args) => cluster::run(&args),
        Command::Differential(args) => differential::run(&args),
        Command::Conformance(args) => conformance::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Dist => dist::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
