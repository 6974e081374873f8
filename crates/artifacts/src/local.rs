//! A store that is a folder of this machine. Reads resolve below the folder in the kernel (`openat2`), so a symlink
//! that a step left behind never leads the server to a file of the host. Writes appear whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::{Entry, Error, Key, Stat};

/// A folder that holds artifacts by key.
#[derive(Clone, Debug)]
pub struct LocalStore {
    root: PathBuf,
}

impl LocalStore {
    /// Opens the store, making its folder if it is not there yet.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, Error> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(|source| Error::Io {
            action: "create the folder of",
            key: root.display().to_string(),
            source,
        })?;
        let root = root.canonicalize().map_err(|source| Error::Io {
            action: "find the folder of",
            key: root.display().to_string(),
            source,
        })?;
        Ok(Self { root })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a key's file would be. Only for writing below folders we make ourselves; readers use [`Self::read`].
    pub fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    /// True when a file or folder is stored under the key.
    pub fn exists(&self, key: &Key) -> bool {
        self.resolve(key, OFlag::O_PATH).is_ok()
    }

    /// Opens a stored file for reading; a folder is refused.
    pub fn read(&self, key: &Key) -> Result<File, Error> {
        let file = File::from(self.resolve(key, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?);
        let kind = file
            .metadata()
            .map_err(|source| io_error("look at", key, source))?
            .file_type();
        if kind.is_file() {
            Ok(file)
        } else {
            Err(io_error(
                "read",
                key,
                io::Error::other("it is not a regular file"),
            ))
        }
    }

    /// The whole content of a small stored file; larger than `limit` bytes is refused.
    pub fn read_small(&self, key: &Key, limit: u64) -> Result<Vec<u8>, Error> {
        use std::io::Read as _;
        let mut content = Vec::new();
        self.read(key)?
            .take(limit + 1)
            .read_to_end(&mut content)
            .map_err(|source| io_error("read", key, source))?;
        if content.len() as u64 > limit {
            return Err(io_error(
                "read",
                key,
                io::Error::other(format!("it is larger than {limit} bytes")),
            ));
        }
        Ok(content)
    }

    /// Names below a stored folder with whether each is a folder, sorted.
    pub fn list(&self, key: &Key) -> Result<Vec<(String, bool)>, Error> {
        let folder = self.resolve(key, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
        // The descriptor, not the path, is what was resolved below the root.
        let entries = fs::read_dir(format!("/proc/self/fd/{}", folder.as_raw_fd()))
            .map_err(|source| io_error("list", key, source))?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|source| io_error("list", key, source))?;
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            names.push((entry.file_name().to_string_lossy().into_owned(), is_folder));
        }
        names.sort();
        Ok(names)
    }

    /// Makes the folder of a key, so that it can be mounted into a step.
    pub fn create_folder(&self, key: &Key) -> Result<PathBuf, Error> {
        let path = self.path(key);
        fs::create_dir_all(&path)
            .map_err(|source| io_error("create the folder of", key, source))?;
        Ok(path)
    }

    /// Stores content under a key: written beside it, then renamed.
    pub fn write(&self, key: &Key, content: &[u8]) -> Result<(), Error> {
        let unfinished = self.begin(key)?;
        unfinished
            .file()
            .and_then(|mut file| file.write_all(content))
            .and_then(|()| unfinished.finish())
            .map_err(|source| io_error("write", key, source))
    }

    /// A file that is not there until it is finished.
    pub fn begin(&self, key: &Key) -> Result<Unfinished, Error> {
        static WRITERS: AtomicU64 = AtomicU64::new(0);
        let path = self.path(key);
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent)
            .map_err(|source| io_error("create the folder of", key, source))?;
        let temporary = parent.join(format!(
            ".{}.{}.{}.tmp",
            key.file_name().chars().take(50).collect::<String>(),
            std::process::id(),
            WRITERS.fetch_add(1, Ordering::Relaxed),
        ));
        Ok(Unfinished { temporary, path })
    }

    /// What is stored under a key.
    pub fn stat(&self, key: &Key) -> Result<Option<Stat>, Error> {
        let found = match self.resolve(key, OFlag::O_PATH) {
            Ok(found) => File::from(found),
            Err(Error::NotFound(_)) => return Ok(None),
            Err(problem) => return Err(problem),
        };
        let found = found
            .metadata()
            .map_err(|source| io_error("look at", key, source))?;
        Ok(Some(if found.is_dir() {
            Stat::Folder
        } else {
            Stat::File(found.len())
        }))
    }

    /// All files below a stored folder, sorted. Folders are entered, symlinks to folders are not.
    pub fn files(&self, key: &Key) -> Result<Vec<Entry>, Error> {
        let (mut files, mut folders) = (Vec::new(), vec![String::new()]);
        while let Some(folder) = folders.pop() {
            let within = if folder.is_empty() {
                key.clone()
            } else {
                key.join(&folder)?
            };
            for (name, is_folder) in self.list(&within)? {
                let path = if folder.is_empty() {
                    name
                } else {
                    format!("{folder}/{name}")
                };
                if is_folder {
                    folders.push(path);
                } else if let Some(Stat::File(size_bytes)) = self.stat(&key.join(&path)?)? {
                    files.push(Entry { path, size_bytes });
                }
            }
        }
        files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(files)
    }

    /// Removes whatever is stored under a key; nothing there is fine.
    pub fn remove(&self, key: &Key) -> Result<(), Error> {
        let path = self.path(key);
        let removed = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(gone) => Err(gone),
        };
        match removed {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(io_error("remove", key, source))
            }
            _ => Ok(()),
        }
    }

    fn resolve(&self, key: &Key, flags: OFlag) -> Result<OwnedFd, Error> {
        let root =
            File::open(&self.root).map_err(|source| io_error("open the store of", key, source))?;
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(root.as_fd(), key.as_str(), how).map_err(|errno| match errno {
            nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR => {
                Error::NotFound(key.to_string())
            }
            other => io_error("open", key, other.into()),
        })
    }
}

