//! The manifests inside the binary.

use rust_embed::RustEmbed;

/// Every file below `manifests/`, by its path there.
#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../../manifests"]
#[include = "*.yaml"]
#[include = "*.json"]
#[include = "*.txt"]
#[include = "*.tpl"]
#[include = "*.md"]
struct Embedded;

/// The text of one file, by its path below `manifests/`.
pub fn read(path: &str) -> Option<String> {
    let file = Embedded::get(path)?;
    String::from_utf8(file.data.into_owned()).ok()
}

/// The paths that begin with `prefix`.
pub fn below(prefix: &str) -> Vec<String> {
    let mut paths: Vec<String> = Embedded::iter()
        .map(|path| path.into_owned())
        .filter(|path| path.starts_with(prefix))
        .collect();
    paths.sort();
    paths
}

/// The kustomize tree: every path that `kustomize build` may need.
pub fn tree() -> Vec<String> {
    let mut paths = below("");
    paths.retain(|path| !path.starts_with("chart/") && !path.starts_with("kfdef/"));
    paths
}
