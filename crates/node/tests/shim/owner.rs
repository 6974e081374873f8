//! Runs a test as this user and, when this is root, again as an ordinary user with no rights at all: the test program is
//! copied to where that user can read it, and told to run the one test.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// An id that no account has.
const ORDINARY: u32 = 54_321;
const PROGRAM: &str = "FERROFLOW_TEST_PROGRAM";

/// Runs `test` here, and once more as an ordinary user.
pub fn run(module: &str, name: &str, test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(test);
    drop(runtime);
    if is_root() {
        let module = module.split_once("::").map_or("", |(_, rest)| rest);
        run_as_ordinary_user(&format!("{module}::{name}"));
    }
}

/// Whether the test runs as root.
pub fn is_root() -> bool {
    // SAFETY: plain system call.
    unsafe { libc::geteuid() == 0 }
}

/// The program that is re-executed as a shim and run in pods.
pub fn program() -> PathBuf {
    std::env::var_os(PROGRAM).map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_node-shim-test")),
        PathBuf::from,
    )
}

fn run_as_ordinary_user(test: &str) {
    let copies = COPIES.get_or_init(|| {
        let dir = tempfile::Builder::new()
            .prefix("ordinary-")
            .tempdir()
            .expect("a temporary folder");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        copy(
            &std::env::current_exe().expect("this program"),
            &dir.path().join("tests"),
        );
        copy(&program(), &dir.path().join("program"));
        // Nothing static is dropped at the end.
        // SAFETY: the function takes and returns nothing and does not unwind.
        unsafe { libc::atexit(remove_copies) };
        dir
    });
    // A place of its own, private to the user as a data folder is.
    let home = tempfile::Builder::new()
        .prefix("ordinary-home-")
        .tempdir()
        .expect("a temporary folder");
    chown(home.path(), Some(ORDINARY), Some(ORDINARY)).expect("chown");
    let output = Command::new(copies.path().join("tests"))
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env_clear()
        .env(PROGRAM, copies.path().join("program"))
        .env("TMPDIR", home.path())
        .env("HOME", home.path())
        .env("RUST_BACKTRACE", "1")
        .current_dir("/")
        .uid(ORDINARY)
        .gid(ORDINARY)
        .output()
        .expect("runs");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success() && said.contains("1 passed"),
        "as an ordinary user:\n{said}"
    );
}

static COPIES: OnceLock<tempfile::TempDir> = OnceLock::new();

extern "C" fn remove_copies() {
    if let Some(dir) = COPIES.get() {
        let _ = fs::remove_dir_all(dir.path());
    }
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).expect("copy");
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// A test that starts pods.
macro_rules! pod_test {
    ($(#[$attribute:meta])* async fn $name:ident() $body:block) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            crate::owner::run(module_path!(), stringify!($name), async $body);
        }
    };
}
pub(crate) use pod_test;
