//! What a shim leaves on disk, so that whoever comes later knows how things ended: its own identity and one record per
//! attempt of a container. Every file is replaced atomically; the lock says whether the shim is alive.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::spec::{ContainerPhase, ContainerRecord};

/// The socket's name in the pod's folder.
pub const SOCKET: &str = "shim.sock";
/// The shim's own diagnostics.
pub const DIAGNOSTICS: &str = "shim.log";
const LOCK: &str = "shim.lock";
const IDENTITY: &str = "shim.json";
const SPEC: &str = "pod.json";
const CONTAINERS: &str = "containers";

/// Which process the shim is. A pid alone may have been reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Host pid.
    pub pid: i32,
    /// Clock ticks after boot when it started.
    pub start_ticks: u64,
    /// Host pid of the process that holds the pod's namespaces, if there are any.
    #[serde(default)]
    pub pause_pid: Option<i32>,
    /// The shim's descriptor of the node's network namespace, by which a new holder can join it again.
    #[serde(default)]
    pub node_net_fd: Option<i32>,
}

/// Makes a folder that only the owner may enter.
pub fn private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
}

/// Takes the shim's lock; `None` when a living shim has it. Held until the file is dropped by every holder.
pub fn lock(dir: &Path) -> io::Result<Option<File>> {
    let file = open_lock(dir)?;
    match lock_command(&file, libc::F_OFD_SETLK) {
        Ok(_) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a living shim has the lock. Only looks: a shim that is about to start is not disturbed.
pub fn is_locked(dir: &Path) -> io::Result<bool> {
    match OpenOptions::new().write(true).open(dir.join(LOCK)) {
        Ok(file) => {
            Ok(lock_command(&file, libc::F_OFD_GETLK)?.l_type != libc::F_UNLCK as libc::c_short)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn open_lock(dir: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(dir.join(LOCK))
}

/// A lock that belongs to the open file, not to the process: forked children share it and closing a copy frees nothing.
fn lock_command(file: &File, command: libc::c_int) -> io::Result<libc::flock> {
    // SAFETY: all zeroes is a valid structure, which outlives the call.
    unsafe {
        let mut lock: libc::flock = std::mem::zeroed();
        lock.l_type = libc::F_WRLCK as libc::c_short;
        lock.l_whence = libc::SEEK_SET as libc::c_short;
        match libc::fcntl(file.as_raw_fd(), command, &mut lock) {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(lock),
        }
    }
}

/// Writes the shim's identity.
pub fn write_identity(dir: &Path, identity: &Identity) -> io::Result<()> {
    replace(&dir.join(IDENTITY), &serde_json::to_vec(identity)?)
}

/// Reads the shim's identity.
pub fn read_identity(dir: &Path) -> io::Result<Identity> {
    Ok(serde_json::from_slice(&fs::read(dir.join(IDENTITY))?)?)
}

/// Writes what the pod was asked to be.
pub fn write_spec<T: Serialize>(dir: &Path, spec: &T) -> io::Result<()> {
    replace(&dir.join(SPEC), &serde_json::to_vec(spec)?)
}

/// Reads what the pod was asked to be.
pub fn read_spec<T: for<'de> Deserialize<'de>>(dir: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(dir.join(SPEC))?)?)
}

/// The folder of one attempt's writable layer and the like.
pub fn scratch(dir: &Path, container: &str, attempt: u32) -> PathBuf {
    dir.join(CONTAINERS)
        .join(container)
        .join(attempt.to_string())
}

/// Writes one record.
pub fn write_record(dir: &Path, record: &ContainerRecord) -> io::Result<()> {
    let folder = dir.join(CONTAINERS).join(&record.name);
    private_dir(&folder)?;
    replace(
        &folder.join(format!("{}.json", record.attempt)),
        &serde_json::to_vec(record)?,
    )
}

/// All records of a pod, oldest attempt first. Works with the shim alive, dead or never started.
pub fn records(dir: &Path) -> io::Result<Vec<ContainerRecord>> {
    let mut found = Vec::new();
    let containers = match fs::read_dir(dir.join(CONTAINERS)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    for container in containers {
        for entry in fs::read_dir(container?.path())? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                found.push(serde_json::from_slice::<ContainerRecord>(&fs::read(path)?)?);
            }
        }
    }
    found.sort_by(|a, b| (&a.name, a.attempt).cmp(&(&b.name, b.attempt)));
    Ok(found)
}

/// What the records say once their shim is known to be dead: whatever still ran ended with it, unseen.
pub fn without_shim(mut records: Vec<ContainerRecord>) -> Vec<ContainerRecord> {
    for record in records
        .iter_mut()
        .filter(|record| record.phase != ContainerPhase::Exited)
    {
        record.phase = ContainerPhase::Exited;
        record.pid = None;
        record.exit_code = Some(137);
        record.reason = Some("ContainerStatusUnknown".to_owned());
        record.message = Some(
            "the process that watched this container was killed, so how it ended is unknown"
                .to_owned(),
        );
        record.finished_at.get_or_insert_with(jiff::Timestamp::now);
    }
    records
}

/// Removes a pod's folder, whatever modes its containers left on theirs.
pub fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => open_up(dir)?,
    }
    fs::remove_dir_all(dir)
}

