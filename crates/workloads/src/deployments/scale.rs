//! Scaling a deployment whose rollout is paused or under way: the change is shared out over its replica sets in
//! proportion to their sizes.

use super::build;
use super::observe::Set;
use super::plan::Rollout;

/// Whether the wanted number changed since the active replica sets were last scaled.
pub fn is_due(state: &Rollout<'_>) -> bool {
    state.sets.iter().filter(|set| set.replicas > 0).any(|set| {
        let desired = set
            .annotations
            .get(build::DESIRED_REPLICAS)
            .and_then(|desired| desired.parse::<i32>().ok());
        desired.is_some_and(|desired| desired != state.replicas)
    })
}

/// Shares the wanted number out.
pub fn scale(state: &mut Rollout<'_>) {
    if let Some(only) = only_active_or_latest(state) {
        if only.replicas != state.replicas {
            let replicas = state.replicas;
            state.resize(&only.name, replicas);
        }
        return;
    }
    if is_saturated(state) {
        let old: Vec<String> = state
            .old()
            .filter(|set| set.replicas > 0)
            .map(|set| set.name.clone())
            .collect();
        for name in old {
            state.resize(&name, 0);
        }
        return;
    }
    if !state.recreates {
        share(state);
    }
}

fn only_active_or_latest(state: &Rollout<'_>) -> Option<Set> {
    let active: Vec<&Set> = state.sets.iter().filter(|set| set.replicas > 0).collect();
    match active.as_slice() {
        [] => state
            .current()
            .or_else(|| state.old().max_by_key(|set| (set.created, &set.name)))
            .cloned(),
        [only] => Some((*only).clone()),
        _ => None,
    }
}

/// Whether the current replica set alone is all that is wanted, and available.
fn is_saturated(state: &Rollout<'_>) -> bool {
    state.current().is_some_and(|set| {
        let desired = set
            .annotations
            .get(build::DESIRED_REPLICAS)
            .and_then(|desired| desired.parse::<i32>().ok());
        set.replicas == state.replicas
            && desired == Some(state.replicas)
            && set.available == state.replicas
    })
}

fn share(state: &mut Rollout<'_>) {
    let mut active: Vec<Set> = state
        .sets
        .iter()
        .filter(|set| set.replicas > 0)
        .cloned()
        .collect();
    let total: i32 = active.iter().map(|set| set.replicas).sum();
    let allowed = if state.replicas > 0 {
        state.replicas + state.max_surge
    } else {
        0
    };
    let to_add = allowed - total;
    // Largest first; of equals, the newest gains first and the oldest loses first.
    active.sort_by(|a, b| {
        let age = if to_add > 0 {
            b.created.cmp(&a.created)
        } else {
            a.created.cmp(&b.created)
        };
        b.replicas.cmp(&a.replicas).then(age)
    });
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::new();
    for set in &active {
        let share = if to_add == 0 {
            0
        } else {
            proportion(set, state, to_add, added)
        };
        added += share;
        sizes.push(set.replicas + share);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    for (set, size) in active.iter().zip(sizes) {
        state.resize(&set.name, size);
    }
}

fn proportion(set: &Set, state: &Rollout<'_>, to_add: i32, added: i32) -> i32 {
    if set.replicas == 0 || to_add == added {
        return 0;
    }
    let left = to_add - added;
    let fraction = fraction(set, state);
    if to_add > 0 {
        fraction.min(left)
    } else {
        fraction.max(left)
    }
}

fn fraction(set: &Set, state: &Rollout<'_>) -> i32 {
    if state.replicas == 0 {
        return -set.replicas;
    }
    let most = f64::from(state.replicas + state.max_surge);
    let most_before = set
        .annotations
        .get(build::MAX_REPLICAS)
        .and_then(|most| most.parse::<i32>().ok());
    let held = state
        .deployment
        .status
        .as_ref()
        .and_then(|status| status.replicas);
    let most_before = f64::from(most_before.or(held).unwrap_or(0).max(1));
    let size = (f64::from(set.replicas) * most / most_before).round();
    // Both are far inside the range of i32: replica counts.
    size as i32 - set.replicas
}
