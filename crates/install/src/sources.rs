//! The manifests inside the binary.

use rust_embed::RustEmbed;

/// Every file below `manifests/`, by its path there.
#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../../manifests"]
#[include = "*.yaml"]
struct Embedded;

/// The text of one file, by its path below `manifests/`.
pub fn read(path: &str) -> Option<String> {
    let file = Embedded::get(path)?;
    String::from_utf8(file.data.into_owned()).ok()
}
