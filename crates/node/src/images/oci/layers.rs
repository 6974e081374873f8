//! Layers become one folder: in order, whiteouts applied, nothing ever written outside of the root. Devices, pipes and
//! set-uid bits are left out. Owners are kept where this process may give files away, so that an image's own user finds
//! its own files; elsewhere a pod has one user, to whom everything belongs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Component, Path, PathBuf};

/// Links followed on the way to one path; more are a loop.
const MOST_LINKS: u32 = 40;
/// Ids that every pod of a root's node has.
const OWNERS: u32 = 65_536;

/// An image's files while they are put together.
pub(super) struct Unpacking {
    root: PathBuf,
    pub(super) size_bytes: u64,
    keeps_owners: bool,
    /// Modes of folders, set last: one without write permission must still be filled.
    modes: BTreeMap<PathBuf, u32>,
    /// What the layer at hand brought: its own whiteouts hide what is below it, never this.
    fresh: BTreeSet<PathBuf>,
}

impl Unpacking {
    /// Into the folder `root`.
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            size_bytes: 0,
            keeps_owners: nix::unistd::geteuid().is_root(),
            modes: BTreeMap::new(),
            fresh: BTreeSet::new(),
        }
    }

    /// Lays the next layer over what is there.
    pub(super) fn apply(&mut self, layer: Box<dyn Read>) -> io::Result<()> {
        self.fresh.clear();
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
            return self.remove_below(&parent);
        }
        if let Some(hidden) = text.strip_prefix(".wh.") {
            return match Path::new(hidden)
                .components()
                .collect::<Vec<_>>()
                .as_slice()
            {
                [Component::Normal(hidden)] => self.remove_older(&parent.join(hidden)),
                _ => Ok(()),
            };
        }
        let target = parent.join(name);
        let mode = entry.header().mode()? & 0o1777;
        let kind = entry.header().entry_type();
        self.fresh.insert(target.clone());
        if kind.is_dir() {
            if !target
                .symlink_metadata()
                .is_ok_and(|metadata| metadata.is_dir())
            {
                remove(&target)?;
                fs::create_dir(&target)?;
            }
            self.give(&target, entry.header())?;
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
            self.give(&target, entry.header())?;
        } else if kind.is_symlink() {
            if let Some(link) = entry.link_name()? {
                symlink(link, &target)?;
                self.give(&target, entry.header())?;
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

    /// Hands a new file to its owner. A number that no pod has is its root's.
    fn give(&self, path: &Path, header: &tar::Header) -> io::Result<()> {
        if !self.keeps_owners {
            return Ok(());
        }
        let id = |id: io::Result<u64>| {
            id.ok()
                .and_then(|id| u32::try_from(id).ok())
                .filter(|id| *id < OWNERS)
                .unwrap_or(0)
        };
        lchown(path, Some(id(header.uid())), Some(id(header.gid())))
    }

    fn remove_older(&self, path: &Path) -> io::Result<()> {
        let is_fresh = self
            .fresh
            .range(path.to_owned()..)
            .next()
            .is_some_and(|next| next.starts_with(path));
        if !is_fresh {
            return remove(path);
        }
        if path
            .symlink_metadata()
            .is_ok_and(|metadata| metadata.is_dir())
            && !self.fresh.contains(path)
        {
            return self.remove_below(path);
        }
        Ok(())
    }

    fn remove_below(&self, folder: &Path) -> io::Result<()> {
        for old in fs::read_dir(folder)? {
            let path = old?.path();
            self.remove_older(&path)?;
            if self.fresh.contains(&path)
                && path
                    .symlink_metadata()
                    .is_ok_and(|metadata| metadata.is_dir())
            {
                self.remove_below(&path)?;
            }
        }
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

    /// After the last layer.
    pub(super) fn finish(&self) -> io::Result<()> {
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

/// A reader of what is compressed with gzip, with zstd, or not at all.
pub(super) fn decompressed<R: Read + 'static>(
    mut reader: BufReader<R>,
) -> io::Result<Box<dyn Read>> {
    let start = io::BufRead::fill_buf(&mut reader)?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(flate2::read::MultiGzDecoder::new(reader)));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(Box::new(zstd::Decoder::with_buffer(reader)?));
    }
    Ok(Box::new(reader))
}

/// A relative path with `..` taken away, never above its start.
pub(super) fn lexical(path: &Path) -> PathBuf {
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

/// The parts of a path, last first, as a stack to be worked off.
pub fn names_backwards(path: &Path) -> Vec<std::ffi::OsString> {
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
