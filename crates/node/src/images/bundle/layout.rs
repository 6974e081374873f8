//! An OCI layout in the making: blobs under their digests, then configuration, manifest and index, all without a time.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::tree::Tree;
use crate::images::oci;

/// A part of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Its digest.
    pub digest: String,
    /// Its length.
    pub size: u64,
}

/// A finished image in a folder.
#[derive(Debug, Clone)]
pub struct Layout {
    /// The folder.
    pub folder: PathBuf,
    /// The manifest's text.
    pub manifest: Vec<u8>,
    /// Its digest, which is the image's.
    pub digest: String,
    config: Blob,
    layers: Vec<Blob>,
}

/// How the image is run.
#[derive(Debug, Clone, Default)]
pub(super) struct Config {
    pub(super) entrypoint: Vec<String>,
    pub(super) arguments: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) working_dir: Option<PathBuf>,
    pub(super) user: Option<String>,
}

pub(super) struct Builder {
    folder: PathBuf,
    layers: Vec<Blob>,
    contents: Vec<String>,
    history: Vec<Value>,
}

/// Configurations need a time; this one says nothing.
const NO_TIME: &str = "1980-01-01T00:00:00Z";

impl Layout {
    /// Media type of the manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

    /// Everything but the manifest.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.layers.iter().chain([&self.config])
    }

    /// The layers, lowest first.
    pub fn layers(&self) -> &[Blob] {
        &self.layers
    }

    pub(super) fn config(&self) -> &Blob {
        &self.config
    }

    /// The file of a part.
    pub fn file(&self, blob: &Blob) -> PathBuf {
        self.folder.join(inside(&blob.digest))
    }

    /// All parts together.
    pub fn size_bytes(&self) -> u64 {
        self.blobs().map(|blob| blob.size).sum()
    }
}

/// Where a blob lies in its layout.
pub(super) fn inside(digest: &str) -> PathBuf {
    Path::new("blobs/sha256").join(oci::sha256_digits(digest).unwrap_or_default())
}

impl Builder {
    pub(super) fn new(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder.join("blobs/sha256"))?;
        Ok(Self {
            folder: folder.to_owned(),
            layers: Vec::new(),
            contents: Vec::new(),
            history: Vec::new(),
        })
    }

    /// Adds a layer on top.
    pub(super) fn layer(&mut self, what: &str, tree: &Tree) -> io::Result<()> {
        let writing = self.folder.join("writing");
        let out = Hashing::new(BufWriter::new(File::create(&writing)?));
        // The header of a stream made so holds no time and no name.
        let mut packed = Hashing::new(GzEncoder::new(out, Compression::new(6)));
        tree.write(&mut packed)?;
        let content = packed.digest();
        let mut out = packed.inner.finish()?;
        out.flush()?;
        let blob = Blob {
            size: out.count,
            digest: out.digest(),
        };
        fs::rename(&writing, self.folder.join(inside(&blob.digest)))?;
        self.layers.push(blob);
        self.contents.push(content);
        self.history
            .push(json!({"created": NO_TIME, "created_by": format!("kfctl: {what}")}));
        Ok(())
    }

    pub(super) fn finish(self, config: &Config) -> io::Result<Layout> {
        let mut own = json!({
            "Env": config.env.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(),
        });
        for (name, words) in [
            ("Entrypoint", &config.entrypoint),
            ("Cmd", &config.arguments),
        ] {
            if !words.is_empty() {
                own[name] = json!(words);
            }
        }
        if let Some(folder) = &config.working_dir {
            own["WorkingDir"] = json!(folder);
        }
        if let Some(user) = &config.user {
            own["User"] = json!(user);
        }
        let text = json!({
            "created": NO_TIME,
            "architecture": oci::architecture(),
            "os": "linux",
            "config": own,
            "rootfs": {"type": "layers", "diff_ids": self.contents},
            "history": self.history,
        });
        let config = self.put(text.to_string().as_bytes())?;
        let describe = |kind: &str, blob: &Blob| json!({"mediaType": kind, "digest": blob.digest, "size": blob.size});
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| describe("application/vnd.oci.image.layer.v1.tar+gzip", layer))
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": Layout::MANIFEST,
            "config": describe("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers,
        })
        .to_string()
        .into_bytes();
        let own = self.put(&manifest)?;
        Ok(Layout {
            digest: own.digest,
            manifest,
            config,
            layers: self.layers,
            folder: self.folder,
        })
    }

    fn put(&self, text: &[u8]) -> io::Result<Blob> {
        let digest = format!("sha256:{}", hex::encode(Sha256::digest(text)));
        fs::write(self.folder.join(inside(&digest)), text)?;
        Ok(Blob {
            digest,
            size: text.len() as u64,
        })
    }
}

/// Counts and digests what passes through.
struct Hashing<W> {
    inner: W,
    sum: Sha256,
    count: u64,
}

impl<W: Write> Hashing<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            sum: Sha256::new(),
            count: 0,
        }
    }

    fn digest(&self) -> String {
        format!("sha256:{}", hex::encode(self.sum.clone().finalize()))
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.sum.update(&bytes[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
