//! Runs a test as this user and, when this is root, again as an ordinary user with no rights at all.

use std::path::PathBuf;

pub use crate::ordinary_user::is_root;

use crate::ordinary_user;

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
        let test = format!("{module}::{name}");
        let only = [test.as_str(), "--exact", "--nocapture", "--test-threads=1"];
        ordinary_user::run(&program(), PROGRAM, &only, "1 passed");
    }
}

/// The program that is re-executed as a shim and run in pods.
pub fn program() -> PathBuf {
    std::env::var_os(PROGRAM).map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_node-shim-test")),
        PathBuf::from,
    )
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
