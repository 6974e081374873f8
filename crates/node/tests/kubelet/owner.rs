//! Everything above once more as an ordinary user, when the tests run as root.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::home::{PROGRAM_VARIABLE, program};

/// A number that no account of a usual system has.
const SOMEBODY: u32 = 61_234;

/// Copies a program to where an ordinary user can execute it: the build's folder may lie in root's home.
fn copy(from: &Path, folder: &Path) -> Result<PathBuf> {
    let to = folder.join(from.file_name().context("a file has a name")?);
    std::fs::copy(from, &to)?;
    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755))?;
    Ok(to)
}

#[test]
fn all_of_this_holds_for_an_ordinary_user_too() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let home = folder.path().join("home");
    std::fs::create_dir(&home)?;
    std::os::unix::fs::chown(&home, Some(SOMEBODY), Some(SOMEBODY))?;
    let output = Command::new(copy(&std::env::current_exe()?, folder.path())?)
        .args(["--test-threads=2", "--skip", "owner::"])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", &home)
        .env("TMPDIR", &home)
        .env(PROGRAM_VARIABLE, copy(&program(), folder.path())?)
        .current_dir("/")
        .uid(SOMEBODY)
        .gid(SOMEBODY)
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
