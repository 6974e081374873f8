//! The files by which a holder is found again, in a folder that is the owner's alone (0700): a lock held for life,
//! a socket, and a record of the process. The lock is the truth; the rest is where to look.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Locked by the holder as long as it lives.
pub(crate) const LOCK: &str = "holder.lock";
/// Its control socket.
pub(crate) const SOCKET: &str = "holder.sock";
/// Who it is.
pub(crate) const RECORD: &str = "holder.json";

/// A process that cannot be taken for another one that got its number later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Process {
    pub pid: u32,
    /// In clock ticks since boot.
    pub started: u64,
}

impl Process {
    /// Looks a process up by its number.
    pub fn look_up(pid: u32) -> io::Result<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name, in parentheses, may hold anything: count from its end. The start time is the 22nd field.
        let started = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(19))
            .and_then(|field| field.parse().ok())
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "unreadable process state")
            })?;
        Ok(Self { pid, started })
    }

    /// Whether the process of then is still there.
    pub fn is_alive(self) -> bool {
        Self::look_up(self.pid).is_ok_and(|now| now == self)
    }
}

/// Writes the record of a holder.
pub(crate) fn write(folder: &Path, pid: u32) -> io::Result<()> {
    let new = folder.join(format!("{RECORD}.new"));
    std::fs::write(&new, serde_json::to_vec(&Process::look_up(pid)?)?)?;
    std::fs::rename(new, folder.join(RECORD))
}

/// Reads the record of a holder.
pub(crate) fn read(folder: &Path) -> io::Result<Process> {
    Ok(serde_json::from_slice(&std::fs::read(
        folder.join(RECORD),
    )?)?)
}

/// Removes what a holder that has ended leaves. Its lock being free already says that it is dead, so files that
/// stay are no harm.
pub(crate) fn remove(folder: &Path) {
    for name in [SOCKET, RECORD] {
        match std::fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, "cannot remove {name} of the node's holder");
            }
            _ => {}
        }
    }
}

/// The control socket's path by way of a descriptor of its folder, short enough for a socket's name.
pub(crate) fn socket_path(folder: &File) -> PathBuf {
    format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let own = Process::look_up(std::process::id()).expect("we live");
        assert!(own.is_alive());
        assert!(
            !Process {
                started: own.started + 1,
                ..own
            }
            .is_alive()
        );
        assert!(
            !Process {
                pid: u32::MAX,
                ..own
            }
            .is_alive()
        );
    }

    #[test]
    fn a_record_is_read_back() {
        let folder = tempfile::tempdir().expect("folder");
        write(folder.path(), std::process::id()).expect("written");
        assert!(read(folder.path()).expect("read").is_alive());
    }
}
