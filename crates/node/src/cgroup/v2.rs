//! cgroup version 2, as root or delegated to the owner (a systemd user scope). Written from the kernel's documentation and
//! NOT tried: the project's machines have version 1.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::Figures;
use crate::shim::Limits;

const MOUNT: &str = "/sys/fs/cgroup";

/// The folder of one container.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder beside this process's own cgroup and sets the limits. `None` where the memory controller is not
    /// ours to use.
    pub fn create(own: &str, name: &str, limits: &Limits) -> io::Result<Option<Self>> {
        let Some(parent) = delegated(own) else {
            return Ok(None);
        };
        let available = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
        if !available
            .split_whitespace()
            .any(|controller| controller == "memory")
        {
            return Ok(None);
        }
        let path = parent.join(name);
        if fs::create_dir_all(&path).is_err() {
            return Ok(None);
        }
        // Each level down to the container must hand the controllers on.
        let mut level = parent.clone();
        for part in Path::new(name).components() {
            if fs::write(level.join("cgroup.subtree_control"), "+memory +pids +cpu").is_err() {
                let _ = fs::remove_dir(&path);
                return Ok(None);
            }
            level.push(part);
        }
        if let Some(bytes) = limits.memory_bytes {
            fs::write(path.join("memory.max"), bytes.to_string())?;
            let _ = fs::write(path.join("memory.swap.max"), "0");
            // One process too many ends the container, as in Kubernetes.
            let _ = fs::write(path.join("memory.oom.group"), "1");
        }
        if let Some(millis) = limits.cpu_millis {
            fs::write(
                path.join("cpu.max"),
                format!("{} 100000", (millis * 100).max(1000)),
            )?;
        }
        if let Some(request) = limits.cpu_request_millis {
            let shares = (request * 1024 / 1000).clamp(2, 262_144);
            fs::write(
                path.join("cpu.weight"),
                (1 + (shares - 2) * 9999 / 262_142).to_string(),
            )?;
        }
        if let Some(processes) = limits.processes {
            fs::write(path.join("pids.max"), processes.to_string())?;
        }
        Ok(Some(Self { path }))
    }

    pub(super) fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        Ok(vec![
            fs::OpenOptions::new()
                .write(true)
                .open(self.path.join("cgroup.procs"))?
                .into(),
        ])
    }

    pub(super) fn oom_kills(&self) -> u64 {
        self.value("memory.events", "oom_kill").unwrap_or(0)
    }

    pub(super) fn figures(&self) -> Figures {
        let number = |file: &str| {
            fs::read_to_string(self.path.join(file))
                .ok()?
                .trim()
                .parse::<u64>()
                .ok()
        };
        let inactive = self.value("memory.stat", "inactive_file").unwrap_or(0);
        Figures {
            cpu_nanos: self
                .value("cpu.stat", "usage_usec")
                .map(|micros| micros * 1000),
            memory_bytes: number("memory.current").map(|used| used.saturating_sub(inactive)),
            processes: number("pids.current"),
        }
    }

    pub(super) fn remove(&self) -> bool {
        let removed = fs::remove_dir(&self.path).is_ok() || !self.path.exists();
        if removed {
            let _ = self.path.parent().map(fs::remove_dir);
        }
        removed
    }

    fn value(&self, file: &str, key: &str) -> Option<u64> {
        let text = fs::read_to_string(self.path.join(file)).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
    }
}

/// The cgroup under which we may make others: the parent of our own, because a cgroup with processes cannot hand
/// controllers down. Only where version 2 is all there is.
fn delegated(own: &str) -> Option<PathBuf> {
    let mut lines = own.lines();
    let path = lines.next()?.strip_prefix("0::")?;
    if lines.next().is_some() {
        return None;
    }
    Some(Path::new(MOUNT).join(Path::new(path).parent()?.strip_prefix("/").ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_machine_with_version_2_alone_is_served_by_it() {
        assert_eq!(delegated("4:memory:/a\n0::/\n"), None);
        let scope =
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/kfctl.scope/server\n";
        let parent =
            "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/kfctl.scope";
        assert_eq!(delegated(scope), Some(PathBuf::from(parent)));
    }
}
