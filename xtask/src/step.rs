//! One command, one line that says what it does and how long it took.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{paths, seed};

/// Announces what follows.
pub fn announce(what: &str) {
    if std::io::stdout().is_terminal() {
        println!("\x1b[1;34m▸\x1b[0m \x1b[1m{what}\x1b[0m");
    } else {
        println!("▸ {what}");
    }
}

/// Runs `command` under the heading `what`; its output goes where ours goes.
pub fn run(what: &str, command: &mut Command) -> Result<()> {
    announce(what);
    let started = Instant::now();
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("start {:?} ({what})", command.get_program()))?;
    if !status.success() {
        bail!("{what}: {:?} ended with {status}", command.get_program());
    }
    println!("  done in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// One error that names every step which failed, if any did.
pub fn all_passed(steps: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    let failures: Vec<_> = steps
        .into_iter()
        .filter_map(|step| step.err().map(|error| format!("{error:#}")))
        .collect();
    if failures.is_empty() {
        return Ok(());
    }
    bail!(failures.join("; "))
}

/// The binary that was given, or one that is built now.
pub fn kfctl(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(binary) = given {
        return Ok(binary.to_owned());
    }
    run(
        "build kfctl",
        &mut cargo(&["build", "--workspace", "--quiet"]),
    )?;
    Ok(paths::target().join("debug/kfctl"))
}

/// A command in the checkout's root.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(paths::root());
    command
}

/// Cargo with programs in this checkout, and what is compiled on the way in the cache.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut command = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(arguments)
        .env("CARGO_TARGET_DIR", paths::target());
    if let Some(folder) = paths::build() {
        if let Err(error) = seed::once(&folder, &seed::members(paths::root())) {
            println!("  dependencies are compiled anew: {error}");
        }
        command.env("CARGO_BUILD_BUILD_DIR", folder);
    }
    command
}

/// Whether a program of this name is on the PATH.
pub fn has(program: &str) -> bool {
    find(program).is_some()
}

/// The full path of a program on the PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| is_executable(candidate))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
