//! One data folder, at most one living server: the lock, the record of where it answers, and the
//! folder's layout. Everything under the folder is readable by its owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// The folder that holds all state of one platform.
#[derive(Clone, Debug)]
pub struct DataFolder(PathBuf);

/// Where a living server answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Process id of the server.
    pub pid: u32,
    /// Port of the Kubernetes API on 127.0.0.1.
    pub api_port: u16,
    /// Port of the console on 127.0.0.1.
    pub console_port: u16,
    /// Version of the binary that serves.
    pub version: String,
    /// RFC 3339 time of start.
    pub started: String,
}

/// Held for as long as the server lives.
pub struct Lock {
    _file: Flock<File>,
}

impl DataFolder {
    /// The folder at `path`; nothing is created yet.
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Creates the folder with mode 0700, or says what stands in the way.
    pub fn create(&self) -> Result<()> {
        let say = |error: std::io::Error| match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => anyhow::anyhow!(
                "cannot write to {}: {error}; choose another folder with --data-dir or make this one yours",
                self.0.display()
            ),
            ErrorKind::AlreadyExists | ErrorKind::NotADirectory => anyhow::anyhow!(
                "{} is not a folder; choose another one with --data-dir",
                self.0.display()
            ),
            _ => anyhow::anyhow!(
                "cannot create {}: {error}; choose another folder with --data-dir",
                self.0.display()
            ),
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .map_err(say)?;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.run())
            .map_err(say)?;
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700)).map_err(say)
    }

    /// Folder of what belongs to a living server: lock, record, control socket.
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// The server's own log.
    pub fn log(&self) -> PathBuf {
        self.0.join("kfctl.log")
    }

    /// The socket that `status` and `down` talk to.
    pub fn control_socket(&self) -> PathBuf {
        self.run().join("control.sock")
    }

    fn record_file(&self) -> PathBuf {
        self.run().join("instance.json")
    }

    /// Takes the lock, or `None` when a living server holds it.
    pub fn lock(&self) -> Result<Option<Lock>> {
        let path = self.run().join("lock");
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Some(Lock { _file: file })),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, error)) => Err(error).with_context(|| format!("lock {}", path.display())),
        }
    }

    /// The record of the living server, if there is one.
    pub fn living(&self) -> Result<Option<Record>> {
        match self.run().join("lock").try_exists() {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotADirectory => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("look into {}", self.0.display()));
            }
        }
        if self.lock()?.is_some() {
            return Ok(None);
        }
        match fs::read(self.record_file()) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .context("read the record of the running platform"),
            // The lock is taken a moment before the record is written.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context("read the record of the running platform"),
        }
    }

    /// The record of the living server, or the sentence that says how to start one.
    pub fn require_living(&self) -> Result<Record> {
        match self.living()? {
            Some(record) => Ok(record),
            None => bail!(
                "no platform is running on {}; start it with: kfctl up",
                self.0.display()
            ),
        }
    }

    /// Writes the record; the lock must be held.
    pub fn write_record(&self, record: &Record) -> Result<()> {
        let temporary = self.run().join("instance.json.new");
        fs::write(&temporary, serde_json::to_vec_pretty(record)?)
            .context("write the record of this platform")?;
        fs::rename(&temporary, self.record_file()).context("publish the record of this platform")
    }

    /// Deletes the folder with everything in it; no server may live there.
    pub fn delete(&self) -> Result<()> {
        open_folders(&self.0);
        fs::remove_dir_all(&self.0).with_context(|| format!("delete {}", self.0.display()))
    }

    /// Bytes of all files below the folder.
    pub fn size_bytes(&self) -> u64 {
        fn below(folder: &Path) -> u64 {
            let Ok(entries) = fs::read_dir(folder) else {
                return 0;
            };
            entries
                .filter_map(Result::ok)
                .map(|entry| match entry.metadata() {
                    Ok(metadata) if metadata.is_dir() => below(&entry.path()),
                    Ok(metadata) if metadata.is_file() => metadata.len(),
                    _ => 0,
                })
                .sum()
        }
        below(&self.0)
    }
}

/// Lets the owner into every folder below: images are kept read-only, and overlays leave folders that nobody may
/// enter. What stays closed is named by the deletion that follows.
fn open_folders(folder: &Path) {
    let Ok(metadata) = fs::symlink_metadata(folder) else {
        return;
    };
    if metadata.permissions().mode() & 0o700 != 0o700 {
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_folders(&entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> (tempfile::TempDir, DataFolder) {
        let temporary = tempfile::tempdir().expect("a temporary folder");
        let data = DataFolder::new(temporary.path().join("data"));
        data.create().expect("the folder can be made");
        (temporary, data)
    }

    #[test]
    fn a_folder_serves_one_platform_at_a_time() {
        let (_keep, data) = folder();
        let first = data.lock().expect("the lock file opens");
        assert!(first.is_some());
        assert!(data.lock().expect("the lock file opens").is_none());
        drop(first);
        assert!(data.lock().expect("the lock file opens").is_some());
    }

    #[test]
    fn a_record_without_a_living_server_does_not_count() {
        let (_keep, data) = folder();
        let record = Record {
            pid: 1,
            api_port: 2,
            console_port: 3,
            version: "0".into(),
            started: "now".into(),
        };
        let lock = data
            .lock()
            .expect("the lock file opens")
            .expect("nobody else is here");
        data.write_record(&record).expect("the record is written");
        assert_eq!(data.living().expect("readable").expect("alive").api_port, 2);
        drop(lock);
        assert!(data.living().expect("readable").is_none());
    }

    #[test]
    fn deleting_enters_folders_that_were_closed() {
        let (_keep, data) = folder();
        let closed = data.path().join("closed");
        fs::create_dir(&closed).expect("a folder");
        fs::write(closed.join("file"), "x").expect("a file");
        for mode in [0o500, 0o000] {
            fs::set_permissions(&closed, fs::Permissions::from_mode(mode)).expect("it is ours");
        }
        data.delete().expect("all of it is ours");
        assert!(!data.path().exists());
    }

    #[test]
    fn others_cannot_read_the_folder() {
        let (_keep, data) = folder();
        let mode = fs::metadata(data.path())
            .expect("it exists")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
