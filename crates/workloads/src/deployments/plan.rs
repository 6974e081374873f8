//! One step of a deployment: which replica sets to create, change and delete, and the status that follows from it.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};
use k8s_openapi::jiff::Timestamp;

use super::observe::{Observed, Set};
use super::{build, progress, rollout, scale, status};
use crate::selector;
use crate::templated::Templated;

/// Everything one step does.
#[derive(Debug, Default)]
pub struct Plan {
    /// The replica set to create, as it will be.
    pub create: Option<Set>,
    /// Replica sets to change to this state.
    pub change: Vec<Set>,
    /// Names of replica sets past the history limit.
    pub delete: Vec<String>,
    /// The revision to note on the deployment.
    pub revision: Option<String>,
    /// The status to publish.
    pub status: DeploymentStatus,
    /// The selector selects everything, which is refused.
    pub selects_all: bool,
    /// When progress has to be looked at again.
    pub next: control::Next,
}

/// The deployment and its replica sets while they are being planned.
pub struct Rollout<'a> {
    /// The deployment.
    pub deployment: &'a Templated<Deployment>,
    /// Wanted replicas.
    pub replicas: i32,
    /// Pods that may exist above the wanted number.
    pub max_surge: i32,
    /// Pods that may be missing from the wanted number.
    pub max_unavailable: i32,
    /// Whether old pods go before new ones come.
    pub recreates: bool,
    /// Replica sets, changed by the plan as it proceeds.
    pub sets: Vec<Set>,
    /// Whether the current replica set is planned, not yet created.
    pub creates: bool,
    /// Whether pods of older templates still run.
    pub old_pods_run: bool,
}

impl Rollout<'_> {
    /// The replica set of the deployment's template.
    pub fn current(&self) -> Option<&Set> {
        self.sets.iter().find(|set| set.is_current)
    }

    /// The replica sets of older templates.
    pub fn old(&self) -> impl Iterator<Item = &Set> {
        self.sets.iter().filter(|set| !set.is_current)
    }

    /// Wanted pods over all replica sets.
    pub fn total(&self) -> i32 {
        self.sets.iter().map(|set| set.replicas).sum()
    }

    /// Sets the size of a replica set, and records what the deployment wanted at that time.
    pub fn resize(&mut self, name: &str, replicas: i32) {
        let (desired, most) = (
            self.replicas.to_string(),
            (self.replicas + self.max_surge).to_string(),
        );
        if let Some(set) = self.sets.iter_mut().find(|set| set.name == name) {
            set.replicas = replicas;
            set.annotations
                .insert(build::DESIRED_REPLICAS.to_owned(), desired);
            set.annotations.insert(build::MAX_REPLICAS.to_owned(), most);
        }
    }

    /// Makes sure there is a current replica set (if `creates`), with annotations and revision up to date.
    fn settle_current(&mut self, creates: bool) {
        let revision = self.old().map(Set::revision).max().unwrap_or(0) + 1;
        let min_ready = self
            .deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.min_ready_seconds)
            .unwrap_or(0);
        if let Some(set) = self.sets.iter_mut().find(|set| set.is_current) {
            set.annotations = build::annotations(&set.annotations, self.deployment, revision);
            set.min_ready_seconds = min_ready;
        } else if creates {
            let set = Set {
                name: build::set_name(self.deployment),
                is_current: true,
                annotations: build::annotations(&Default::default(), self.deployment, revision),
                min_ready_seconds: min_ready,
                ..Set::default()
            };
            let name = set.name.clone();
            self.sets.push(set);
            self.creates = true;
            let replicas = rollout::size_of_current(self);
            self.resize(&name, replicas);
        }
    }
}

/// Plans one step.
pub fn plan(deployment: &Templated<Deployment>, observed: &Observed, now: Timestamp) -> Plan {
    let Some(spec) = &deployment.spec else {
        return Plan::default();
    };
    let held = deployment.status.clone().unwrap_or_default();
    if selector::is_empty(&spec.selector) {
        let status = DeploymentStatus {
            observed_generation: deployment.metadata.generation,
            ..held
        };
        return Plan {
            status,
            selects_all: true,
            ..Plan::default()
        };
    }
    let mut state = rollout::start(deployment, observed);
    let mut status = held;
    let is_paused = spec.paused.unwrap_or(false);
    let mut finishes = false;

    if deployment.metadata.deletion_timestamp.is_some() {
        // Whoever deletes decides what becomes of the replica sets.
        let status = status::counts(&state, &status, now);
        return Plan {
            status,
            ..Plan::default()
        };
    }
    progress::note_pause(deployment, &mut status, now);
    let may_clean_up = if is_paused {
        state.settle_current(false);
        scale::scale(&mut state);
        true
    } else if scale::is_due(&state) {
        state.settle_current(false);
        scale::scale(&mut state);
        false
    } else {
        finishes = true;
        let waits_for_old_pods =
            state.recreates && (rollout::retires_old(&state) || state.old_pods_run);
        state.settle_current(!waits_for_old_pods);
        rollout::step(&mut state);
        true
    };
    if state.current().is_some() {
        progress::note_current(&state, &mut status, now);
    }

    let counted = status::counts(&state, &status, now);
    let (status, next) = if finishes {
        progress::conclude(&state, deployment, &status, counted, now)
    } else {
        (counted, None)
    };
    let is_complete = progress::is_complete(
        &state,
        deployment.status.as_ref().unwrap_or(&status),
        deployment,
    );
    let delete = if may_clean_up && (is_paused || is_complete) {
        rollout::past_history(&state)
    } else {
        Vec::new()
    };
    collect(deployment, observed, state, delete, status, next)
}

fn collect(
    deployment: &Templated<Deployment>,
    observed: &Observed,
    state: Rollout<'_>,
    delete: Vec<String>,
    status: DeploymentStatus,
    next: control::Next,
) -> Plan {
    let current = state
        .current()
        .and_then(|set| set.annotations.get(build::REVISION))
        .cloned();
    let noted = deployment
        .metadata
        .annotations
        .as_ref()
        .and_then(|notes| notes.get(build::REVISION));
    let revision = current.filter(|revision| Some(revision) != noted);
    let create = state.creates.then(|| state.current().cloned()).flatten();
    let change = state
        .sets
        .iter()
        .filter(|set| {
            observed
                .sets
                .iter()
                .any(|held| held.name == set.name && held != *set)
        })
        .cloned()
        .collect();
    Plan {
        create,
        change,
        delete,
        revision,
        status,
        selects_all: false,
        next,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
