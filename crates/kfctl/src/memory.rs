//! Resident memory of this process and of everything it started, from /proc.

use std::collections::BTreeMap;

/// Bytes of resident memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Of this process.
    pub own_bytes: u64,
    /// Of all its descendants.
    pub children_bytes: u64,
}

impl Usage {
    /// Reads /proc once. What cannot be read counts as nothing.
    pub fn read() -> Self {
        let own = std::process::id();
        let mut parents = BTreeMap::new();
        let mut resident = BTreeMap::new();
        for entry in std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
        {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u32>().ok())
            else {
                continue;
            };
            let Ok(status) = std::fs::read_to_string(entry.path().join("status")) else {
                continue;
            };
            parents.insert(pid, number(&status, "PPid:") as u32);
            resident.insert(pid, number(&status, "VmRSS:") * 1024);
        }
        let is_descendant = |mut pid: u32| {
            for _ in 0..64 {
                match parents.get(&pid) {
                    Some(parent) if *parent == own => return true,
                    Some(parent) if *parent > 1 => pid = *parent,
                    _ => return false,
                }
            }
            false
        };
        Self {
            own_bytes: resident.get(&own).copied().unwrap_or_default(),
            children_bytes: resident
                .iter()
                .filter(|(pid, _)| is_descendant(**pid))
                .map(|(_, bytes)| bytes)
                .sum(),
        }
    }
}

fn number(status: &str, key: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_own_memory_and_its_childrens() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep exists");
        // The child is counted once it is a program of its own.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let mut usage = Usage::read();
        while usage.children_bytes == 0 && std::time::Instant::now() < deadline {
            std::thread::yield_now();
            usage = Usage::read();
        }
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        assert!(usage.own_bytes > 100_000, "{usage:?}");
        assert!(usage.children_bytes > 0, "{usage:?}");
    }
}