/// A file that is being written beside its place.
pub struct Unfinished {
    temporary: PathBuf,
    path: PathBuf,
}

impl Unfinished {
    /// What is written to.
    pub fn file(&self) -> io::Result<File> {
        File::create(&self.temporary)
    }

    /// Puts it into its place.
    pub fn finish(self) -> io::Result<()> {
        fs::rename(&self.temporary, &self.path)
    }
}

impl Drop for Unfinished {
    /// Nothing is left of what was not finished.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.temporary);
    }
}

fn io_error(action: &'static str, key: &Key, source: io::Error) -> Error {
    Error::Io {
        action,
        key: key.to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, LocalStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(folder.path().join("artifacts")).unwrap();
        (folder, store)
    }

    #[test]
    fn what_is_written_is_read_back_and_listed() {
        let (_folder, store) = store();
        let key = Key::parse("run/task/model.bin").unwrap();
        store.write(&key, b"weights").unwrap();
        assert_eq!(store.read_small(&key, 100).unwrap(), b"weights");
        assert_eq!(
            store.list(&Key::parse("run/task").unwrap()).unwrap(),
            [("model.bin".to_owned(), false)]
        );
        assert!(store.exists(&Key::parse("run/task").unwrap()));
    }

    #[test]
    fn a_symlink_out_of_the_store_is_not_followed() {
        let (folder, store) = store();
        fs::write(folder.path().join("secret"), "key").unwrap();
        std::os::unix::fs::symlink("../secret", store.root().join("link")).unwrap();
        std::os::unix::fs::symlink("/etc", store.root().join("etc")).unwrap();
        for key in ["link", "etc/passwd"] {
            let key = Key::parse(key).unwrap();
            assert!(store.read(&key).is_err(), "{key} was read");
            assert!(!store.exists(&key));
        }
    }

    #[test]
    fn a_symlink_inside_the_store_is_followed() {
        let (_folder, store) = store();
        store.write(&Key::parse("a/real").unwrap(), b"1").unwrap();
        std::os::unix::fs::symlink("real", store.root().join("a/alias")).unwrap();
        assert_eq!(
            store
                .read_small(&Key::parse("a/alias").unwrap(), 10)
                .unwrap(),
            b"1"
        );
    }

    #[test]
    fn a_file_past_the_limit_is_refused_and_a_missing_one_is_named() {
        let (_folder, store) = store();
        let key = Key::parse("big").unwrap();
        store.write(&key, &[0; 11]).unwrap();
        assert!(store.read_small(&key, 10).is_err());
        assert!(
            matches!(store.read(&Key::parse("none").unwrap()), Err(Error::NotFound(name)) if name == "none")
        );
    }

    #[test]
    fn a_fifo_is_refused_instead_of_blocking() {
        let (_folder, store) = store();
        nix::unistd::mkfifo(&store.root().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(store.read(&Key::parse("pipe").unwrap()).is_err());
    }

    #[test]
    fn removing_what_is_not_there_is_fine() {
        let (_folder, store) = store();
        store.remove(&Key::parse("none").unwrap()).unwrap();
        store.write(&Key::parse("d/x").unwrap(), b"1").unwrap();
        store.remove(&Key::parse("d").unwrap()).unwrap();
        assert!(!store.exists(&Key::parse("d/x").unwrap()));
    }
}
