//! Which pods of a job to create and which to delete.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::tally::{Tally, ended_at, index_of, is_failed, is_indexed, replaces_only_failed};
use crate::pods::state;

/// Pods created or deleted in one go at most.
const BURST: i32 = 500;
/// Wait after a first failure; each further failure in a row doubles it.
const FIRST_BACKOFF: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_BACKOFF: SignedDuration = SignedDuration::from_mins(10);

/// A pod to create.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewPod {
    /// Its completion index, of an indexed job.
    pub index: Option<i32>,
    /// Failures of that index before, where they are limited per index.
    pub failures: Option<i32>,
}

/// What to do about the number of pods.
#[derive(Debug, Default)]
pub struct Manage {
    /// Pods to create.
    pub create: Vec<NewPod>,
    /// Pods to delete without counting them.
    pub delete: Vec<Arc<Pod>>,
    /// When the backoff will be over.
    pub next: control::Next,
}

/// Compares pods at work with pods wanted.
pub fn manage(spec: &JobSpec, tally: &Tally, pods: &[Arc<Pod>], now: Timestamp) -> Manage {
    if spec.suspend == Some(true) {
        return Manage {
            delete: tally.active.clone(),
            ..Manage::default()
        };
    }
    let active = i32::try_from(tally.active.len()).unwrap_or(i32::MAX);
    let parallelism = spec.parallelism.unwrap_or(1);
    let wanted = match spec.completions {
        // A job without a number of completions starts nothing new after its first success.
        None if tally.succeeded > 0 => active,
        None => parallelism,
        Some(completions) => (completions - tally.succeeded).clamp(0, parallelism),
    };
    let surplus = usize::try_from(active - wanted).unwrap_or(0);
    let delete = removal(spec, tally, surplus);
    if !delete.is_empty() {
        return Manage {
            delete,
            ..Manage::default()
        };
    }
    let mut missing = wanted - active;
    if replaces_only_failed(spec) {
        missing -= tally.terminating;
    }
    if missing <= 0 {
        return Manage::default();
    }
    if spec.backoff_limit_per_index.is_none()
        && let Some(wait) = backoff(spec, pods.iter(), now)
    {
        return Manage {
            next: Some(wait),
            ..Manage::default()
        };
    }
    let count = usize::try_from(missing.min(BURST)).unwrap_or(0);
    if is_indexed(spec) {
        return create_indexes(spec, tally, pods, count, now);
    }
    Manage {
        create: vec![
            NewPod {
                index: None,
                failures: None
            };
            count
        ],
        ..Manage::default()
    }
}

/// Pods at work that are too many: of an index twice, of an index out of range, then those that would be missed least.
fn removal(spec: &JobSpec, tally: &Tally, surplus: usize) -> Vec<Arc<Pod>> {
    let mut ranked = tally.active.clone();
    ranked.sort_by_key(|pod| {
        let phase = match state::phase(pod) {
            "Running" => 2,
            "Unknown" => 1,
            _ => 0,
        };
        let created = pod
            .creation_timestamp()
            .map(|time| std::cmp::Reverse(time.0));
        (
            state::node(pod).is_some(),
            phase,
            state::is_ready(pod),
            created,
        )
    });
    if !is_indexed(spec) {
        ranked.truncate(surplus);
        return ranked;
    }
    let completions = spec.completions.unwrap_or(0);
    let mut seen = BTreeSet::new();
    let mut useless = Vec::new();
    let mut useful = Vec::new();
    // From the end: of two pods with one index, the one that would be missed more is kept.
    for pod in ranked.into_iter().rev() {
        let index = index_of(&pod).filter(|index| (0..completions).contains(index));
        match index {
            Some(index) if !tally.succeeded_indexes.contains(&index) && seen.insert(index) => {
                useful.push(pod)
            }
            _ => useless.push(pod),
        }
    }
    useful.reverse();
    let left = surplus.saturating_sub(useless.len());
    useless.extend(useful.into_iter().take(left));
    useless
}

fn create_indexes(
    spec: &JobSpec,
    tally: &Tally,
    pods: &[Arc<Pod>],
    count: usize,
    now: Timestamp,
) -> Manage {
    let mut busy: BTreeSet<i32> = tally
        .active
        .iter()
        .filter_map(|pod| index_of(pod))
        .collect();
    if replaces_only_failed(spec) {
        busy.extend(
            pods.iter()
                .filter(|pod| state::is_terminating(pod) && !state::is_terminal(pod))
                .filter_map(|pod| index_of(pod)),
        );
    }
    let mut plan = Manage::default();
    for index in 0..spec.completions.unwrap_or(0) {
        if plan.create.len() == count {
            break;
        }
        if busy.contains(&index)
            || tally.succeeded_indexes.contains(&index)
            || tally.failed_indexes.contains(&index)
        {
            continue;
        }
        let failures = spec
            .backoff_limit_per_index
            .map(|_| tally.index_failures.get(&index).copied().unwrap_or(0));
        if failures.is_some() {
            let own = pods.iter().filter(|pod| index_of(pod) == Some(index));
            if let Some(wait) = backoff(spec, own, now) {
                plan.next = Some(plan.next.map_or(wait, |next| next.min(wait)));
                continue;
            }
        }
        plan.create.push(NewPod {
            index: Some(index),
            failures,
        });
    }
    plan
}

/// The wait that failures since the last success call for, if it is not over.
fn backoff<'a>(
    spec: &JobSpec,
    pods: impl Iterator<Item = &'a Arc<Pod>>,
    now: Timestamp,
) -> control::Next {
    let mut failures: Vec<Timestamp> = Vec::new();
    let mut last_success: Option<Timestamp> = None;
    for pod in pods {
        let Some(ended) = ended_at(pod) else { continue };
        if state::phase(pod) == "Succeeded" {
            last_success = last_success.max(Some(ended));
        } else if is_failed(pod, spec) {
            failures.push(ended);
        }
    }
    failures.retain(|failure| last_success.is_none_or(|success| *failure > success));
    let last = failures.iter().max()?;
    let doublings = u32::try_from(failures.len() - 1)
        .unwrap_or(u32::MAX)
        .min(16);
    let wait = (FIRST_BACKOFF * 2_i32.pow(doublings)).min(LONGEST_BACKOFF);
    let left = (*last + wait).duration_since(now);
    left.is_positive()
        .then(|| Duration::from_millis(u64::try_from(left.as_millis()).unwrap_or(0) + 1))
}
