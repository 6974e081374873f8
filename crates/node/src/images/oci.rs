//! Reads OCI images from archives and layout folders (what `docker save`, `podman save --format oci-archive`, `skopeo` and
//! `buildah` write) and unpacks them into one folder: layers in order, whiteouts applied, nothing ever written outside.
//! Owners of files are not kept: inside a pod everything belongs to its root.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

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
    let (config, layers) = image.parts()?;
    fs::create_dir_all(root).map_err(at(root))?;
    let mut unpacking = Unpacking {
        root: root.to_owned(),
        size_bytes: 0,
        modes: BTreeMap::new(),
    };
    for layer in &layers {
        let blob = image.layout.join(layer);
        image
            .open_layer(&blob)
            .and_then(|reader| unpacking.apply(reader))
            .map_err(at(&blob))?;
    }
    unpacking.set_modes().map_err(at(root))?;
    let text = image.read(&config)?;
    let value: Value = serde_json::from_slice(&text).map_err(|error| image.malformed(&error))?;
    Ok(Unpacked {
        digest: format!("sha256:{}", hex::encode(Sha256::digest(&text))),
        settings: settings(&value),
        size_bytes: unpacking.size_bytes,
    })
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

/// A relative path with `..` taken away, never above its start.
fn lexical(path: &Path) -> PathBuf {
    let mut inside = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => inside.push(name),
            Component::ParentDir => drop(inside.pop()),
            _ => {}
        }
    }
    inside
}

fn decompressed<R: Read + 'static>(mut reader: BufReader<R>) -> io::Result<Box<dyn Read>> {
    let start = io::BufRead::fill_buf(&mut reader)?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(flate2::read::MultiGzDecoder::new(reader)));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let message =
            "it is compressed with zstd, which is not read here yet; save it with gzip layers";
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    Ok(Box::new(reader))
}

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

    /// The configuration and the layers, lowest first, as paths in the layout.
    fn parts(&self) -> Result<(PathBuf, Vec<PathBuf>), Error> {
        if self.layout.join("index.json").is_file() {
            let index = self.json(Path::new("index.json"))?;
            let manifest = self.manifest(&index, 0)?;
            let config = self.blob(&manifest["config"])?;
            let layers = manifest["layers"].as_array().into_iter().flatten();
            let layers = layers
                .map(|layer| self.blob(layer))
                .collect::<Result<_, _>>()?;
            return Ok((config, layers));
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
            return Ok((inside(&manifest[0]["Config"]), layers));
        }
        Err(self.malformed(&"it has neither an index.json nor a manifest.json"))
    }

    /// The manifest for this machine, through nested indices.
    fn manifest(&self, index: &Value, depth: u32) -> Result<Value, Error> {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let all = index["manifests"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let fits = |entry: &&Value| {
            let platform = &entry["platform"];
            platform.is_null()
                || (platform["os"] == "linux" && platform["architecture"] == architecture)
        };
        let entry = all.iter().find(fits).ok_or_else(|| {
            self.malformed(&format!("it has no image for linux on {architecture}"))
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
        let hex_digits = digest
            .strip_prefix("sha256:")
            .filter(|digits| {
                digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
            })
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

struct Unpacking {
    root: PathBuf,
    size_bytes: u64,
    /// Modes of folders, set last: one without write permission must still be filled.
    modes: BTreeMap<PathBuf, u32>,
}

/// Links followed on the way to one path; more are a loop.
const MOST_LINKS: u32 = 40;

impl Unpacking {
    fn apply(&mut self, layer: Box<dyn Read>) -> io::Result<()> {
        let mut archive = tar::Archive::new(layer);
        for entry in archive.entries()? {
            self.entry(&mut entry?)?;
        }
        Ok(())
    }

    fn entry<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> io::Result<()> {
        let path = lexical(&entry.path()?);
        let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
            return Ok(());
        };
        let parent = self.folder(parent)?;
        let text = name.to_string_lossy();
        if text == ".wh..wh..opq" {
            for old in fs::read_dir(&parent)? {
                remove(&old?.path())?;
            }
            return Ok(());
        }
        if let Some(hidden) = text.strip_prefix(".wh.") {
            return match Path::new(hidden)
                .components()
                .collect::<Vec<_>>()
                .as_slice()
            {
                [Component::Normal(hidden)] => remove(&parent.join(hidden)),
                _ => Ok(()),
            };
        }
        let target = parent.join(name);
        let mode = entry.header().mode()? & 0o1777;
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            if !target
                .symlink_metadata()
                .is_ok_and(|metadata| metadata.is_dir())
            {
                remove(&target)?;
                fs::create_dir(&target)?;
            }
            self.modes.insert(target, mode);
            return Ok(());
        }
        // What a link points at must never be written through it.
        remove(&target)?;
        if kind.is_file() {
            let mut file = File::create(&target)?;
            self.size_bytes += io::copy(entry, &mut file)?;
            file.set_permissions(fs::Permissions::from_mode(mode | 0o400))?;
            if let Ok(seconds) = entry.header().mtime() {
                let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
                file.set_modified(time)?;
            }
        } else if kind.is_symlink() {
            if let Some(link) = entry.link_name()? {
                symlink(link, &target)?;
            }
        } else if kind.is_hard_link()
            && let Some(link) = entry.link_name()?
        {
            let link = lexical(&link);
            let (Some(name), Some(parent)) = (link.file_name(), link.parent()) else {
                return Ok(());
            };
            let from = self.folder(parent)?.join(name);
            fs::hard_link(from, &target)?;
        }
        // Devices and pipes have no use in a sandbox, which brings its own.
        Ok(())
    }

    /// A folder of the image as the image itself would see it: links are followed inside the root only. Made if absent.
    fn folder(&self, inside: &Path) -> io::Result<PathBuf> {
        let mut real = self.root.clone();
        let mut waiting: Vec<std::ffi::OsString> = names_backwards(inside);
        let mut links = 0;
        while let Some(name) = waiting.pop() {
            if name == ".." {
                if real != self.root {
                    real.pop();
                }
                continue;
            }
            let next = real.join(&name);
            match next.symlink_metadata() {
                Ok(metadata) if metadata.is_symlink() => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(io::Error::other(format!(
                            "too many links on the way to {}",
                            inside.display()
                        )));
                    }
                    let link = fs::read_link(&next)?;
                    if link.is_absolute() {
                        real.clone_from(&self.root);
                    }
                    waiting.extend(names_backwards(&link));
                }
                Ok(metadata) if metadata.is_dir() => real = next,
                Ok(_) => {
                    fs::remove_file(&next)?;
                    fs::create_dir(&next)?;
                    real = next;
                }
                Err(_) => {
                    fs::create_dir(&next)?;
                    real = next;
                }
            }
        }
        Ok(real)
    }

    fn set_modes(&self) -> io::Result<()> {
        for (path, mode) in self.modes.iter().rev() {
            if path
                .symlink_metadata()
                .is_ok_and(|metadata| metadata.is_dir())
            {
                // The owner must be able to read and remove it again.
                fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o700))?;
            }
        }
        Ok(())
    }
}

/// The parts of a path, last first, as a stack to be worked off.
fn names_backwards(path: &Path) -> Vec<std::ffi::OsString> {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    let mut names: Vec<_> = names.collect();
    names.reverse();
    names
}

fn remove(path: &Path) -> io::Result<()> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
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
