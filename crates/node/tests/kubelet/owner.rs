//! Everything above once more as an ordinary user, when the tests run as root.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Result;

/// A number that no account of a usual system has.
const SOMEBODY: u32 = 61_234;

#[test]
fn all_of_this_holds_for_an_ordinary_user_too() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777))?;
    let output = Command::new(std::env::current_exe()?)
        .args(["--test-threads=2", "--skip", "owner::"])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", folder.path())
        .env("TMPDIR", folder.path())
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
