//! Where things are: the checkout, and the cache that outlives it.

use std::path::{Path, PathBuf};

/// The root of this checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies one folder below the root")
}

/// Folder that outlives the checkout: `FERROFLOW_DEV_CACHE`, else `~/.cache/ferroflow-dev`.
pub fn cache() -> PathBuf {
    if let Some(folder) = std::env::var_os("FERROFLOW_DEV_CACHE") {
        return folder.into();
    }
    let home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    home.join(".cache/ferroflow-dev")
}

/// Cargo's output folder: `CARGO_TARGET_DIR`, else one in the cache, shared by all checkouts.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| cache().join("target"), PathBuf::from)
}

/// The Python environment with the real clients.
pub fn venv() -> PathBuf {
    cache().join("venv")
}

/// A program of the Python environment.
pub fn venv_bin(program: &str) -> PathBuf {
    venv().join("bin").join(program)
}
