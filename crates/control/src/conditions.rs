//! Conditions of custom kinds: one per type, in the order they were first set, with a transition time that moves only
//! when the status does.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// Sets a condition; answers whether anything changed.
pub fn set(conditions: &mut Vec<Condition>, mut desired: Condition) -> bool {
    match conditions
        .iter_mut()
        .find(|held| held.type_ == desired.type_)
    {
        Some(held) => {
            if held.status == desired.status {
                desired.last_transition_time = held.last_transition_time.clone();
            }
            let changed = *held != desired;
            *held = desired;
            changed
        }
        None => {
            conditions.push(desired);
            true
        }
    }
}

/// A condition that became so at `now`.
pub fn condition(
    type_: &str,
    is_true: bool,
    reason: &str,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: if is_true { "True" } else { "False" }.to_owned(),
        reason: reason.to_owned(),
        message: message.into(),
        observed_generation: generation,
        last_transition_time: Time(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_new_message_keeps_the_time_of_the_last_transition() {
        let mut conditions = Vec::new();
        assert!(set(
            &mut conditions,
            condition("Ready", false, "Waiting", "a", None, at(1))
        ));
        assert!(set(
            &mut conditions,
            condition("Ready", false, "Waiting", "b", None, at(2))
        ));
        assert_eq!(conditions[0].last_transition_time.0, at(1));
        assert!(set(
            &mut conditions,
            condition("Ready", true, "Done", "c", None, at(3))
        ));
        assert_eq!(conditions[0].last_transition_time.0, at(3));
        assert!(!set(
            &mut conditions,
            condition("Ready", true, "Done", "c", None, at(4))
        ));
        assert_eq!(conditions.len(), 1);
    }
}
