//! The tests of a program once more as somebody with no rights at all. Root's build folder may be unreadable to others, so the
//! test program and the program that it re-executes are copied to where that user can execute them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// An id that no account of a usual system has.
const SOMEBODY: u32 = 54_321;

/// Whether the tests run as root; if not, they are the proof already.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Runs this test program with `arguments` as an ordinary user with a home of its own; `variable` tells it where the copy of
/// `program` is. Fails unless the tests go well and say `words`, which show that some ran at all.
pub fn run(program: &Path, variable: &str, arguments: &[&str], words: &str) {
    let copies = COPIES.get_or_init(|| Copies::of(program));
    let home = folder("ordinary-home-");
    chown(home.path(), Some(SOMEBODY), Some(SOMEBODY)).expect("chown");
    let output = Command::new(&copies.tests)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", home.path())
        .env("TMPDIR", home.path())
        .env("RUST_BACKTRACE", "1")
        .env(variable, &copies.program)
        .current_dir("/")
        .uid(SOMEBODY)
        .gid(SOMEBODY)
        .output()
        .expect("the copied tests start");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success() && said.contains(words),
        "as an ordinary user:\n{said}"
    );
}

/// One pair of copies serves every test of a program.
static COPIES: OnceLock<Copies> = OnceLock::new();

struct Copies {
    folder: TempDir,
    tests: PathBuf,
    program: PathBuf,
}

impl Copies {
    fn of(program: &Path) -> Self {
        let folder = folder("ordinary-");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let copy = |from: &Path, name: &str| {
            let to = folder.path().join(name);
            fs::copy(from, &to).expect("copied");
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).expect("chmod");
            to
        };
        let tests = copy(
            &std::env::current_exe().expect("a running program has a file"),
            "tests",
        );
        let program = copy(program, "program");
        // Nothing static is dropped at the end.
        // SAFETY: the function takes and returns nothing and does not unwind.
        unsafe { libc::atexit(remove_copies) };
        Self {
            folder,
            tests,
            program,
        }
    }
}

extern "C" fn remove_copies() {
    if let Some(copies) = COPIES.get() {
        let _ = fs::remove_dir_all(copies.folder.path());
    }
}

fn folder(prefix: &str) -> TempDir {
    tempfile::Builder::new()
        .prefix(prefix)
        .tempdir()
        .expect("a temporary folder")
}
