//! How busy this machine is: processor, memory, disk. One task takes a reading every two seconds and keeps the last ten
//! minutes, so that a page that opens shows a curve at once, however many pages are open.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::broadcast;

use crate::gpus::{self, Gpus};
use crate::identity::Person;
use crate::router::Door;

/// Time between two readings.
const EVERY: Duration = Duration::from_secs(2);
/// Readings that are kept: ten minutes of them.
const KEPT: usize = 300;

/// One reading.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Reading {
    /// When it was taken, in milliseconds since 1970.
    pub at_ms: i64,
    /// Share of all processors in use since the reading before, 0 to 1.
    pub cpu_share: f64,
    /// Memory in use, bytes.
    pub memory_used_bytes: u64,
    /// Disk in use on the root file system, bytes.
    pub disk_used_bytes: u64,
    /// Graphics processors; none where none is known.
    pub gpus: Option<Gpus>,
}

/// What there is, and how much of it was in use lately.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Machine {
    /// Processors that can be used.
    pub cpus: usize,
    /// Memory there is, bytes.
    pub memory_total_bytes: u64,
    /// Disk that is in use or can be used, bytes.
    pub disk_total_bytes: u64,
    /// Readings, oldest first.
    pub readings: Vec<Reading>,
}

/// Takes the readings; shared by everyone who looks.
#[derive(Clone)]
pub struct Meter(Arc<Inside>);

struct Inside {
    readings: Mutex<VecDeque<Reading>>,
    fresh: broadcast::Sender<Reading>,
}

impl Meter {
    /// Begins to measure; the measuring ends with the last copy of the meter.
    pub fn start() -> Self {
        let inside = Arc::new(Inside {
            readings: Mutex::default(),
            fresh: broadcast::channel(16).0,
        });
        let weak = Arc::downgrade(&inside);
        tokio::spawn(async move {
            // The first share is the one since boot; those after it are since the reading before.
            let mut before = Ticks::default();
            let gpus = gpus::Watch::start();
            let mut turns = tokio::time::interval(EVERY);
            turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                turns.tick().await;
                let Some(inside) = weak.upgrade() else { return };
                let now = Ticks::read();
                inside.keep(take(&before, &now, gpus.now()));
                before = now;
            }
        });
        Self(inside)
    }

    /// Everything there is to show now.
    pub fn show(&self) -> Machine {
        let readings = self
            .0
            .readings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect();
        Machine {
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory_total_bytes: memory().1,
            disk_total_bytes: disk().1,
            readings,
        }
    }

    /// Readings from now on.
    pub fn follow(&self) -> broadcast::Receiver<Reading> {
        self.0.fresh.subscribe()
    }
}

impl Inside {
    fn keep(&self, reading: Reading) {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        if readings.len() == KEPT {
            readings.pop_front();
        }
        readings.push_back(reading.clone());
        drop(readings);
        // Nobody may be looking.
        let _ = self.fresh.send(reading);
    }
}

/// `GET /api/machine`
pub async fn read(State(door): State<Door>, _: Person) -> Json<Machine> {
    Json(door.meter.show())
}

/// Processor time since boot, in ticks, of all processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    total: u64,
}

impl Ticks {
    fn read() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    fn parse(stat: &str) -> Self {
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
        Self {
            busy: total - idle,
            total,
        }
    }

    /// The share in use since `before`; counters may step back by rounding.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share needs no more digits than a float has"
    )]
    fn share_since(self, before: Self) -> f64 {
        let total = self.total.saturating_sub(before.total);
        if total == 0 {
            return 0.0;
        }
        (self.busy.saturating_sub(before.busy) as f64 / total as f64).clamp(0.0, 1.0)
    }
}

fn take(before: &Ticks, now: &Ticks, gpus: Option<Gpus>) -> Reading {
    Reading {
        at_ms: Timestamp::now().as_millisecond(),
        cpu_share: now.share_since(*before),
        memory_used_bytes: memory().0,
        disk_used_bytes: disk().0,
        gpus,
    }
}

/// Used and total.
fn memory() -> (u64, u64) {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = kilobytes(&memory, "MemTotal:") * 1024;
    let free = kilobytes(&memory, "MemAvailable:") * 1024;
    (total.saturating_sub(free), total)
}

fn kilobytes(memory: &str, key: &str) -> u64 {
    memory
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

/// Used and total.
fn disk() -> (u64, u64) {
    // SAFETY: an all-zero statvfs is a valid value, and the kernel fills it.
    let mut answer: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a C string and the pointer is to a live value.
    if unsafe { libc::statvfs(c"/".as_ptr(), &raw mut answer) } != 0 {
        return (0, 0);
    }
    // What is kept back for root is neither in use nor to be had.
    let used = (answer.f_blocks - answer.f_bfree) * answer.f_frsize;
    (used, used + answer.f_bavail * answer.f_frsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_is_not_busy() {
        let ticks = Ticks::parse("cpu  10 0 5 80 5 0 0 0 3 0\ncpu0 1\n");
        assert_eq!(
            ticks,
            Ticks {
                busy: 15,
                total: 100
            }
        );
    }

    #[test]
    fn the_share_is_of_the_time_between_two_readings() {
        let before = Ticks {
            busy: 15,
            total: 100,
        };
        let now = Ticks {
            busy: 40,
            total: 200,
        };
        assert!((now.share_since(before) - 0.25).abs() < 1e-9);
        assert!(
            now.share_since(now).abs() < 1e-9,
            "no time, no share: never a division by nothing"
        );
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

    #[tokio::test]
    async fn who_follows_hears_of_each_reading_and_a_late_comer_sees_those_before() {
        let meter = Meter::start();
        let mut fresh = meter.follow();
        let reading = fresh.recv().await.expect("the meter lives");
        assert!(reading.memory_used_bytes > 0);
        assert_eq!(meter.show().readings, [reading]);
    }

    #[test]
    fn the_oldest_readings_go_first() {
        let inside = Inside {
            readings: Mutex::default(),
            fresh: broadcast::channel(1).0,
        };
        for at_ms in 0..=i64::try_from(KEPT).expect("a small number") {
            inside.keep(Reading {
                at_ms,
                cpu_share: 0.0,
                memory_used_bytes: 0,
                disk_used_bytes: 0,
                gpus: None,
            });
        }
        let readings = inside.readings.lock().expect("nobody panicked");
        assert_eq!((readings.len(), readings[0].at_ms), (KEPT, 1));
    }
}
