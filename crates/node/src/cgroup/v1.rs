//! cgroup version 1, as root: one hierarchy per controller. Only those a limit needs are used, because moving a process
//! into each takes milliseconds.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::Figures;
use crate::shim::Limits;

const MOUNT: &str = "/sys/fs/cgroup";
/// The period in which a CPU quota counts.
const PERIOD_MICROS: u64 = 100_000;

/// The folders of one container.
#[derive(Debug, Default)]
pub struct Folders {
    memory: Option<PathBuf>,
    cpu: Option<PathBuf>,
    cpuacct: Option<PathBuf>,
    pids: Option<PathBuf>,
}

impl Folders {
    /// Makes the folders below this process's own cgroups and sets the limits. `None` where that is not allowed.
    pub fn create(own: &str, name: &str, limits: &Limits) -> io::Result<Option<Self>> {
        let made = |controller: &str| -> io::Result<Option<PathBuf>> {
            let Some(path) = folder(own, controller, name) else {
                return Ok(None);
            };
            // The last container of another pod may be taking the common folders away this very moment.
            let mut made = fs::create_dir_all(&path);
            for _ in 0..3 {
                if made
                    .as_ref()
                    .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
                {
                    made = fs::create_dir_all(&path);
                }
            }
            match made {
                Ok(()) => Ok(Some(path)),
                Err(error) if is_refusal(&error) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let mut folders = Self::default();
        if let Some(bytes) = limits.memory_bytes
            && let Some(path) = made("memory")?
        {
            fs::write(path.join("memory.limit_in_bytes"), bytes.to_string())?;
            // With swap counted too a container cannot hide there; kernels without that account lack the file.
            let _ = fs::write(path.join("memory.memsw.limit_in_bytes"), bytes.to_string());
            folders.memory = Some(path);
        }
        if let Some(millis) = limits.cpu_millis
            && let Some(path) = made("cpu")?
        {
            fs::write(path.join("cpu.cfs_period_us"), PERIOD_MICROS.to_string())?;
            // A thousandth of a core is a hundred microseconds of the period; the kernel takes no less than 1 ms.
            fs::write(
                path.join("cpu.cfs_quota_us"),
                (millis * PERIOD_MICROS / 1000).max(1000).to_string(),
            )?;
            if let Some(request) = limits.cpu_request_millis {
                fs::write(
                    path.join("cpu.shares"),
                    (request * 1024 / 1000).max(2).to_string(),
                )?;
            }
            folders.cpu = Some(path);
        }
        if (folders.memory.is_some() || folders.cpu.is_some())
            && let Some(processes) = limits.processes
            && let Some(path) = made("pids")?
        {
            fs::write(path.join("pids.max"), processes.to_string())?;
            folders.pids = Some(path);
        }
        Ok((folders.memory.is_some() || folders.cpu.is_some()).then_some(folders))
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.memory, &self.cpu, &self.cpuacct, &self.pids]
            .into_iter()
            .flatten()
    }

    pub(super) fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        self.all()
            .map(|path| {
                fs::OpenOptions::new()
                    .write(true)
                    .open(path.join("cgroup.procs"))
                    .map(OwnedFd::from)
            })
            .collect()
    }

    pub(super) fn oom_kills(&self) -> u64 {
        self.memory
            .as_ref()
            .and_then(|path| value_in(&path.join("memory.oom_control"), "oom_kill"))
            .unwrap_or(0)
    }

    pub(super) fn figures(&self) -> Figures {
        let memory_bytes = self.memory.as_ref().and_then(|path| {
            let used = number(&path.join("memory.usage_in_bytes"))?;
            Some(used.saturating_sub(
                value_in(&path.join("memory.stat"), "total_inactive_file").unwrap_or(0),
            ))
        });
        Figures {
            cpu_nanos: None,
            memory_bytes,
            processes: None,
        }
    }

    pub(super) fn limits_memory(&self) -> bool {
        self.memory.is_some()
    }

    pub(super) fn remove(&self) -> bool {
        self.all().all(|path| match fs::remove_dir(path) {
            Ok(()) => {
                // The pod's folder goes with its last container, and ours with the last pod.
                for above in path.ancestors().skip(1).take(2) {
                    let _ = fs::remove_dir(above);
                }
                true
            }
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        })
    }
}

/// The folder `name` below this process's own cgroup of one controller.
fn folder(own: &str, controller: &str, name: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let controllers = fields.nth(1)?;
        controllers
            .split(',')
            .any(|known| known == controller)
            .then(|| fields.next())?
    })?;
    Some(
        Path::new(MOUNT)
            .join(controller)
            .join(path.trim_start_matches('/'))
            .join(name),
    )
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EACCES | libc::EPERM | libc::EROFS | libc::ENOENT)
    )
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn value_in(path: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "8:pids:/\n4:memory:/jobs/a\n2:cpu,cpuacct:/x\n0::/\n";

    #[test]
    fn a_containers_cgroup_lies_below_our_own() {
        let at =
            |controller| folder(OWN, controller, "pods/p").map(|path| path.display().to_string());
        assert_eq!(
            at("memory").as_deref(),
            Some("/sys/fs/cgroup/memory/jobs/a/pods/p")
        );
        assert_eq!(at("pids").as_deref(), Some("/sys/fs/cgroup/pids/pods/p"));
        assert_eq!(
            at("cpuacct").as_deref(),
            Some("/sys/fs/cgroup/cpuacct/x/pods/p")
        );
        assert_eq!(at("hugetlb"), None);
    }
}
