//! How long a crashing container waits before its next start: the first restart is immediate, then 10 s, doubling
//! up to 5 minutes, and forgotten after a run of 10 minutes.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The first delay and what each further one doubles.
const FIRST_S: i64 = 10;
/// No delay is longer.
const LONGEST_S: i64 = 300;
/// A container that ran longer than this since its last restart starts afresh.
const FORGET_S: i64 = 2 * LONGEST_S;

/// The delay before the next restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Backoff {
    /// Seconds from the end of a run to the next start; 0 means at once.
    pub delay_s: i64,
    /// When the delay last changed.
    pub changed_at: Option<Timestamp>,
}

impl Backoff {
    /// When a run that ended at `finished_at` may be followed by the next one, and the delay that says so.
    pub fn next_start(&self, finished_at: Timestamp) -> (Timestamp, i64) {
        let delay_s = if self.is_forgotten(finished_at) {
            0
        } else {
            self.delay_s
        };
        (
            finished_at
                .checked_add(SignedDuration::from_secs(delay_s))
                .unwrap_or(finished_at),
            delay_s,
        )
    }

    /// The delay after one more restart.
    pub fn after_restart(&self, now: Timestamp) -> Self {
        let delay_s = match self.delay_s {
            0 => FIRST_S,
            _ if self.is_forgotten(now) => FIRST_S,
            delay_s => (delay_s * 2).min(LONGEST_S),
        };
        Self {
            delay_s,
            changed_at: Some(now),
        }
    }

    fn is_forgotten(&self, now: Timestamp) -> bool {
        self.changed_at.is_some_and(|changed| {
            now.duration_since(changed) > SignedDuration::from_secs(FORGET_S)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn restarts_wait_0_10_20_and_at_last_300_seconds() {
        let mut backoff = Backoff::default();
        let mut delays = Vec::new();
        for _ in 0..8 {
            let (_, delay_s) = backoff.next_start(at(100));
            delays.push(delay_s);
            backoff = backoff.after_restart(at(100));
        }
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn a_long_run_is_forgiven() {
        let backoff = Backoff {
            delay_s: 160,
            changed_at: Some(at(0)),
        };
        assert_eq!(backoff.next_start(at(601)), (at(601), 0));
        assert_eq!(backoff.next_start(at(600)), (at(760), 160));
        assert_eq!(backoff.after_restart(at(601)).delay_s, 10);
    }
}