/// Gives the owner access to every folder below, without following links.
fn open_up(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}

/// Replaces a file in one step, with mode 0600.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(content)?;
    drop(file);
    fs::rename(new, path)
}

/// When a process started, in clock ticks after boot; with the pid it names one process for good.
pub fn start_ticks(pid: i32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold spaces and parentheses; the fields after the last one may not.
    let fields = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest)
        .unwrap_or_default();
    fields
        .split_whitespace()
        .nth(19)
        .and_then(|field| field.parse().ok())
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("/proc/{pid}/stat has no start time"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, attempt: u32, phase: ContainerPhase) -> ContainerRecord {
        ContainerRecord {
            name: name.to_owned(),
            attempt,
            phase,
            pid: Some(7),
            started_at: Some("2026-11-24T09:00:00Z".parse().expect("a time")),
            finished_at: None,
            exit_code: None,
            signal: None,
            oom_killed: false,
            reason: None,
            message: None,
        }
    }

    #[test]
    fn records_are_read_back_in_order_of_name_and_attempt() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (name, attempt) in [("main", 1), ("init", 0), ("main", 0)] {
            write_record(dir.path(), &record(name, attempt, ContainerPhase::Running))
                .expect("write");
        }
        let names: Vec<_> = records(dir.path())
            .expect("read")
            .into_iter()
            .map(|r| (r.name, r.attempt))
            .collect();
        assert_eq!(
            names,
            [
                ("init".to_owned(), 0),
                ("main".to_owned(), 0),
                ("main".to_owned(), 1)
            ]
        );
    }

    #[test]
    fn a_pod_that_never_started_has_no_records() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        assert_eq!(records(dir.path()).expect("read"), []);
    }

    #[test]
    fn what_ran_when_the_shim_was_killed_counts_as_ended_with_unknown_status() {
        let ended = without_shim(vec![record("main", 0, ContainerPhase::Running)]);
        assert_eq!(ended[0].phase, ContainerPhase::Exited);
        assert_eq!(ended[0].exit_code, Some(137));
        assert_eq!(ended[0].reason.as_deref(), Some("ContainerStatusUnknown"));
    }

    #[test]
    fn only_one_process_can_hold_the_lock_of_a_pod() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        assert!(!is_locked(dir.path()).expect("looked"));
        let held = lock(dir.path()).expect("lock").expect("free");
        assert!(is_locked(dir.path()).expect("looked"));
        assert!(lock(dir.path()).expect("lock").is_none());
        drop(held);
        assert!(lock(dir.path()).expect("lock").is_some());
    }

    #[test]
    fn folders_without_any_permission_are_removed_too() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let pod = dir.path().join("pod");
        fs::create_dir_all(pod.join("work/work")).expect("create");
        fs::write(pod.join("work/work/file"), "x").expect("write");
        fs::set_permissions(pod.join("work/work"), Permissions::from_mode(0o0)).expect("chmod");
        remove(&pod).expect("remove");
        assert!(!pod.exists());
    }
}
