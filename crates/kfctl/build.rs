//! Builds the launcher, static and small, so that every build of `kfctl` carries it.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../..");
    println!(
        "cargo::rerun-if-changed={}",
        root.join("crates/launcher").display()
    );
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let target = env::var("TARGET").expect("cargo sets it");
    // A folder of its own: the outer cargo holds the lock of the usual one.
    let folder = out.join("launcher-target");
    let status = Command::new(env::var_os("CARGO").expect("cargo sets it"))
        .current_dir(&root)
        .args([
            "build",
            "--quiet",
            "--package",
            "launcher",
            "--bin",
            "launcher",
            "--profile",
            "launcher",
            "--target",
            &target,
            "--target-dir",
        ])
        .arg(&folder)
        // The outer cargo holds the lock of its folder for intermediate files too.
        .env("CARGO_BUILD_BUILD_DIR", &folder)
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("RUSTC_WRAPPER")
        .status()
        .expect("cargo can be run");
    assert!(status.success(), "the launcher does not build");
    let binary = folder.join(&target).join("launcher/launcher");
    println!("cargo::rustc-env=FERROFLOW_LAUNCHER={}", binary.display());
}
