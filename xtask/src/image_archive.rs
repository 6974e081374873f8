//! A plain folder as a Docker archive of one layer, which container engines and `kfctl image load` take in.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

/// How an image is run when a container does not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings<'a> {
    /// What runs.
    pub entrypoint: &'a [&'a str],
    /// Its arguments.
    pub arguments: &'a [&'a str],
    /// Who it runs as.
    pub user: Option<&'a str>,
}

/// Writes `folder` to `archive` as the image `name`.
pub fn write(archive: &Path, name: &str, folder: &Path, settings: &Settings<'_>) -> Result<()> {
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
    let manifest = json!([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]);
    let mut whole = tar::Builder::new(File::create(archive)?);
    for (path, value) in [
        ("config.json", config(settings, &layer_digest)),
        ("manifest.json", manifest),
    ] {
        let text = value.to_string();
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        whole.append_data(&mut header, path, text.as_bytes())?;
    }
    whole.append_path_with_name(&layer, "layer.tar")?;
    whole.into_inner().context("finish the archive")?;
    fs::remove_file(&layer).context("remove the layer")
}

fn config(settings: &Settings<'_>, layer_digest: &str) -> serde_json::Value {
    let some = |words: &[&str]| (!words.is_empty()).then(|| json!(words));
    json!({
        "architecture": go_architecture(),
        "os": "linux",
        "config": {
            "Entrypoint": some(settings.entrypoint),
            "Cmd": some(settings.arguments),
            "User": settings.user.unwrap_or_default(),
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"],
        },
        "rootfs": {"type": "layers", "diff_ids": [layer_digest]},
    })
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

fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    }
}
