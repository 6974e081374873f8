//! The console's pages: build, lint, types, unit tests.

use anyhow::Result;

use crate::{paths, step};

/// Builds web/dist, which the binary embeds.
pub fn build() -> Result<()> {
    npm("web: build the console's pages", "build")
}

/// Lint, type check and unit tests.
pub fn check() -> Result<()> {
    npm("web: lint", "lint")?;
    npm("web: check types", "typecheck")?;
    npm("web: unit tests", "test")
}

fn npm(what: &str, script: &str) -> Result<()> {
    step::run(
        what,
        step::command("npm")
            .args(["run", "--silent", script])
            .current_dir(paths::root().join("web")),
    )
}
