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

/// Where cargo puts finished programs: `CARGO_TARGET_DIR`, else a folder of this checkout, so that no checkout
/// ever runs the programs of another.
pub fn target() -> PathBuf {
    own_target().unwrap_or_else(|| root().join("target"))
}

/// Where cargo keeps what it compiles on the way, shared by all checkouts; it tells their crates apart by path.
/// `None` where the user chose a place for everything.
pub fn build() -> Option<PathBuf> {
    let chosen = own_target().is_some() || std::env::var_os("CARGO_BUILD_BUILD_DIR").is_some();
    (!chosen).then(|| cache().join("build"))
}

fn own_target() -> Option<PathBuf> {
    std::env::var_os("CARGO_TARGET_DIR")
        .filter(|folder| !folder.is_empty())
        .map(|folder| root().join(folder))
}

/// The Python environment with the real clients.
pub fn venv() -> PathBuf {
    cache().join("venv")
}

/// A program of the Python environment.
pub fn venv_bin(program: &str) -> PathBuf {
    venv().join("bin").join(program)
}
