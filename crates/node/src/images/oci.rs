//! Reads OCI images from archives and layout folders (what `docker save`, `podman save --format oci-archive`, `skopeo` and
//! `buildah` write) and unpacks them into one folder. A pulled image is a layout folder too by the time it comes here.

mod layers;

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

pub(super) use layers::names_backwards;
use layers::{Unpacking, decompressed, lexical};

/// What an image says about how it is run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// What runs.
    pub entrypoint: Vec<String>,
    /// Its arguments when a container names none.
    pub arguments: Vec<String>,
    /// Variables.
    pub env: Vec<(String, String)>,
    /// Where it starts.
    pub working_dir: Option<PathBuf>,
    /// Who it runs as.
    pub user: Option<String>,
}

/// An unpacked image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The digest of its configuration, which names its content.
    pub digest: String,
    /// How it is run.
    pub settings: Settings,
    /// All files together.
    pub size_bytes: u64,
    /// What the archive calls it.
    pub name: Option<String>,
}

/// Why an image could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing failed.
    #[error("using {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// It is no image, or a part is missing or changed.
    #[error("{} is no readable OCI image: {message}", path.display())]
    Malformed {
        /// The archive or folder.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

/// Unpacks the image in `source` (an archive or a layout folder) into the empty folder `root`. `scratch` is an empty folder
/// for what lies in between.
pub fn unpack(source: &Path, root: &Path, scratch: &Path) -> Result<Unpacked, Error> {
    let layout = if source.is_dir() {
        source.to_owned()
    } else {
        extract_archive(source, scratch)?;
        scratch.to_owned()
    };
    let image = Image { source, layout };
    let parts = image.parts()?;
    image.unpack(&parts, root)
}

/// Unpacks the image that `manifest` describes, whose blobs lie in the layout folder `layout`, into the empty folder `root`.
pub fn unpack_manifest(layout: &Path, manifest: &Value, root: &Path) -> Result<Unpacked, Error> {
    let image = Image {
        source: layout,
        layout: layout.to_owned(),
    };
    let parts = image.parts_of(manifest, None)?;
    image.unpack(&parts, root)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

/// Only plain files with plain names are taken out of an archive.
fn extract_archive(source: &Path, scratch: &Path) -> Result<(), Error> {
    let file = File::open(source).map_err(at(source))?;
    let mut archive = tar::Archive::new(decompressed(BufReader::new(file)).map_err(at(source))?);
    for entry in archive.entries().map_err(at(source))? {
        let mut entry = entry.map_err(at(source))?;
        let path = entry.path().map_err(at(source))?.into_owned();
        let parts: Vec<Component<'_>> = path
            .components()
            .filter(|part| !matches!(part, Component::CurDir))
            .collect();
        let is_plain = !parts.is_empty()
            && parts
                .iter()
                .all(|part| matches!(part, Component::Normal(_)));
        if !is_plain {
            continue;
        }
        let target = parts
            .iter()
            .fold(scratch.to_owned(), |path, part| path.join(part));
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        match entry.header().entry_type() {
            kind if kind.is_file() => {
                let mut file = File::create(&target).map_err(at(&target))?;
                io::copy(&mut entry, &mut file).map_err(at(&target))?;
            }
            // `docker save` links equal layers; the link stays inside because its target is resolved there.
            kind if kind.is_symlink() => {
                let link = entry
                    .link_name()
                    .map_err(at(source))?
                    .unwrap_or_default()
                    .into_owned();
                let folder = path.parent().unwrap_or(Path::new(""));
                let inside = lexical(&folder.join(link));
                let from = scratch.join(inside);
                if from.is_file() {
                    fs::copy(from, &target).map_err(at(&target))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// What an image consists of, as paths in its layout.
struct Parts {
    config: PathBuf,
    layers: Vec<PathBuf>,
    name: Option<String>,
}

/// This machine's architecture, as registries call it.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The entry of an index that is for this machine.
pub fn for_this_machine(index: &Value) -> Option<&Value> {
    let all = index["manifests"].as_array()?;
    all.iter().find(|entry| {
        let platform = &entry["platform"];
        platform.is_null()
            || (platform["os"] == "linux" && platform["architecture"] == architecture())
    })
}

/// The digits of a SHA-256 digest; none where the text is another thing.
pub fn sha256_digits(digest: &str) -> Option<&str> {
    digest
        .strip_prefix("sha256:")
        .filter(|digits| digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Annotation with the full name of an archived image.
pub const NAME_OF_CONTAINERD: &str = "io.containerd.image.name";
/// Annotation with the name or only the tag of an archived image.
pub const NAME_OF_OCI: &str = "org.opencontainers.image.ref.name";

struct Image<'a> {
    source: &'a Path,
    layout: PathBuf,
}

impl Image<'_> {
    fn malformed(&self, message: &dyn std::fmt::Display) -> Error {
        Error::Malformed {
            path: self.source.to_owned(),
            message: message.to_string(),
        }
    }

    fn read(&self, inside: &Path) -> Result<Vec<u8>, Error> {
        let path = self.layout.join(inside);
        fs::read(&path).map_err(at(&path))
    }

    fn json(&self, inside: &Path) -> Result<Value, Error> {
        serde_json::from_slice(&self.read(inside)?).map_err(|error| self.malformed(&error))
    }

    fn unpack(&self, parts: &Parts, root: &Path) -> Result<Unpacked, Error> {
        let Parts {
            config,
            layers,
            name,
        } = parts;
        fs::create_dir_all(root).map_err(at(root))?;
        let mut unpacking = Unpacking::new(root);
        for layer in layers {
            let blob = self.layout.join(layer);
            self.open_layer(&blob)
                .and_then(|reader| unpacking.apply(reader))
                .map_err(at(&blob))?;
        }
        unpacking.finish().map_err(at(root))?;
        let text = self.read(config)?;
        let value: Value = serde_json::from_slice(&text).map_err(|error| self.malformed(&error))?;
        Ok(Unpacked {
            digest: format!("sha256:{}", hex::encode(Sha256::digest(&text))),
            settings: settings(&value),
            size_bytes: unpacking.size_bytes,
            name: name.clone(),
        })
    }

    /// The configuration and the layers, lowest first, as paths in the layout.
    fn parts(&self) -> Result<Parts, Error> {
        if self.layout.join("index.json").is_file() {
            let index = self.json(Path::new("index.json"))?;
            let notes = &index["manifests"][0]["annotations"];
            let name = notes[NAME_OF_CONTAINERD]
                .as_str()
                .or(notes[NAME_OF_OCI].as_str())
                .map(str::to_owned);
            let manifest = self.manifest(&index, 0)?;
            return self.parts_of(&manifest, name);
        }
        if self.layout.join("manifest.json").is_file() {
            let manifest = self.json(Path::new("manifest.json"))?;
            let inside = |value: &Value| lexical(Path::new(value.as_str().unwrap_or_default()));
            let layers = manifest[0]["Layers"]
                .as_array()
                .into_iter()
                .flatten()
                .map(inside)
                .collect();
            return Ok(Parts {
                config: inside(&manifest[0]["Config"]),
                layers,
                name: manifest[0]["RepoTags"][0].as_str().map(str::to_owned),
            });
        }
        Err(self.malformed(&"it has neither an index.json nor a manifest.json"))
    }

    fn parts_of(&self, manifest: &Value, name: Option<String>) -> Result<Parts, Error> {
        let layers = manifest["layers"].as_array().into_iter().flatten();
        Ok(Parts {
            config: self.blob(&manifest["config"])?,
            layers: layers
                .map(|layer| self.blob(layer))
                .collect::<Result<_, _>>()?,
            name,
        })
    }

    /// The manifest for this machine, through nested indices.
    fn manifest(&self, index: &Value, depth: u32) -> Result<Value, Error> {
        let entry = for_this_machine(index).ok_or_else(|| {
            self.malformed(&format!("it has no image for linux on {}", architecture()))
        })?;
        let manifest = self.json(&self.blob(entry)?)?;
        if manifest["manifests"].is_array() && depth < 4 {
            return self.manifest(&manifest, depth + 1);
        }
        Ok(manifest)
    }

    /// The file of a blob, checked against its digest.
    fn blob(&self, descriptor: &Value) -> Result<PathBuf, Error> {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        let hex_digits = sha256_digits(digest)
            .ok_or_else(|| self.malformed(&format!("{digest:?} is no sha256 digest")))?;
        let inside = Path::new("blobs/sha256").join(hex_digits);
        let path = self.layout.join(&inside);
        let mut file = File::open(&path).map_err(at(&path))?;
        let mut sum = Sha256::new();
        let mut buffer = vec![0; 64 << 10];
        loop {
            match file.read(&mut buffer).map_err(at(&path))? {
                0 => break,
                count => sum.update(&buffer[..count]),
            }
        }
        if hex::encode(sum.finalize()) != hex_digits.to_ascii_lowercase() {
            return Err(self.malformed(&format!("the content of {digest} was changed")));
        }
        Ok(inside)
    }

    fn open_layer(&self, blob: &Path) -> io::Result<Box<dyn Read>> {
        decompressed(BufReader::new(File::open(blob)?))
    }
}

fn settings(config: &Value) -> Settings {
    let own = &config["config"];
    let words = |name: &str| -> Vec<String> {
        own[name]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect()
    };
    let text = |name: &str| {
        own[name]
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    Settings {
        entrypoint: words("Entrypoint"),
        arguments: words("Cmd"),
        env: words("Env")
            .iter()
            .filter_map(|variable| variable.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        working_dir: text("WorkingDir").map(PathBuf::from),
        user: text("User"),
    }
}

#[cfg(test)]
mod tests;
