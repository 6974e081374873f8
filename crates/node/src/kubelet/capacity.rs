//! What this machine offers to pods: processors, memory, GPUs. Read from the kernel; GPUs are those whose device files
//! exist, so that no driver library needs to be loaded.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The resource name of GPUs.
pub const GPU: &str = "nvidia.com/gpu";
/// How many pods a node takes.
const PODS: u32 = 250;

/// What a machine has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacity {
    /// Thousandths of a processor.
    pub cpu_millis: u64,
    /// Memory.
    pub memory_bytes: u64,
    /// Room in the data folder's file system.
    pub storage_bytes: u64,
    /// Indices of NVIDIA GPUs.
    pub gpus: Vec<u32>,
}

impl Capacity {
    /// Looks at this machine. `data` is the folder whose file system counts.
    pub fn of_this_machine(data: &Path) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        Self {
            cpu_millis: processors * 1000,
            memory_bytes: memory_bytes(),
            storage_bytes: storage_bytes(data),
            gpus: gpus(Path::new("/dev")),
        }
    }

    /// As `status.capacity`.
    pub fn resources(&self) -> BTreeMap<String, String> {
        let mut resources = BTreeMap::from([
            ("cpu".to_owned(), quantity_of_millis(self.cpu_millis)),
            (
                "memory".to_owned(),
                format!("{}Ki", self.memory_bytes / 1024),
            ),
            (
                "ephemeral-storage".to_owned(),
                format!("{}Ki", self.storage_bytes / 1024),
            ),
            ("pods".to_owned(), PODS.to_string()),
        ]);
        if !self.gpus.is_empty() {
            resources.insert(GPU.to_owned(), self.gpus.len().to_string());
        }
        resources
    }
}

fn quantity_of_millis(millis: u64) -> String {
    if millis.is_multiple_of(1000) {
        (millis / 1000).to_string()
    } else {
        format!("{millis}m")
    }
}

/// Memory of the machine, or of the control group this process lives in where that is less.
fn memory_bytes() -> u64 {
    let total = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| {
            let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map_or(0, |kib| kib * 1024);
    let limit = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    .iter()
    .find_map(|path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    limit.map_or(total, |limit| limit.min(total))
}

fn storage_bytes(folder: &Path) -> u64 {
    let existing = folder
        .ancestors()
        .find(|ancestor| ancestor.exists())
        .unwrap_or(Path::new("/"));
    nix::sys::statvfs::statvfs(existing).map_or(0, |stat| stat.blocks() * stat.fragment_size())
}

/// GPUs by the numbers of their device files, `nvidia0`, `nvidia1`, ….
fn gpus(devices: &Path) -> Vec<u32> {
    if !devices.join("nvidiactl").exists() {
        return Vec::new();
    }
    let mut found: Vec<u32> = fs::read_dir(devices)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            entry
                .file_name()
                .to_str()?
                .strip_prefix("nvidia")?
                .parse()
                .ok()
        })
        .collect();
    found.sort_unstable();
    found
}

/// Hands out GPUs one by one.
#[derive(Debug, Clone, Default)]
pub struct GpuPool {
    owners: Arc<Mutex<BTreeMap<u32, Option<String>>>>,
}

impl GpuPool {
    /// A pool of these GPUs, all free.
    pub fn new(gpus: &[u32]) -> Self {
        Self {
            owners: Arc::new(Mutex::new(gpus.iter().map(|gpu| (*gpu, None)).collect())),
        }
    }

    /// Takes some GPUs for a run of a container; none at all if there are too few. Asking again gives the same ones.
    pub fn take(&self, run: &str, count: usize) -> Option<Vec<u32>> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let held: Vec<u32> = owners
            .iter()
            .filter(|(_, owner)| owner.as_deref() == Some(run))
            .map(|(gpu, _)| *gpu)
            .collect();
        if held.len() == count {
            return Some(held);
        }
        let free: Vec<u32> = owners
            .iter()
            .filter(|(_, owner)| owner.is_none())
            .map(|(gpu, _)| *gpu)
            .take(count)
            .collect();
        if free.len() < count {
            return None;
        }
        for gpu in &free {
            owners.insert(*gpu, Some(run.to_owned()));
        }
        Some(free)
    }

    /// Marks GPUs as held by a run that was found again.
    pub fn reserve(&self, run: &str, gpus: &[u32]) {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        for gpu in gpus {
            if let Some(owner) = owners.get_mut(gpu) {
                *owner = Some(run.to_owned());
            }
        }
    }

    /// Gives back what a run held.
    pub fn release(&self, run: &str) {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        for owner in owners
            .values_mut()
            .filter(|owner| owner.as_deref() == Some(run))
        {
            *owner = None;
        }
    }
}

/// The device files a container needs for these GPUs, as far as they exist.
pub fn device_files(gpus: &[u32]) -> Vec<PathBuf> {
    let common = [
        "nvidiactl",
        "nvidia-uvm",
        "nvidia-uvm-tools",
        "nvidia-modeset",
    ]
    .map(|name| format!("/dev/{name}"));
    let own = gpus.iter().map(|gpu| format!("/dev/nvidia{gpu}"));
    own.chain(common)
        .map(PathBuf::from)
        .filter(|path| path.exists())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_those_with_a_device_file_of_their_own() {
        let devices = tempfile::tempdir().expect("a folder");
        for name in ["nvidia0", "nvidia10", "nvidia2", "nvidia-uvm", "null"] {
            fs::write(devices.path().join(name), "").expect("a file");
        }
        assert_eq!(
            gpus(devices.path()),
            Vec::<u32>::new(),
            "without its control device no driver is loaded"
        );
        fs::write(devices.path().join("nvidiactl"), "").expect("a file");
        assert_eq!(gpus(devices.path()), [0, 2, 10]);
    }

    #[test]
    fn a_gpu_belongs_to_one_run_at_a_time() {
        let pool = GpuPool::new(&[0, 1]);
        assert_eq!(pool.take("a", 1), Some(vec![0]));
        assert_eq!(
            pool.take("a", 1),
            Some(vec![0]),
            "asking again gives the same"
        );
        assert_eq!(pool.take("b", 2), None);
        assert_eq!(pool.take("b", 1), Some(vec![1]));
        pool.release("a");
        assert_eq!(pool.take("c", 1), Some(vec![0]));
    }

    #[test]
    fn a_machine_offers_what_the_scheduler_asks_for() {
        let machine = Capacity {
            cpu_millis: 1500,
            memory_bytes: 2 << 30,
            storage_bytes: 1 << 20,
            gpus: vec![0],
        };
        let resources = machine.resources();
        assert_eq!(resources["cpu"], "1500m");
        assert_eq!(resources["memory"], "2097152Ki");
        assert_eq!(resources[GPU], "1");
    }
}
