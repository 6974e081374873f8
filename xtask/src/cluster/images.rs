//! Images from plain folders: no registry can be reached, so each becomes a Docker archive with one
//! layer, which containerd takes in.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::containerd;
use super::hold::Inside;
use super::place::Place;

/// What holds a pod's namespaces.
pub const PAUSE: &str = "registry.k8s.io/pause:3.10";

/// Gives the running cluster's node the image `name` with the contents of `folder`.
pub fn add(place: &Place, name: &str, folder: &Path) -> Result<()> {
    import(place, name, |archive| {
        write_archive(archive, name, folder, None)
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
    write_archive(&archive, PAUSE, &folder, Some("/pause"))?;
    containerd::ctr(&["images", "import", &archive.display().to_string()]).map(drop)
}

/// Writes `folder` as a Docker archive of one layer.
fn write_archive(
    archive: &Path,
    name: &str,
    folder: &Path,
    entrypoint: Option<&str>,
) -> Result<()> {
    let layer = archive.with_extension("layer");
    let mut builder = tar::Builder::new(
        File::create(&layer).with_context(|| format!("create {}", layer.display()))?,
    );
    builder.follow_symlinks(false);
    builder
        .append_dir_all(".", folder)
        .with_context(|| format!("pack {}", folder.display()))?;
    builder.into_inner().context("finish the layer")?;
    let mut digest = Sha256::new();
    std::io::copy(&mut File::open(&layer)?, &mut Hashing(&mut digest)).context("read the layer")?;
    let mut layer_digest = String::from("sha256:");
    for byte in digest.finalize() {
        layer_digest += &format!("{byte:02x}");
    }
    let config = serde_json::json!({
        "architecture": go_architecture(),
        "os": "linux",
        "config": {"Entrypoint": entrypoint.map(|program| [program]), "Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
    });
    let manifest = serde_json::json!([
        {"Config": "config.json", "RepoTags": [full_name(name)], "Layers": ["layer.tar"]}
    ]);
    let mut whole = tar::Builder::new(File::create(archive)?);
    for (path, text) in [("config.json", config), ("manifest.json", manifest)] {
        let text = text.to_string();
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        whole.append_data(&mut header, path, text.as_bytes())?;
    }
    whole.append_path_with_name(&layer, "layer.tar")?;
    whole.into_inner().context("finish the archive")?;
    fs::remove_file(&layer).context("remove the layer")
}

struct Hashing<'a>(&'a mut Sha256);

impl std::io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
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

fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
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
