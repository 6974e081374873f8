//! Four figures of this machine for the home page: processor, memory, disk, load. Read when asked for.

use axum::Json;
use serde::Serialize;

use crate::identity::Person;

/// A reading.
#[derive(Clone, Debug, Serialize)]
pub struct Reading {
    /// Processors that can be used.
    pub cpus: usize,
    /// Processor time used since boot, by all, in ticks; the page takes differences.
    pub cpu_busy_ticks: u64,
    /// Processor time since boot, in ticks.
    pub cpu_total_ticks: u64,
    /// Memory in use, bytes.
    pub memory_used_bytes: u64,
    /// Memory there is, bytes.
    pub memory_total_bytes: u64,
    /// Disk in use below the data folder, bytes.
    pub disk_used_bytes: u64,
    /// Disk there is, bytes.
    pub disk_total_bytes: u64,
}

/// The reading now.
pub async fn read(_: Person) -> Json<Reading> {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let (cpu_busy_ticks, cpu_total_ticks) = ticks(&stat);
    let total = kilobytes(&memory, "MemTotal:") * 1024;
    let (disk_used_bytes, disk_total_bytes) = disk();
    Json(Reading {
        cpus: std::thread::available_parallelism().map_or(1, usize::from),
        cpu_busy_ticks,
        cpu_total_ticks,
        memory_used_bytes: total.saturating_sub(kilobytes(&memory, "MemAvailable:") * 1024),
        memory_total_bytes: total,
        disk_used_bytes,
        disk_total_bytes,
    })
}

fn ticks(stat: &str) -> (u64, u64) {
    let fields: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; guest time is counted in user already.
    let total: u64 = fields.iter().take(8).sum();
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    (total - idle, total)
}

fn kilobytes(memory: &str, key: &str) -> u64 {
    memory
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

fn disk() -> (u64, u64) {
    // SAFETY: an all-zero statvfs is a valid value, and the kernel fills it.
    let mut answer: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a C string and the pointer is to a live value.
    if unsafe { libc::statvfs(c"/".as_ptr(), &raw mut answer) } != 0 {
        return (0, 0);
    }
    let total = answer.f_blocks * answer.f_frsize;
    (total - answer.f_bavail * answer.f_frsize, total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_busy() {
        assert_eq!(ticks("cpu  10 0 5 80 5 0 0 0 3 0\ncpu0 1\n"), (15, 100));
    }

    #[test]
    fn memory_is_read_by_its_name() {
        assert_eq!(
            kilobytes(
                "MemTotal:       100 kB\nMemAvailable:    40 kB\n",
                "MemAvailable:"
            ),
            40
        );
    }
}
