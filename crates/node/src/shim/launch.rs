//! Starting a shim, and finding one again after the server was away.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;

use tokio::io::AsyncReadExt;

use super::client::{Error, Pod};
use super::disk;
use super::spec::{ContainerRecord, PodSpec};
use crate::reexec;

/// Starts the shim of a pod by executing `exe` (the server's own binary) again. Returns when its namespaces exist.
pub async fn start(exe: &Path, spec: &PodSpec) -> Result<Pod, Error> {
    let pod = format!("{}/{}", spec.namespace, spec.name);
    let folder = |source| Error::Folder {
        dir: spec.dir.clone(),
        source,
    };
    disk::private_dir(&spec.dir).map_err(folder)?;
    disk::write_spec(&spec.dir, spec).map_err(folder)?;
    let diagnostics = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(spec.dir.join(disk::DIAGNOSTICS))
        .map_err(folder)?;
    let failed = |message: String| Error::Start {
        pod: pod.clone(),
        message,
    };
    let mut command = tokio::process::Command::new(exe);
    command
        .arg(reexec::SHIM)
        .arg(&spec.dir)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(diagnostics);
    let mut child = command
        .spawn()
        .map_err(|error| failed(format!("executing {}: {error}", exe.display())))?;
    // The shim says one line and closes: `ready`, or why it could not. The process we started has then left it to itself.
    let mut said = String::new();
    let mut stdout = child.stdout.take().expect("stdout is piped");
    let read = stdout.read_to_string(&mut said).await;
    let status = child
        .wait()
        .await
        .map_err(|error| failed(error.to_string()))?;
    match (read, said.trim()) {
        (Ok(_), "ready") => {}
        (Ok(_), "") => {
            return Err(failed(format!(
                "it ended at once ({status}); see {}",
                spec.dir.join(disk::DIAGNOSTICS).display()
            )));
        }
        (Ok(_), message) => return Err(failed(message.to_owned())),
        (Err(error), _) => return Err(failed(error.to_string())),
    }
    match adopt(&spec.dir)? {
        Adopted::Alive(pod) => Ok(pod),
        Adopted::Dead(_) => Err(failed("it ended right after it was ready".to_owned())),
    }
}

/// What was found in a pod's folder.
#[derive(Debug)]
pub enum Adopted {
    /// Its shim lives; subscribe to learn where its containers stand.
    Alive(Pod),
    /// Its shim is gone (or never was); how each attempt ended.
    Dead(Vec<ContainerRecord>),
}

/// Looks for the shim of the pod in `dir`.
pub fn adopt(dir: &Path) -> Result<Adopted, Error> {
    let look = || {
        let dead = || Ok(Adopted::Dead(disk::without_shim(disk::records(dir)?)));
        if !disk::is_locked(dir)? {
            return dead();
        }
        let identity = disk::read_identity(dir)?;
        // Open first, compare after: from then on the descriptor names the process that was compared.
        match pidfd_open(identity.pid) {
            Ok(pidfd)
                if disk::start_ticks(identity.pid)
                    .is_ok_and(|ticks| ticks == identity.start_ticks) =>
            {
                Ok(Adopted::Alive(Pod::new(dir, identity, pidfd)))
            }
            _ => dead(),
        }
    };
    look().map_err(|source: io::Error| Error::Folder {
        dir: dir.to_owned(),
        source,
    })
}

fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: a successful call returns a new descriptor.
    unsafe {
        match libc::syscall(libc::SYS_pidfd_open, pid, 0) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd as i32)),
        }
    }
}
