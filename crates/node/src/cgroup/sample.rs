//! Figures read from `/proc`, for containers without a cgroup.

use std::collections::BTreeSet;
use std::fs;

/// Processes and what they use together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// CPU time of the living, and of those they have reaped.
    pub cpu_nanos: u64,
    /// Resident memory; pages that processes share are counted for each.
    pub resident_bytes: u64,
    /// Host pids.
    pub pids: BTreeSet<i32>,
}

impl Sample {
    /// Looks at `roots` and all their descendants.
    pub fn take(roots: &[i32]) -> Self {
        let mut sample = Self::default();
        let mut waiting = roots.to_vec();
        while let Some(pid) = waiting.pop() {
            // A process that ends meanwhile is simply not counted.
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
                continue;
            };
            if !sample.pids.insert(pid) {
                continue;
            }
            let Some(figures) = parse(&stat) else {
                continue;
            };
            sample.cpu_nanos += figures.cpu_ticks * 1_000_000_000 / ticks_per_second();
            sample.resident_bytes += figures.resident_pages * page_bytes();
            for task in fs::read_dir(format!("/proc/{pid}/task"))
                .into_iter()
                .flatten()
                .flatten()
            {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                waiting.extend(
                    children
                        .split_whitespace()
                        .filter_map(|child| child.parse::<i32>().ok()),
                );
            }
        }
        sample
    }

    /// Memory with shared pages divided among those who share them: slower, and only for the decision to kill.
    pub fn proportional_bytes(&self) -> u64 {
        let of = |pid: &i32| {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim()
                .trim_end_matches("kB")
                .trim()
                .parse::<u64>()
                .ok()
                .map(|kib| kib << 10)
        };
        let shares: Option<Vec<u64>> = self.pids.iter().map(of).collect();
        // Where that is not to be seen, what is resident has to do.
        shares.map_or(self.resident_bytes, |shares| shares.iter().sum())
    }
}

struct Figures {
    cpu_ticks: u64,
    resident_pages: u64,
}

fn parse(stat: &str) -> Option<Figures> {
    // After the name, which may hold anything: state is field 3, so field n is at n - 3.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let cpu_ticks = (14..=17).map(number).sum::<Option<u64>>()?;
    Some(Figures {
        cpu_ticks,
        resident_pages: number(24)?,
    })
}

fn ticks_per_second() -> u64 {
    // SAFETY: plain question to the C library.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64
}

fn page_bytes() -> u64 {
    // SAFETY: plain question to the C library.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat =
            "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 12345 1000 250 1844";
        let figures = parse(stat).expect("parses");
        assert_eq!((figures.cpu_ticks, figures.resident_pages), (100, 250));
    }

    #[test]
    fn this_process_is_found_with_its_memory() {
        let sample = Sample::take(&[std::process::id() as i32]);
        assert!(sample.pids.contains(&(std::process::id() as i32)));
        assert!(sample.resident_bytes > 1 << 16, "{sample:?}");
    }
}
