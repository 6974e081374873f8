//! The files that are shipped, under dist/: the binary in its archive, the same binary as an OCI image, the Python
//! package, the Helm chart and the kustomize tree; beside them what is in them, and their digests. The same commit on the
//! same machine gives the same bytes.

mod inventory;
mod manifest;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{paths, setup, step, web};

/// Version in the archive's name, as the guide's users type it.
pub const VERSION: &str = "1.7.0";
/// Every file in every archive has this time: 1980, the first that zip archives can hold.
const TIME: &str = "315532800";
/// No image of ours is larger.
const LARGEST_IMAGE: u64 = 80_000_000;

/// Makes everything anew.
pub fn run() -> Result<()> {
    setup::node_packages()?;
    setup::python_environment()?;
    web::build()?;
    step::run(
        "build kfctl (release)",
        &mut step::cargo(&["build", "--release", "--locked", "--package", "kfctl"]),
    )?;
    let kfctl = paths::target().join("release/kfctl");
    let dist = paths::root().join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist).context("clear dist/")?;
    }
    fs::create_dir_all(&dist).context("create dist/")?;
    archive(&kfctl, &dist)?;
    image(&kfctl, &dist)?;
    wheel(&dist)?;
    manifests(&kfctl, &dist)?;
    step::announce("list what is in it");
    inventory::write(&kfctl, &dist.join(format!("kfctl_v{VERSION}.cdx.json")))?;
    manifest::write(&dist)?;
    for line in fs::read_to_string(dist.join(manifest::SUMS))?.lines() {
        println!("  {line}");
    }
    Ok(())
}

/// The machine's architecture, as in file names.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// One file `kfctl`, as the guide unpacks it.
fn archive(kfctl: &Path, dist: &Path) -> Result<()> {
    let archive = dist.join(format!("kfctl_v{VERSION}-linux-{}.tar.gz", architecture()));
    let folder = kfctl.parent().context("the binary lies in a folder")?;
    step::run(
        "pack kfctl",
        step::command("tar")
            .args([
                "--owner=0",
                "--group=0",
                "--numeric-owner",
                "--mode=755",
                "--format=ustar",
            ])
            .arg(format!("--mtime=@{TIME}"))
            .args(["-I", "gzip -n -9", "-cf"])
            .arg(&archive)
            .arg("-C")
            .arg(folder)
            .arg("kfctl"),
    )
}

/// The binary makes its own image: itself, this machine's C library, certificates, and nothing else.
fn image(kfctl: &Path, dist: &Path) -> Result<()> {
    let version = inventory::own_version()?;
    let archive = dist.join(format!(
        "kfctl_v{VERSION}-image-linux-{}.tar",
        architecture()
    ));
    let data = paths::target().join("dist-image");
    step::run(
        "make the OCI image",
        step::command(kfctl)
            .args(["image", "export"])
            .arg(format!("ferroflow/kfctl:{version}"))
            .arg("--oci")
            .arg(&archive)
            .arg("--data-dir")
            .arg(&data),
    )?;
    fs::remove_dir_all(&data).context("clear the image's scratch folder")?;
    let size = archive.metadata().context("look at the image")?.len();
    if size > LARGEST_IMAGE {
        bail!("the image has {size} bytes; it must stay below {LARGEST_IMAGE}");
    }
    Ok(())
}

/// The Helm chart with the index of its repository, and the kustomize tree: both from what lies in the binary.
fn manifests(kfctl: &Path, dist: &Path) -> Result<()> {
    let tree = paths::target().join("dist-manifests");
    if tree.exists() {
        fs::remove_dir_all(&tree).context("clear the copy of the manifests")?;
    }
    step::run(
        "pack the Helm chart",
        step::command(kfctl)
            .args(["export", "chart-repository", "--to"])
            .arg(dist),
    )?;
    step::run(
        "write the kustomize tree",
        step::command(kfctl)
            .args(["export", "kustomize", "--to"])
            .arg(&tree),
    )?;
    step::run(
        "pack the kustomize tree",
        step::command("tar")
            .args([
                "--owner=0",
                "--group=0",
                "--numeric-owner",
                "--mode=u=rwX,go=rX",
                "--sort=name",
                "--format=ustar",
            ])
            .arg(format!("--mtime=@{TIME}"))
            .args([
                "--transform",
                "s,^\\.,manifests,",
                "-I",
                "gzip -n -9",
                "-cf",
            ])
            .arg(dist.join(format!("manifests_v{VERSION}.tar.gz")))
            .arg("-C")
            .arg(&tree)
            .arg("."),
    )?;
    fs::remove_dir_all(&tree).context("clear the copy of the manifests")
}

/// The Python package, built from a copy: the build leaves its own folders behind.
fn wheel(dist: &Path) -> Result<()> {
    let copy = paths::target().join("dist-sdk");
    if copy.exists() {
        fs::remove_dir_all(&copy).context("clear the copy of sdk/python")?;
    }
    copy_folder(&paths::root().join("sdk/python"), &copy)?;
    step::run(
        "build the Python package",
        step::command(paths::venv_bin("python"))
            .args(["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"])
            .arg(dist)
            .arg(&copy)
            .env("SOURCE_DATE_EPOCH", TIME),
    )?;
    fs::remove_dir_all(&copy).context("clear the copy of sdk/python")
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in walkdir::WalkDir::new(from).sort_by_file_name() {
        let entry = entry.context("read sdk/python")?;
        let inside = entry.path().strip_prefix(from).unwrap_or(entry.path());
        if inside.iter().any(|part| {
            part == "__pycache__"
                || part == "build"
                || part.to_string_lossy().ends_with(".egg-info")
        }) {
            continue;
        }
        let target: PathBuf = to.join(inside);
        if entry.file_type().is_dir() {
            fs::create_dir_all(&target)
        } else {
            fs::copy(entry.path(), &target).map(drop)
        }
        .with_context(|| format!("copy {}", entry.path().display()))?;
    }
    Ok(())
}
