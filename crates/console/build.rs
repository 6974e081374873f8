//! Has the crate compiled anew when the pages were built anew: cargo does not see what is embedded.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A path that is not there would have everything compiled each time; `cargo xtask web` touches this file instead.
    let page = "../../web/dist/index.html";
    if std::path::Path::new(page).exists() {
        println!("cargo::rerun-if-changed={page}");
    }
}
