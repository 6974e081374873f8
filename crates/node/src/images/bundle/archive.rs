//! An image in one file, as `ctr images import`, `podman load`, `docker load` and `kfctl image load` read it: the layout
//! with its index, and beside it the list that older readers look for.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde_json::json;

use super::layout::{Layout, inside};
use super::tree::Tree;
use crate::images::name::ImageName;
use crate::images::oci::{NAME_OF_CONTAINERD, NAME_OF_OCI, architecture};

/// Writes the archive to `file`, whole or not at all.
pub fn write(image: &Layout, name: &ImageName, file: &Path) -> io::Result<()> {
    let full = match name.registry() {
        "docker.io" if name.repository.contains('/') => format!("docker.io/{name}"),
        "docker.io" => format!("docker.io/library/{name}"),
        _ => name.to_string(),
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{
            "mediaType": Layout::MANIFEST,
            "digest": image.digest,
            "size": image.manifest.len(),
            "annotations": {(NAME_OF_CONTAINERD): full, (NAME_OF_OCI): name.tag()},
            "platform": {"os": "linux", "architecture": architecture()},
        }],
    });
    let layers: Vec<_> = image
        .layers()
        .iter()
        .map(|layer| inside(&layer.digest))
        .collect();
    let list = json!([{
        "Config": inside(&image.config().digest),
        "RepoTags": [name.to_string()],
        "Layers": layers,
    }]);
    let mut tree = Tree::default();
    tree.text("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    tree.text("index.json", &index.to_string());
    tree.text("manifest.json", &list.to_string());
    for blob in image.blobs() {
        let path = inside(&blob.digest);
        tree.file(&path.to_string_lossy(), &image.file(blob), 0o644);
    }
    tree.file(
        &inside(&image.digest).to_string_lossy(),
        &image.folder.join(inside(&image.digest)),
        0o644,
    );
    let mut next = file.as_os_str().to_owned();
    next.push(".writing");
    let next = Path::new(&next);
    let written = File::create(next).and_then(|out| {
        let mut out = BufWriter::new(out);
        tree.write(&mut out)?;
        out.flush()
    });
    match written {
        Ok(()) => std::fs::rename(next, file),
        Err(error) => {
            let _ = std::fs::remove_file(next);
            Err(error)
        }
    }
}
