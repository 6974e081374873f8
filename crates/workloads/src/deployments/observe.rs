//! The replica sets of a deployment as the plan reads them, after adopting and releasing.

use std::collections::BTreeMap;
use std::sync::Arc;

use control::owners;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetCondition};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;

use super::{Context, build};
use crate::pods::{claim, state};
use crate::templated::Templated;

/// A replica set of a deployment; the plan changes it as it goes along.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Whether its template is the deployment's.
    pub is_current: bool,
    /// When it was created; a planned one has no time yet and counts as newest.
    pub created: Option<Timestamp>,
    /// Wanted pods.
    pub replicas: i32,
    /// Existing pods.
    pub actual: i32,
    /// Ready pods.
    pub ready: i32,
    /// Available pods.
    pub available: i32,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its minimum ready time.
    pub min_ready_seconds: i32,
    /// Whether its controller has seen its latest specification.
    pub is_observed: bool,
    /// Whether it is being deleted.
    pub is_deleted: bool,
    /// Its failure to create pods.
    pub failure: Option<ReplicaSetCondition>,
}

impl Set {
    /// The revision it stands for, zero if none is recorded.
    pub fn revision(&self) -> i64 {
        self.annotations
            .get(build::REVISION)
            .and_then(|revision| revision.parse().ok())
            .unwrap_or(0)
    }
}

/// Everything the plan needs.
pub struct Observed {
    /// The replica sets.
    pub sets: Vec<Set>,
    /// Whether pods of older templates still run.
    pub old_pods_run: bool,
}

/// Looks the replica sets up, adopting and releasing on the way.
pub async fn observe(
    context: &Context,
    deployment: &Templated<Deployment>,
) -> kube::Result<Observed> {
    let Some(spec) = &deployment.spec else {
        return Ok(Observed {
            sets: Vec::new(),
            old_pods_run: false,
        });
    };
    let namespace = deployment.namespace().unwrap_or_default();
    let owner = owners::controller_reference(deployment, "apps/v1", "Deployment");
    let cache = context.watches.replica_sets.cache();
    let is_deleted = deployment.metadata.deletion_timestamp.is_some();
    let split = claim::claim(
        claim::candidates(cache, &namespace, &owner.uid),
        &owner.uid,
        is_deleted,
        &spec.selector,
    );
    let held = claim::settle(
        &context.writer,
        &context.watches.replica_sets,
        split,
        &owner,
        None,
    )
    .await?;
    let sets = views(&held, &deployment.template);
    let old_pods_run = held
        .iter()
        .zip(&sets)
        .filter(|(_, view)| !view.is_current)
        .any(|(set, _)| {
            let pods = context
                .watches
                .pods
                .cache()
                .controlled_by(&set.uid().unwrap_or_default());
            pods.iter().any(|pod| !state::is_terminal(pod))
        });
    Ok(Observed { sets, old_pods_run })
}

/// The plan's view of replica sets. Of several with the deployment's template, the oldest is current.
pub fn views(sets: &[Arc<Templated<ReplicaSet>>], template: &Value) -> Vec<Set> {
    let wanted = build::without_hash(template);
    let current = sets
        .iter()
        .filter(|set| build::without_hash(&set.template) == wanted)
        .min_by_key(|set| (set.creation_timestamp(), set.name_any()))
        .map(|set| set.name_any());
    sets.iter()
        .map(|set| view(set, current.as_deref()))
        .collect()
}

fn view(set: &Templated<ReplicaSet>, current: Option<&str>) -> Set {
    let spec = set.spec.clone().unwrap_or_default();
    let status = set.status.clone().unwrap_or_default();
    Set {
        name: set.name_any(),
        is_current: current == set.metadata.name.as_deref(),
        created: set.creation_timestamp().map(|time| time.0),
        replicas: spec.replicas.unwrap_or(1),
        actual: status.replicas,
        ready: status.ready_replicas.unwrap_or(0),
        available: status.available_replicas.unwrap_or(0),
        annotations: set.annotations().clone(),
        min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
        is_observed: set.metadata.generation <= status.observed_generation,
        is_deleted: set.metadata.deletion_timestamp.is_some(),
        failure: status
            .conditions
            .into_iter()
            .flatten()
            .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True"),
    }
}
