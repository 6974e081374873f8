//! Limits and figures of a container's processes: by cgroups where this process may make them, else by looking at the
//! processes themselves.

pub mod sample;

mod v1;
mod v2;

use std::io;
use std::os::fd::OwnedFd;

use crate::shim::Limits;

/// A container's cgroup.
#[derive(Debug)]
pub enum Cgroup {
    /// One folder per controller.
    V1(v1::Folders),
    /// One folder.
    V2(v2::Folder),
}

/// What a cgroup counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// CPU time so far.
    pub cpu_nanos: Option<u64>,
    /// Memory in use that cannot simply be dropped.
    pub memory_bytes: Option<u64>,
    /// Processes now.
    pub processes: Option<u64>,
}

impl Cgroup {
    /// A cgroup with these limits, if they need one and this machine lets us make one.
    pub fn create(name: &str, limits: &Limits) -> io::Result<Option<Self>> {
        if limits.memory_bytes.is_none() && limits.cpu_millis.is_none() {
            return Ok(None);
        }
        let own = std::fs::read_to_string("/proc/self/cgroup")?;
        if let Some(folder) = v2::Folder::create(&own, name, limits)? {
            return Ok(Some(Self::V2(folder)));
        }
        Ok(v1::Folders::create(&own, name, limits)?.map(Self::V1))
    }

    /// Files that take a process into the cgroup when its pid is written to them.
    pub fn doors(&self) -> io::Result<Vec<OwnedFd>> {
        match self {
            Self::V1(folders) => folders.doors(),
            Self::V2(folder) => folder.doors(),
        }
    }

    /// How many processes were killed for want of memory.
    pub fn oom_kills(&self) -> u64 {
        match self {
            Self::V1(folders) => folders.oom_kills(),
            Self::V2(folder) => folder.oom_kills(),
        }
    }

    /// What it counts now.
    pub fn figures(&self) -> Figures {
        match self {
            Self::V1(folders) => folders.figures(),
            Self::V2(folder) => folder.figures(),
        }
    }

    /// Whether memory is limited by the cgroup, so that nobody else needs to watch it.
    pub fn limits_memory(&self) -> bool {
        match self {
            Self::V1(folders) => folders.limits_memory(),
            Self::V2(_) => true,
        }
    }

    /// Removes it; `false` while processes are still leaving.
    pub fn remove(&self) -> bool {
        match self {
            Self::V1(folders) => folders.remove(),
            Self::V2(folder) => folder.remove(),
        }
    }
}
