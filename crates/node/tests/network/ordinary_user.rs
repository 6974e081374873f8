//! All the other tests once more as an ordinary user, when they run as root.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::cluster::{PROGRAM_VARIABLE, program};

/// An id that owns nothing.
const NOBODY: u32 = 65_534;

fn copy(from: &Path, folder: &Path) -> std::path::PathBuf {
    let to = folder.join(from.file_name().expect("a file"));
    std::fs::copy(from, &to).expect("copied");
    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755)).expect("set");
    to
}

#[test]
fn everything_works_for_an_ordinary_user_too() {
    if !nix::unistd::geteuid().is_root() {
        return; // The other tests are the proof.
    }
    let folder = tempfile::tempdir().expect("folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("set");
    let tests = copy(&std::env::current_exe().expect("ourselves"), folder.path());
    let program = copy(&program(), folder.path());
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary).expect("made");
    std::os::unix::fs::chown(&temporary, Some(NOBODY), Some(NOBODY)).expect("given");
    let output = Command::new(tests)
        .args(["--test-threads", "2"])
        .env(PROGRAM_VARIABLE, program)
        .env("TMPDIR", temporary)
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .expect("started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("test result: ok"), "{text}");
}
