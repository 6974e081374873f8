//! What goes into a layer: paths with what stands at each, in order. Written as a tar that depends on nothing else: no
//! time, no owner's name, no order of a directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::images::oci::names_backwards;

/// All files have this time: 1980, the first that zip archives made of them can hold.
const TIME: u64 = 315_532_800;

/// Links followed on the way to one file; more are a loop.
const MOST_LINKS: u32 = 40;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Folder { mode: u32 },
    File { source: Source, mode: u32 },
    Link { to: PathBuf },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Host(PathBuf),
    Text(Vec<u8>),
}

/// Paths and what stands at each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tree {
    entries: BTreeMap<PathBuf, (Entry, (u32, u32))>,
}

/// How a folder is taken over.
pub(super) struct Rules {
    /// Names that are left out wherever they stand.
    leave_out: &'static [&'static str],
    /// Mode of every folder; its own where none is given.
    folder_mode: Option<u32>,
    /// Owners are kept where this process can know them.
    with_owners: bool,
}

/// A root file system as it is.
pub(super) const EVERYTHING: Rules = Rules {
    leave_out: &[],
    folder_mode: None,
    with_owners: true,
};
/// A folder in which any user of the image may write, as in pods here.
pub(super) const CODE: Rules = Rules {
    leave_out: &[],
    folder_mode: Some(0o777),
    with_owners: false,
};
/// Packages: compiled modules are only valid for the times of one machine.
pub(super) const PACKAGES: Rules = Rules {
    leave_out: &["__pycache__", "environment.json"],
    folder_mode: Some(0o755),
    with_owners: false,
};
/// A standard library: without its tests, its windows and what compiles extensions.
pub(super) const LIBRARY: Rules = Rules {
    leave_out: &[
        "__pycache__",
        "EXTERNALLY-MANAGED",
        "test",
        "tests",
        "idlelib",
        "turtledemo",
        "tkinter",
        "lib2to3",
        "site-packages",
        "dist-packages",
    ],
    folder_mode: Some(0o755),
    with_owners: false,
};

impl Tree {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn put(&mut self, path: &Path, entry: Entry) {
        self.put_owned(path, entry, (0, 0));
    }

    /// Parents are folders that everyone may read, unless said otherwise.
    fn put_owned(&mut self, path: &Path, entry: Entry, owner: (u32, u32)) {
        for parent in path.ancestors().skip(1) {
            if parent.as_os_str().is_empty() || self.entries.contains_key(parent) {
                break;
            }
            let folder = Entry::Folder { mode: 0o755 };
            self.entries.insert(parent.to_owned(), (folder, (0, 0)));
        }
        self.entries.insert(path.to_owned(), (entry, owner));
    }

    pub(super) fn folder(&mut self, path: &str, mode: u32) {
        self.put(Path::new(path), Entry::Folder { mode });
    }

    pub(super) fn text(&mut self, path: &str, text: &str) {
        let source = Source::Text(text.into());
        self.put(
            Path::new(path),
            Entry::File {
                source,
                mode: 0o644,
            },
        );
    }

    pub(super) fn link(&mut self, path: &Path, to: &Path) {
        if !self.entries.contains_key(path) {
            self.put(path, Entry::Link { to: to.to_owned() });
        }
    }

    pub(super) fn file(&mut self, path: &str, source: &Path, mode: u32) {
        let source = Source::Host(source.to_owned());
        self.put(Path::new(path), Entry::File { source, mode });
    }

    /// A file of this machine at the very place it has here, with the links that lead to it.
    pub(super) fn host(&mut self, path: &Path) -> io::Result<()> {
        let mut real = PathBuf::from("/");
        let mut waiting = names_backwards(path);
        let mut links = 0;
        while let Some(name) = waiting.pop() {
            if name == ".." {
                real.pop();
                continue;
            }
            let next = real.join(&name);
            let metadata = next.symlink_metadata()?;
            let inside = next.strip_prefix("/").unwrap_or(&next).to_owned();
            if metadata.is_symlink() {
                links += 1;
                if links > MOST_LINKS {
                    return Err(io::Error::other(format!(
                        "too many links on the way to {}",
                        path.display()
                    )));
                }
                let to = fs::read_link(&next)?;
                self.link(&inside, &to);
                if to.is_absolute() {
                    real = PathBuf::from("/");
                }
                waiting.extend(names_backwards(&to));
                continue;
            }
            if metadata.is_file() && !self.entries.contains_key(&inside) {
                let is_program = metadata.permissions().mode() & 0o111 != 0;
                let mode = if is_program { 0o755 } else { 0o644 };
                let source = Source::Host(next.clone());
                self.put(&inside, Entry::File { source, mode });
            }
            real = next;
        }
        Ok(())
    }

