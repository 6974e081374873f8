//! Copying folders: into the store of images, with a digest of all that they hold (equal folders have equal digests), and
//! out of a store, with their links and modes.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::store::{Error, at};

/// Never part of an image: histories, caches and environments of the machine it was written on.
const LEFT_OUT: [&str; 8] = [
    ".git",
    "__pycache__",
    ".venv",
    "venv",
    "node_modules",
    ".ipynb_checkpoints",
    ".mypy_cache",
    ".pytest_cache",
];

/// Copies a folder with its links and modes; `finish` is called with each file of the source and its copy.
pub(crate) fn tree(
    from: &Path,
    to: &Path,
    finish: impl Fn(&fs::DirEntry, &Path) -> io::Result<()>,
) -> io::Result<()> {
    let mut waiting: Vec<(PathBuf, PathBuf)> = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = waiting.pop() {
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                waiting.push((entry.path(), target));
            } else if kind.is_symlink() {
                symlink(fs::read_link(entry.path())?, target)?;
            } else {
                fs::copy(entry.path(), &target)?;
                finish(&entry, &target)?;
            }
        }
    }
    Ok(())
}

/// A folder on its way into the store.
pub(super) struct Copy {
    /// Of all names, kinds and contents so far.
    pub digest: Sha256,
    /// Of all files so far.
    pub size_bytes: u64,
}

impl Copy {
    /// Copies in order of names, so that equal folders have equal digests.
    pub fn folder(&mut self, from: &Path, to: &Path, inside: &Path) -> Result<(), Error> {
        fs::create_dir_all(to).map_err(at(to))?;
        fs::set_permissions(to, fs::Permissions::from_mode(0o755)).map_err(at(to))?;
        let mut names: Vec<_> = fs::read_dir(from)
            .map_err(at(from))?
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        names.sort();
        for name in names {
            let text = name.to_string_lossy();
            if LEFT_OUT.contains(&text.as_ref()) || text.ends_with(".pyc") {
                continue;
            }
            let (source, target, inside) = (from.join(&name), to.join(&name), inside.join(&name));
            let metadata = source.symlink_metadata().map_err(at(&source))?;
            if metadata.is_dir() {
                self.note('d', &inside, &[]);
                self.folder(&source, &target, &inside)?;
            } else if metadata.is_symlink() {
                let link = fs::read_link(&source).map_err(at(&source))?;
                self.note('l', &inside, link.to_string_lossy().as_bytes());
                symlink(&link, &target).map_err(at(&target))?;
            } else if metadata.is_file() {
                let is_program = metadata.permissions().mode() & 0o111 != 0;
                let bytes = fs::copy(&source, &target).map_err(at(&source))?;
                let mode = if is_program { 0o755 } else { 0o644 };
                fs::set_permissions(&target, fs::Permissions::from_mode(mode))
                    .map_err(at(&target))?;
                self.size_bytes += bytes;
                let mut file = File::open(&target).map_err(at(&target))?;
                let mut content = Sha256::new();
                let mut buffer = vec![0; 64 << 10];
                loop {
                    let count = io::Read::read(&mut file, &mut buffer).map_err(at(&target))?;
                    if count == 0 {
                        break;
                    }
                    content.update(&buffer[..count]);
                }
                self.note(
                    if is_program { 'x' } else { 'f' },
                    &inside,
                    &content.finalize(),
                );
            } else {
                return Err(Error::Special(source));
            }
        }
        Ok(())
    }

    fn note(&mut self, kind: char, inside: &Path, content: &[u8]) {
        let path = inside.to_string_lossy();
        self.digest.update([kind as u8]);
        self.digest.update(path.len().to_le_bytes());
        self.digest.update(path.as_bytes());
        self.digest.update(content.len().to_le_bytes());
        self.digest.update(content);
    }
}
