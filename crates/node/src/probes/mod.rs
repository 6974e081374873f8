//! Probes of containers: one question at a time (`check`), and when to ask it (`run`). What an answer means for the
//! pod is the kubelet's.

mod check;

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use check::{Prober, check, http_request};

/// Which of a container's probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Until it succeeds, the others wait.
    Startup,
    /// Whether the container takes part in Services.
    Readiness,
    /// Whether it should be restarted.
    Liveness,
}

impl Kind {
    /// As in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }

    /// This probe of a container.
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
        }
    }
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It succeeded often enough in a row.
    Passed,
    /// It failed once, but not often enough in a row to count.
    FailedOnce(String),
    /// It failed often enough in a row.
    Failed(String),
}

/// Counts answers in a row, as the probe's thresholds say.
#[derive(Debug)]
pub struct Tally {
    success_threshold: u32,
    failure_threshold: u32,
    successes: u32,
    failures: u32,
}

impl Tally {
    /// A fresh count for a probe.
    pub fn new(probe: &Probe) -> Self {
        let at_least_one = |value: Option<i32>, usual: u32| {
            value
                .and_then(|v| u32::try_from(v).ok())
                .filter(|v| *v > 0)
                .unwrap_or(usual)
        };
        Self {
            success_threshold: at_least_one(probe.success_threshold, 1),
            failure_threshold: at_least_one(probe.failure_threshold, 3),
            successes: 0,
            failures: 0,
        }
    }

    /// Counts one answer; none while successes are still too few.
    pub fn count(&mut self, answer: Result<(), String>) -> Option<Outcome> {
        match answer {
            Ok(()) => {
                self.failures = 0;
                self.successes += 1;
                (self.successes >= self.success_threshold).then_some(Outcome::Passed)
            }
            Err(message) => {
                self.successes = 0;
                self.failures += 1;
                Some(if self.failures >= self.failure_threshold {
                    Outcome::Failed(message)
                } else {
                    Outcome::FailedOnce(message)
                })
            }
        }
    }
}

/// Asked again this soon while a container has not been ready yet: it should not wait a whole period for a start that
/// takes a tenth of a second.
const EAGER_FIRST: Duration = Duration::from_millis(25);

/// Asks until the receiver is gone or, for a startup probe, until it has succeeded.
pub async fn run(
    prober: Prober,
    kind: Kind,
    probe: Probe,
    container: Container,
    outcomes: mpsc::Sender<Outcome>,
) {
    let seconds = |value: Option<i32>, usual: u64| {
        Duration::from_secs(
            value
                .and_then(|v| u64::try_from(v).ok())
                .filter(|v| *v > 0)
                .unwrap_or(usual),
        )
    };
    let initial = Duration::from_secs(
        probe
            .initial_delay_seconds
            .and_then(|v| u64::try_from(v).ok())
            .unwrap_or(0),
    );
    let period = seconds(probe.period_seconds, 10);
    let timeout = seconds(probe.timeout_seconds, 1);
    tokio::time::sleep(initial).await;
    let mut tally = Tally::new(&probe);
    let eager_until = Instant::now() + period;
    let mut pause = EAGER_FIRST;
    let mut is_eager = kind != Kind::Liveness;
    loop {
        let answer = check(&prober, &probe, &container, timeout).await;
        is_eager &= answer.is_err() && Instant::now() < eager_until;
        if is_eager {
            // Too early to hold against it.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(period);
            continue;
        }
        if let Some(outcome) = tally.count(answer) {
            let is_done = kind == Kind::Startup && outcome == Outcome::Passed;
            if outcomes.send(outcome).await.is_err() || is_done {
                return;
            }
        }
        tokio::time::sleep(period).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tally(success: i32, failure: i32) -> Tally {
        let probe = json!({"successThreshold": success, "failureThreshold": failure});
        Tally::new(&serde_json::from_value(probe).expect("a probe"))
    }

    #[test]
    fn only_failures_in_a_row_count() {
        let mut tally = tally(1, 2);
        let failed = || Err("no".to_owned());
        assert_eq!(
            tally.count(failed()),
            Some(Outcome::FailedOnce("no".into()))
        );
        assert_eq!(tally.count(Ok(())), Some(Outcome::Passed));
        assert_eq!(
            tally.count(failed()),
            Some(Outcome::FailedOnce("no".into()))
        );
        assert_eq!(tally.count(failed()), Some(Outcome::Failed("no".into())));
    }

    #[test]
    fn a_probe_may_have_to_succeed_several_times() {
        let mut tally = tally(2, 1);
        assert_eq!(tally.count(Ok(())), None);
        assert_eq!(tally.count(Ok(())), Some(Outcome::Passed));
    }
}
