//! `kfctl export`: writes what this version installs for the tools that other people install with.

use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::cli_cluster::Export;
use crate::version;

/// Writes.
pub fn run(export: &Export) -> Result<()> {
    match export {
        Export::Kustomize(to) => {
            for path in install::sources::tree() {
                let text = install::sources::read(&path).unwrap_or_default();
                write(&to.folder.join(path), text.as_bytes())?;
            }
            println!(
                "kustomize build {} | kubectl apply -f -",
                to.folder.join("example").display()
            );
        }
        Export::Chart(to) => {
            let chart = to.folder.join(install::chart::NAME);
            for (path, text) in install::chart::files(version::FERROFLOW)? {
                write(&chart.join(path), text.as_bytes())?;
            }
            println!(
                "helm install kubeflow {} -n kubeflow --create-namespace",
                chart.display()
            );
        }
        Export::ChartRepository(to) => {
            let archive = archive()?;
            // The same version is always the same file, byte by byte.
            let created = "1980-01-01T00:00:00Z";
            let index = install::chart::index(version::FERROFLOW, &archive, created);
            let name = format!("{}-{}.tgz", install::chart::NAME, version::FERROFLOW);
            write(&to.folder.join(&name), &archive)?;
            write(&to.folder.join("index.yaml"), index.as_bytes())?;
            println!("{}", to.folder.join(name).display());
        }
    }
    Ok(())
}

/// The chart as Helm packs it.
fn archive() -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::best()));
    for (path, text) in install::chart::files(version::FERROFLOW)? {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(0);
        header.set_cksum();
        let path = Path::new(install::chart::NAME).join(path);
        tar.append_data(&mut header, &path, text.as_bytes())
            .with_context(|| format!("pack {}", path.display()))?;
    }
    let compressed = tar.into_inner().context("pack the chart")?;
    compressed.finish().context("pack the chart")
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    std::fs::write(path, bytes).with_context(|| format!("write {}", path.display()))
}
