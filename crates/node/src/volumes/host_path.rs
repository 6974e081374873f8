//! Host folders that a pod may see: none, except below the folders that the owner of this machine allowed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the owner allowed. Further folders, one a line, may stand in a file that `kfctl` adds to while the node runs.
#[derive(Debug, Clone, Default)]
pub struct AllowList {
    folders: Vec<PathBuf>,
    file: Option<PathBuf>,
}

/// Why a host path is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not below an allowed folder.
    #[error(
        "hostPath {} is not allowed on this node; the owner of the machine can allow it with: kfctl up \
         --allow-host-path {}", .0.display(), .0.display()
    )]
    NotAllowed(PathBuf),
    /// It is not what its type says.
    #[error("hostPath type check failed: {} is not {expected}", path.display())]
    WrongType {
        /// Where.
        path: PathBuf,
        /// `a directory`, `a file`, …
        expected: &'static str,
    },
    /// It could not be made.
    #[error("making {}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl AllowList {
    /// A list of folders and of a file with more of them.
    pub fn new(folders: Vec<PathBuf>, file: Option<PathBuf>) -> Self {
        Self { folders, file }
    }

    /// The path with all links resolved, if it lies below an allowed folder. A path that does not exist yet is judged by
    /// its nearest ancestor that does, so that no link on the way leads out.
    pub fn check(&self, path: &Path) -> Result<PathBuf, Error> {
        let refused = || Error::NotAllowed(path.to_owned());
        let has_dots = path
            .components()
            .any(|part| matches!(part, std::path::Component::ParentDir));
        if !path.is_absolute() || has_dots {
            return Err(refused());
        }
        let existing = path
            .ancestors()
            .find(|ancestor| ancestor.exists())
            .ok_or_else(refused)?;
        let rest = path.strip_prefix(existing).unwrap_or(Path::new(""));
        let real = existing.canonicalize().map_err(|_| refused())?;
        let real = if rest.as_os_str().is_empty() {
            real
        } else {
            real.join(rest)
        };
        let more = self
            .file
            .as_ref()
            .and_then(|file| fs::read_to_string(file).ok())
            .unwrap_or_default();
        let is_below = |folder: &Path| {
            folder
                .canonicalize()
                .is_ok_and(|folder| real.starts_with(folder))
        };
        let is_allowed = self.folders.iter().any(|folder| is_below(folder))
            || more
                .lines()
                .map(str::trim)
                .filter(|line| line.starts_with('/'))
                .any(|line| is_below(Path::new(line)));
        if is_allowed { Ok(real) } else { Err(refused()) }
    }

    /// The same, made or checked as the volume's `type` says.
    pub fn prepare(&self, path: &Path, type_: &str) -> Result<PathBuf, Error> {
        let path = self.check(path)?;
        let io = |source| Error::Io {
            path: path.clone(),
            source,
        };
        let wrong = |expected| {
            Err(Error::WrongType {
                path: path.clone(),
                expected,
            })
        };
        match type_ {
            "DirectoryOrCreate" => fs::create_dir_all(&path).map_err(io)?,
            "FileOrCreate" if !path.exists() => fs::write(&path, "").map_err(io)?,
            "Directory" if !path.is_dir() => return wrong("a directory"),
            "File" | "FileOrCreate" if !path.is_file() => return wrong("a file"),
            "Socket" | "CharDevice" | "BlockDevice" => {
                return wrong("something that a sandbox may be given");
            }
            _ if !path.exists() => return wrong("there"),
            _ => {}
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_what_lies_below_an_allowed_folder_is_given() {
        let base = tempfile::tempdir().expect("a folder");
        let allowed = base.path().join("allowed");
        fs::create_dir_all(allowed.join("sub")).expect("folders");
        fs::create_dir_all(base.path().join("other")).expect("folders");
        symlink(base.path().join("other"), allowed.join("link")).expect("a link");
        let list = AllowList::new(vec![allowed.clone()], None);
        assert!(list.prepare(&allowed.join("sub"), "").is_ok());
        assert!(
            list.prepare(&allowed.join("new/deep"), "DirectoryOrCreate")
                .is_ok()
        );
        for path in [
            base.path().join("other"),
            allowed.join("link"),
            allowed.join("link/x"),
            allowed.join("../other"),
        ] {
            assert!(
                matches!(list.check(&path), Err(Error::NotAllowed(_))),
                "{}",
                path.display()
            );
        }
        assert!(AllowList::default().check(Path::new("/")).is_err());
    }

    #[test]
    fn a_folder_allowed_while_the_node_runs_counts_at_once() {
        let base = tempfile::tempdir().expect("a folder");
        let file = base.path().join("allowed-host-paths");
        let list = AllowList::new(Vec::new(), Some(file.clone()));
        assert!(list.check(base.path()).is_err());
        fs::write(&file, format!("{}\n", base.path().display())).expect("a file");
        assert!(list.check(base.path()).is_ok());
    }

    #[test]
    fn the_type_of_a_host_path_is_checked() {
        let base = tempfile::tempdir().expect("a folder");
        let list = AllowList::new(vec![base.path().to_owned()], None);
        assert!(matches!(
            list.prepare(base.path(), "File"),
            Err(Error::WrongType { .. })
        ));
        assert!(matches!(
            list.prepare(&base.path().join("none"), ""),
            Err(Error::WrongType { .. })
        ));
        assert!(
            list.prepare(&base.path().join("made"), "FileOrCreate")
                .is_ok()
        );
    }
}