    /// A folder with all that is below it, at `target`.
    pub(super) fn copy(&mut self, source: &Path, target: &Path, rules: &Rules) -> io::Result<()> {
        self.gather(source, target, rules, false)
    }

    /// The same for a folder that is about to go: contents are read now.
    pub(super) fn take(&mut self, source: &Path, target: &Path, rules: &Rules) -> io::Result<()> {
        self.gather(source, target, rules, true)
    }

    fn gather(
        &mut self,
        source: &Path,
        target: &Path,
        rules: &Rules,
        reads_now: bool,
    ) -> io::Result<()> {
        let owner = |metadata: &fs::Metadata| {
            if rules.with_owners && nix::unistd::geteuid().is_root() {
                (metadata.uid(), metadata.gid())
            } else {
                (0, 0)
            }
        };
        let metadata = source.metadata()?;
        if !target.as_os_str().is_empty() {
            let mode = rules
                .folder_mode
                .unwrap_or(metadata.permissions().mode() & 0o1777);
            self.put_owned(target, Entry::Folder { mode }, owner(&metadata));
        }
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            let name = entry.file_name();
            if rules.leave_out.iter().any(|left| name == *left)
                || (!rules.leave_out.is_empty() && name.to_string_lossy().starts_with("config-3."))
            {
                continue;
            }
            let (path, inside) = (entry.path(), target.join(&name));
            let metadata = path.symlink_metadata()?;
            if metadata.is_dir() {
                self.gather(&path, &inside, rules, reads_now)?;
            } else if metadata.is_symlink() {
                let to = fs::read_link(&path)?;
                self.put_owned(&inside, Entry::Link { to }, owner(&metadata));
            } else if metadata.is_file() {
                let source = if reads_now {
                    Source::Text(fs::read(&path)?)
                } else {
                    Source::Host(path)
                };
                let mode = if rules.folder_mode.is_none() {
                    metadata.permissions().mode() & 0o777
                } else if metadata.permissions().mode() & 0o111 != 0 {
                    0o755
                } else {
                    0o644
                };
                self.put_owned(&inside, Entry::File { source, mode }, owner(&metadata));
            }
        }
        Ok(())
    }

    /// Leaves only what `other` lacks.
    pub(super) fn remove_all_of(&mut self, other: &Self) {
        self.entries
            .retain(|path, _| !other.entries.contains_key(path));
    }

    /// Adds what is not there yet.
    pub(super) fn merge(&mut self, other: Self) {
        for (path, entry) in other.entries {
            self.entries.entry(path).or_insert(entry);
        }
    }

    /// The files of this machine in it.
    #[cfg(test)]
    pub(super) fn host_files(&self) -> impl Iterator<Item = &Path> {
        self.entries.values().filter_map(|(entry, _)| match entry {
            Entry::File {
                source: Source::Host(path),
                ..
            } => Some(path.as_path()),
            _ => None,
        })
    }

    /// Whether something stands at this path.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.entries.contains_key(path)
    }

    /// Writes the tar.
    pub(super) fn write(&self, out: impl Write) -> io::Result<()> {
        let mut builder = tar::Builder::new(out);
        for (path, (entry, (uid, gid))) in &self.entries {
            let mut header = tar::Header::new_gnu();
            header.set_mtime(TIME);
            header.set_uid(u64::from(*uid));
            header.set_gid(u64::from(*gid));
            header.set_size(0);
            match entry {
                Entry::Folder { mode } => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(*mode);
                    builder.append_data(&mut header, path, io::empty())?;
                }
                Entry::Link { to } => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_mode(0o777);
                    builder.append_link(&mut header, path, to)?;
                }
                Entry::File { source, mode } => {
                    header.set_entry_type(tar::EntryType::Regular);
                    header.set_mode(*mode);
                    match source {
                        Source::Text(text) => {
                            header.set_size(text.len() as u64);
                            builder.append_data(&mut header, path, text.as_slice())?;
                        }
                        Source::Host(source) => {
                            let file = File::open(source)?;
                            // A file that grows meanwhile must not shift what follows it.
                            let size = file.metadata()?.len();
                            header.set_size(size);
                            builder.append_data(&mut header, path, io::Read::take(file, size))?;
                        }
                    }
                }
            }
        }
        builder.into_inner()?.flush()
    }
}
