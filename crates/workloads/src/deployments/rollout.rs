//! How a rollout proceeds: the new replica set grows and the old ones shrink within surge and unavailability, or, when
//! recreating, one after the other.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::observe::{Observed, Set};
use super::plan::Rollout;
use crate::templated::Templated;

/// The state a plan starts from.
pub fn start<'a>(deployment: &'a Templated<Deployment>, observed: &Observed) -> Rollout<'a> {
    let spec = deployment.spec.clone().unwrap_or_default();
    let replicas = spec.replicas.unwrap_or(1);
    let strategy = spec.strategy.unwrap_or_default();
    let recreates = strategy.type_.as_deref() == Some("Recreate");
    let (max_surge, max_unavailable) = if recreates {
        (0, 0)
    } else {
        let rolling = strategy.rolling_update.unwrap_or_default();
        fenceposts(
            rolling.max_surge.as_ref(),
            rolling.max_unavailable.as_ref(),
            replicas,
        )
    };
    Rollout {
        deployment,
        replicas,
        max_surge,
        max_unavailable,
        recreates,
        sets: observed.sets.clone(),
        creates: false,
        old_pods_run: observed.old_pods_run,
    }
}

/// Surge rounded up and unavailability rounded down; both zero would never move, so one pod may then be missing.
fn fenceposts(
    surge: Option<&IntOrString>,
    unavailable: Option<&IntOrString>,
    replicas: i32,
) -> (i32, i32) {
    let quarter = IntOrString::String("25%".to_owned());
    let surge = resolve(surge.unwrap_or(&quarter), replicas, true);
    let unavailable = resolve(unavailable.unwrap_or(&quarter), replicas, false);
    let unavailable = if surge == 0 && unavailable == 0 {
        1
    } else {
        unavailable
    };
    (
        surge,
        if replicas == 0 {
            0
        } else {
            unavailable.min(replicas)
        },
    )
}

/// A number, or a percentage of `total`.
pub fn resolve(value: &IntOrString, total: i32, rounds_up: bool) -> i32 {
    match value {
        IntOrString::Int(count) => *count,
        IntOrString::String(text) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let hundredths = percent * i64::from(total);
            let whole = if rounds_up {
                (hundredths + 99).div_euclid(100)
            } else {
                hundredths.div_euclid(100)
            };
            i32::try_from(whole).unwrap_or(i32::MAX)
        }
    }
}

/// One step of the rollout: growing comes before shrinking, and only one of the two happens.
pub fn step(state: &mut Rollout<'_>) {
    if state.recreates {
        recreate(state);
    } else if !resize_current(state) {
        shrink_old(state);
    }
}

/// Whether old replica sets still have to be scaled to nothing before a recreated one may come.
pub fn retires_old(state: &Rollout<'_>) -> bool {
    state.old().any(|set| set.replicas > 0)
}

fn recreate(state: &mut Rollout<'_>) {
    if retires_old(state) {
        for set in sorted(state.old().filter(|set| set.replicas > 0)) {
            state.resize(&set.name, 0);
        }
    } else if !state.old_pods_run
        && let Some(current) = state.current().cloned()
    {
        let replicas = state.replicas;
        if current.replicas != replicas {
            state.resize(&current.name, replicas);
        }
    }
}

/// Brings the current replica set to the size it may have now; answers whether that changed it.
fn resize_current(state: &mut Rollout<'_>) -> bool {
    let Some(current) = state.current().cloned() else {
        return false;
    };
    let size = size_of_current(state);
    if size == current.replicas {
        return false;
    }
    state.resize(&current.name, size);
    true
}

/// The size the current replica set may have now.
pub fn size_of_current(state: &Rollout<'_>) -> i32 {
    let Some(current) = state.current() else {
        return 0;
    };
    if state.recreates || current.replicas >= state.replicas {
        return state.replicas;
    }
    let room = state.replicas + state.max_surge - state.total();
    if room <= 0 {
        return current.replicas;
    }
    current.replicas + room.min(state.replicas - current.replicas)
}

/// Shrinks old replica sets: pods that never became available first, then as many as availability allows.
fn shrink_old(state: &mut Rollout<'_>) {
    let old_total: i32 = state.old().map(|set| set.replicas).sum();
    if old_total == 0 {
        return;
    }
    let least = state.replicas - state.max_unavailable;
    let unavailable = state
        .current()
        .map_or(0, |set| set.replicas - set.available);
    let spare = state.total() - least - unavailable;
    if spare <= 0 {
        return;
    }
    let mut cleaned = 0;
    for set in sorted(state.old()) {
        if cleaned >= spare {
            break;
        }
        let broken = (set.replicas - set.available).min(spare - cleaned);
        if set.replicas == 0 || broken <= 0 {
            continue;
        }
        state.resize(&set.name, set.replicas - broken);
        cleaned += broken;
    }
    let available: i32 = state.sets.iter().map(|set| set.available).sum();
    let mut left = available - least;
    for set in sorted(state.old()) {
        if left <= 0 {
            break;
        }
        let count = set.replicas.min(left);
        if count > 0 {
            state.resize(&set.name, set.replicas - count);
            left -= count;
        }
    }
}

fn sorted<'a>(sets: impl Iterator<Item = &'a Set>) -> Vec<Set> {
    let mut sets: Vec<Set> = sets.cloned().collect();
    sets.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    sets
}

/// Old replica sets that the history limit no longer keeps, lowest revisions first.
pub fn past_history(state: &Rollout<'_>) -> Vec<String> {
    let limit = state
        .deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.revision_history_limit);
    let Some(limit) = limit.filter(|limit| *limit != i32::MAX) else {
        return Vec::new();
    };
    let mut old: Vec<&Set> = state.old().filter(|set| !set.is_deleted).collect();
    let surplus = old
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or(0));
    old.sort_by_key(|set| (set.revision(), set.created));
    old.iter()
        .take(surplus)
        .filter(|set| set.replicas == 0 && set.actual == 0 && set.is_observed)
        .map(|set| set.name.clone())
        .collect()
}
