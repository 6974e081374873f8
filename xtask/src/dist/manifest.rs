//! What was shipped: every file with its digest, and the digest of that list, which alone needs to be trusted.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{VERSION, inventory};
use crate::step;

/// Digests in the form that `sha256sum --check` reads.
pub const SUMS: &str = "SHA256SUMS";
const MANIFEST: &str = "manifest.json";

/// Writes the manifest, its digest, and the list of digests.
pub fn write(dist: &Path) -> Result<()> {
    let mut names: Vec<String> = fs::read_dir(dist)
        .context("list dist/")?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let is_file = entry.file_type().ok()?.is_file();
            is_file.then(|| entry.file_name().to_string_lossy().into_owned())
        })
        .filter(|name| name != SUMS && !name.starts_with(MANIFEST))
        .collect();
    names.sort();
    let mut files = Vec::new();
    let mut sums = String::new();
    for name in &names {
        let (digest, size) = digest(&dist.join(name))?;
        sums.push_str(&format!("{digest}  {name}\n"));
        files.push(json!({"name": name, "sha256": digest, "size": size}));
    }
    let manifest = json!({
        "kfctl": VERSION,
        "ferroflow": inventory::own_version()?,
        "commit": commit(),
        "files": files,
    });
    let path = dist.join(MANIFEST);
    fs::write(&path, serde_json::to_string_pretty(&manifest)? + "\n")
        .context("write the manifest")?;
    let (digest, _) = digest(&path)?;
    let line = format!("{digest}  {MANIFEST}\n");
    fs::write(dist.join(format!("{MANIFEST}.sha256")), &line).context("write its digest")?;
    sums.push_str(&line);
    fs::write(dist.join(SUMS), sums).context("write the digests")
}

/// The commit that is shipped; with a mark where the tree has changes of its own.
fn commit() -> String {
    let ask = |arguments: &[&str]| {
        step::command("git")
            .args(arguments)
            .output()
            .ok()
            .filter(|output| output.status.success())
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = ask(&["rev-parse", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    match ask(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if !changes.is_empty() => format!("{head}-changed"),
        _ => head,
    }
}

/// A file's SHA-256 and its length.
fn digest(path: &Path) -> Result<(String, u64)> {
    let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    let mut sum = Sha256::new();
    let size = io::copy(&mut file, &mut Writing(&mut sum))
        .with_context(|| format!("read {}", path.display()))?;
    Ok((hex::encode(sum.finalize()), size))
}

struct Writing<'a>(&'a mut Sha256);

impl io::Write for Writing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_names_every_file_and_the_sums_name_the_manifest() -> Result<()> {
        let folder =
            std::env::temp_dir().join(format!("ferroflow-manifest-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("b"), "abc")?;
        fs::write(folder.join("a"), "")?;
        write(&folder)?;
        write(&folder)?;
        let sums = fs::read_to_string(folder.join(SUMS))?;
        let manifest = fs::read_to_string(folder.join(MANIFEST))?;
        fs::remove_dir_all(&folder)?;
        let names: Vec<&str> = sums
            .lines()
            .filter_map(|line| line.split("  ").nth(1))
            .collect();
        assert_eq!(names, ["a", "b", MANIFEST]);
        assert!(sums.starts_with("e3b0c44298fc1c14"), "{sums}");
        assert!(
            manifest.contains("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
        Ok(())
    }
}
