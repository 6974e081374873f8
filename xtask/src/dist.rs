//! The files that are shipped. For now the binary in its archive; images, chart and wheel join it.

use std::fs;

use anyhow::{Context, Result};

use crate::{paths, setup, step, web};

/// Version in the archive's name, as the guide's users type it.
const VERSION: &str = "1.7.0";

/// Makes `dist/kfctl_v<version>-linux-<arch>.tar.gz` with one file `kfctl` in it.
pub fn run() -> Result<()> {
    setup::node_packages()?;
    web::build()?;
    step::run(
        "build kfctl (release)",
        &mut step::cargo(&["build", "--release", "--package", "kfctl"]),
    )?;
    let dist = paths::root().join("dist");
    fs::create_dir_all(&dist).context("create dist/")?;
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let archive = dist.join(format!("kfctl_v{VERSION}-linux-{arch}.tar.gz"));
    step::run(
        "pack",
        step::command("tar")
            .args(["--owner=0", "--group=0", "--numeric-owner", "-czf"])
            .arg(&archive)
            .arg("-C")
            .arg(paths::target().join("release"))
            .arg("kfctl"),
    )?;
    println!("  {}", archive.display());
    Ok(())
}
