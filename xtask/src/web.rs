//! The console's pages: build, lint, types, unit tests.

use anyhow::{Context, Result};

use crate::{paths, step};

/// Builds web/dist, which the binary embeds.
pub fn build() -> Result<()> {
    let script = paths::root().join("crates/console/build.rs");
    let page = paths::root().join("web/dist/index.html");
    let is_first = !page.exists();
    npm("web: build the console's pages", "build")?;
    if is_first {
        // Until now cargo was told of no page that could change.
        std::fs::File::options()
            .append(true)
            .open(&script)
            .and_then(|file| file.set_modified(std::time::SystemTime::now()))
            .with_context(|| format!("touch {}", script.display()))?;
    }
    Ok(())
}

/// Lint, type check and unit tests.
pub fn check() -> Result<()> {
    npm("web: lint", "lint")?;
    npm("web: generated types are current", "types:check")?;
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
