//! Where the sets come from: replica sets, or replication controllers read as replica sets.

use std::sync::Arc;

use control::{Informer, Key, Writer, noted};
use k8s_openapi::api::apps::v1::{
    ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus,
};
use k8s_openapi::api::core::v1::{
    ObjectReference, ReplicationController, ReplicationControllerCondition,
    ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::selector::{self, Labels};
use crate::templated::Templated;

/// The kind that is kept at its number of pods.
#[derive(Clone)]
pub enum Source {
    /// Replica sets.
    Sets(Arc<Informer<Templated<ReplicaSet>>>),
    /// Replication controllers.
    Controllers(Arc<Informer<Templated<ReplicationController>>>),
}

impl Source {
    /// The kind's name.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sets(_) => "ReplicaSet",
            Self::Controllers(_) => "ReplicationController",
        }
    }

    /// The kind's group and version.
    pub fn api_version(&self) -> &'static str {
        match self {
            Self::Sets(_) => "apps/v1",
            Self::Controllers(_) => "v1",
        }
    }

    /// How events name an object.
    pub fn reference(&self, set: &Templated<ReplicaSet>) -> ObjectReference {
        ObjectReference {
            api_version: Some(self.api_version().to_owned()),
            kind: Some(self.kind().to_owned()),
            ..control::events::reference(set)
        }
    }

    /// Calls `wake` for every object that changes.
    pub fn on_change(&self, wake: impl Fn(Key) + Send + Sync + 'static) {
        match self {
            Self::Sets(informer) => {
                informer.on_change(move |change| wake(Key::of(change.latest().as_ref())))
            }
            Self::Controllers(informer) => {
                informer.on_change(move |change| wake(Key::of(change.latest().as_ref())))
            }
        }
    }

    /// Waits for the first list.
    pub async fn synced(&self) {
        match self {
            Self::Sets(informer) => informer.synced().await,
            Self::Controllers(informer) => informer.synced().await,
        }
    }

    /// The object of a key, as a replica set.
    pub fn get(&self, key: &Key) -> Option<Arc<Templated<ReplicaSet>>> {
        match self {
            Self::Sets(informer) => informer.cache().get(key),
            Self::Controllers(informer) => informer
                .cache()
                .get(key)
                .map(|held| Arc::new(as_set(&held))),
        }
    }

    /// The objects of a namespace whose selector selects these labels.
    pub fn selecting(&self, namespace: &str, labels: &Labels) -> Vec<Key> {
        match self {
            Self::Sets(informer) => informer
                .cache()
                .in_namespace(namespace)
                .iter()
                .filter(|set| {
                    set.spec
                        .as_ref()
                        .is_some_and(|spec| selector::matches(&spec.selector, labels))
                })
                .map(|set| Key::of(set.as_ref()))
                .collect(),
            Self::Controllers(informer) => informer
                .cache()
                .in_namespace(namespace)
                .iter()
                .filter(|held| {
                    let wanted = held.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                    wanted.is_some_and(|wanted| {
                        wanted
                            .iter()
                            .all(|(name, value)| labels.get(name) == Some(value))
                    })
                })
                .map(|held| Key::of(held.as_ref()))
                .collect(),
        }
    }

    /// Publishes a status.
    pub async fn publish(
        &self,
        writer: &Writer,
        set: &Templated<ReplicaSet>,
        status: &ReplicaSetStatus,
    ) -> kube::Result<()> {
        match self {
            Self::Sets(informer) => {
                noted::publish(writer, informer, set, set.status.as_ref(), status).await
            }
            Self::Controllers(informer) => {
                let Some(held) = informer.cache().get(&Key::of(set)) else {
                    return Ok(());
                };
                let status = as_controller_status(status.clone());
                noted::publish(writer, informer, &held, held.status.as_ref(), &status).await
            }
        }
    }
}

fn as_set(held: &Templated<ReplicationController>) -> Templated<ReplicaSet> {
    let spec = held.spec.clone().unwrap_or_default();
    let status = held.status.clone().unwrap_or_default();
    let conditions = status.conditions.map(|conditions| {
        let convert = |held: ReplicationControllerCondition| ReplicaSetCondition {
            type_: held.type_,
            status: held.status,
            reason: held.reason,
            message: held.message,
            last_transition_time: held.last_transition_time,
        };
        conditions.into_iter().map(convert).collect()
    });
    let set = ReplicaSet {
        metadata: held.metadata.clone(),
        spec: Some(ReplicaSetSpec {
            replicas: spec.replicas,
            min_ready_seconds: spec.min_ready_seconds,
            selector: LabelSelector {
                match_labels: spec.selector,
                match_expressions: None,
            },
            template: spec.template,
        }),
        status: Some(ReplicaSetStatus {
            replicas: status.replicas,
            fully_labeled_replicas: status.fully_labeled_replicas,
            ready_replicas: status.ready_replicas,
            available_replicas: status.available_replicas,
            observed_generation: status.observed_generation,
            conditions,
            ..ReplicaSetStatus::default()
        }),
    };
    Templated::new(set, held.template.clone())
}

fn as_controller_status(status: ReplicaSetStatus) -> ReplicationControllerStatus {
    let conditions = status.conditions.map(|conditions| {
        let convert = |held: ReplicaSetCondition| ReplicationControllerCondition {
            type_: held.type_,
            status: held.status,
            reason: held.reason,
            message: held.message,
            last_transition_time: held.last_transition_time,
        };
        conditions.into_iter().map(convert).collect()
    });
    ReplicationControllerStatus {
        replicas: status.replicas,
        fully_labeled_replicas: status.fully_labeled_replicas,
        ready_replicas: status.ready_replicas,
        available_replicas: status.available_replicas,
        observed_generation: status.observed_generation,
        conditions,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_replication_controller_reads_as_a_replica_set_and_back() {
        let held: Templated<ReplicationController> = serde_json::from_value(json!({
            "metadata": {"name": "old", "uid": "u", "generation": 2},
            "spec": {"replicas": 2, "selector": {"app": "web"}, "template": {"spec": {"containers": [], "later": 1}}},
            "status": {"replicas": 1, "conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate"}]},
        }))
        .unwrap();
        let set = as_set(&held);
        let spec = set.spec.as_ref().unwrap();
        assert_eq!(spec.replicas, Some(2));
        assert_eq!(spec.selector.match_labels.as_ref().unwrap()["app"], "web");
        assert_eq!(set.template["spec"]["later"], 1);
        assert_eq!(
            json!(as_controller_status(set.status.clone().unwrap())),
            json!(held.status)
        );
    }
}
