//! Images from plain folders: no registry can be reached, so each becomes an archive, which containerd takes in.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::containerd;
use super::hold::Inside;
use super::place::Place;
use crate::image_archive::{self, Settings};

/// What holds a pod's namespaces.
pub const PAUSE: &str = "registry.k8s.io/pause:3.10";

/// Gives the running cluster's node the image `name` with the contents of `folder`.
pub fn add(place: &Place, name: &str, folder: &Path) -> Result<()> {
    import(place, name, |archive| {
        image_archive::write(archive, &full_name(name), folder, &Settings::default())
    })
}

/// Gives the running cluster's node the images of `archive`, an OCI or Docker archive that names them.
pub fn load(place: &Place, archive: &Path) -> Result<()> {
    import(place, &archive.display().to_string(), |to| {
        fs::copy(archive, to)
            .with_context(|| format!("copy {}", archive.display()))
            .map(drop)
    })
}

fn import(place: &Place, what: &str, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let Some(process) = place.running()?.and_then(|record| record.process) else {
        bail!(
            "no cluster runs in {}; start one with cargo xtask cluster up",
            place.root().display()
        );
    };
    let archive = place.root().join("images/added.tar");
    write(&archive)?;
    let output = Command::new("nsenter")
        .args([
            "--target",
            &process.pid.to_string(),
            "--mount",
            "--net",
            "--pid",
            "--",
        ])
        .args([
            "ctr",
            "--address",
            containerd::SOCKET,
            "--namespace",
            "k8s.io",
        ])
        .args(["images", "import", "/mnt/images/added.tar"])
        .output()
        .context("start nsenter (Debian: util-linux)")?;
    let _ = fs::remove_file(&archive);
    if output.status.success() {
        return Ok(());
    }
    bail!(
        "import {what}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    )
}

/// The pause image, before anything asks for it.
pub fn add_pause(inside: &Inside) -> Result<()> {
    let folder = inside.place.root().join("images/pause");
    fs::create_dir_all(&folder).context("create the pause image's folder")?;
    fs::copy(inside.place.program("pause"), folder.join("pause"))
        .context("copy the pause program")?;
    let archive = inside.place.root().join("images/pause.tar");
    let settings = Settings {
        entrypoint: &["/pause"],
        ..Settings::default()
    };
    image_archive::write(&archive, PAUSE, &folder, &settings)?;
    containerd::ctr(&["images", "import", &archive.display().to_string()]).map(drop)
}

/// The name as the container runtime knows it.
fn full_name(name: &str) -> String {
    let first = name.split('/').next().unwrap_or_default();
    let has_registry = name.contains('/') && (first.contains('.') || first.contains(':'));
    let name = match (has_registry, name.contains('/')) {
        (true, _) => name.to_owned(),
        (false, true) => format!("docker.io/{name}"),
        (false, false) => format!("docker.io/library/{name}"),
    };
    let last = name.rsplit('/').next().unwrap_or_default();
    if last.contains(':') {
        name
    } else {
        name + ":latest"
    }
}

#[cfg(test)]
mod tests {
    use super::full_name;

    #[test]
    fn a_bare_name_is_found_where_the_runtime_looks_for_it() {
        assert_eq!(full_name("alpine"), "docker.io/library/alpine:latest");
        assert_eq!(full_name("team/step:1"), "docker.io/team/step:1");
        assert_eq!(
            full_name("registry.k8s.io/pause:3.10"),
            "registry.k8s.io/pause:3.10"
        );
        assert_eq!(full_name("localhost:5000/x"), "localhost:5000/x:latest");
    }
}
