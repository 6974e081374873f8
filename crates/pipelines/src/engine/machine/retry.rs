//! Further attempts of a failed step: how many, and after which delay.

use jiff::{SignedDuration, Timestamp};

use crate::ir::spec::RetryPolicy;
use crate::task::Task;

use super::Machine;

/// Longest delay when the policy names none.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);

impl Machine {
    /// When the next attempt of a failed step is due; none when it has had its attempts.
    pub(super) fn next_attempt_at(&self, task: &Task, now: Timestamp) -> Option<Timestamp> {
        let policy = self.retry_policy(task)?;
        if f64::from(task.retries) >= policy.max_retry_count {
            return None;
        }
        now.checked_add(delay(policy, task.retries)).ok()
    }

    /// The step's own policy, else that of the nearest graph around it that has one.
    fn retry_policy(&self, task: &Task) -> Option<&RetryPolicy> {
        let mut current = Some(task);
        while let Some(task) = current {
            if let Some(policy) = self
                .entry_of(task)
                .and_then(|entry| entry.retry_policy.as_ref())
            {
                return Some(policy);
            }
            current = task.parent_id.as_ref().and_then(|id| self.tasks.get(id));
        }
        None
    }
}

fn delay(policy: &RetryPolicy, retries: u32) -> SignedDuration {
    let first = policy.backoff_duration.as_deref().map_or(0.0, seconds);
    let factor = if policy.backoff_factor > 0.0 {
        policy.backoff_factor
    } else {
        2.0
    };
    let longest = policy
        .backoff_max_duration
        .as_deref()
        .map_or(LONGEST.as_secs_f64(), seconds);
    let delay = (first * factor.powi(i32::try_from(retries).unwrap_or(i32::MAX)))
        .min(longest)
        .clamp(0.0, 1e9);
    SignedDuration::try_from_secs_f64(delay).unwrap_or(LONGEST)
}

/// `"1.5s"` → 1.5
fn seconds(text: &str) -> f64 {
    text.trim_end_matches('s').parse().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(duration: &str, factor: f64, longest: Option<&str>) -> RetryPolicy {
        RetryPolicy {
            max_retry_count: 3.0,
            backoff_duration: Some(duration.into()),
            backoff_factor: factor,
            backoff_max_duration: longest.map(Into::into),
        }
    }

    #[test]
    fn the_delay_grows_by_the_factor_up_to_the_longest() {
        let doubling = policy("10s", 0.0, Some("30s"));
        assert_eq!(
            [0, 1, 2].map(|retries| delay(&doubling, retries).as_secs()),
            [10, 20, 30]
        );
        assert_eq!(delay(&policy("0.5s", 3.0, None), 1).as_millis(), 1500);
        assert_eq!(delay(&policy("0s", 2.0, Some("3600s")), 5).as_secs(), 0);
        assert_eq!(delay(&policy("100s", 10.0, None), 9), LONGEST);
    }
}
