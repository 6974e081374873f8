//! A claim that a pod uses, and a volume that a claim holds, do not go before their users: a finalizer keeps them.

use std::sync::Arc;

use control::{Controller, Key, Queue, Writer, finalizers, write};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::ResourceExt;

use crate::pods::state;
use crate::setup::Setup;
use crate::watches::{BY_CLAIM, Watches, claims_of, index_value};

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";

struct Context {
    watches: Arc<Watches>,
    claims: Writer,
    volumes: Writer,
}

/// Starts the protection of claims and of volumes.
pub fn start(setup: &mut Setup) {
    let watches = setup.watches.clone();
    let claims = Arc::new(Queue::default());
    let volumes = Arc::new(Queue::default());
    let wake = claims.clone();
    watches
        .claims
        .on_change(move |change| wake.add(Key::of(change.latest().as_ref())));
    let wake = claims.clone();
    watches.pods.on_change(move |change| {
        let pod = change.latest();
        if change.new.is_none() || state::is_terminal(pod) {
            for claim in claims_of(pod) {
                if let Some((namespace, name)) = claim.split_once('/') {
                    wake.add(Key::new(namespace, name));
                }
            }
        }
    });
    let wake = volumes.clone();
    watches
        .volumes
        .on_change(move |change| wake.add(Key::of(change.latest().as_ref())));

    let context = Arc::new(Context {
        claims: setup.writer("pvc-protection-controller"),
        volumes: setup.writer("pv-protection-controller"),
        watches: watches.clone(),
    });
    let for_claims = Controller {
        name: "pvc-protection",
        queue: claims,
        workers: 1,
        metrics: setup.metrics.clone(),
    };
    let for_volumes = Controller {
        name: "pv-protection",
        queue: volumes,
        workers: 1,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("volume-protection", async move {
        watches.claims.synced().await;
        watches.volumes.synced().await;
        watches.pods.synced().await;
        let of_volumes = context.clone();
        tokio::join!(
            for_claims.run(shutdown.clone(), move |key| protect_claim(
                key,
                context.clone()
            )),
            for_volumes.run(shutdown, move |key| protect_volume(key, of_volumes.clone())),
        );
    });
}

/// The finalizer of a protected object: there while it is wanted or used, gone once it may go.
fn plan<K: ResourceExt>(object: &K, finalizer: &str, is_used: bool) -> Option<serde_json::Value> {
    if object.meta().deletion_timestamp.is_none() {
        finalizers::add(object.finalizers(), finalizer)
    } else if is_used {
        None
    } else {
        finalizers::remove(object.finalizers(), finalizer)
    }
}

/// A pod that never got a node, or has ended, does not use its claims.
fn uses(pod: &Pod) -> bool {
    state::node(pod).is_some() && !state::is_terminal(pod)
}

async fn protect_claim(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let informer = &context.watches.claims;
    let Some(claim) = informer.cache().get(&key) else {
        return Ok(None);
    };
    let pods = context
        .watches
        .pods
        .cache()
        .by_index(BY_CLAIM, &index_value(Some(&key.namespace), &key.name));
    let is_used = pods.iter().any(|pod| uses(pod));
    if let Some(patch) = plan(claim.as_ref(), CLAIM, is_used) {
        match context
            .claims
            .patch::<PersistentVolumeClaim>(&key, patch)
            .await
        {
            Ok(updated) => informer.note(updated),
            Err(error) if write::is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

async fn protect_volume(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let informer = &context.watches.volumes;
    let Some(volume) = informer.cache().get(&key) else {
        return Ok(None);
    };
    let is_used = volume
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        == Some("Bound");
    if let Some(patch) = plan(volume.as_ref(), VOLUME, is_used) {
        match context.volumes.patch::<PersistentVolume>(&key, patch).await {
            Ok(updated) => informer.note(updated),
            Err(error) if write::is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claim(metadata: Value) -> PersistentVolumeClaim {
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    #[test]
    fn a_claim_is_protected_from_the_start_and_let_go_when_unused() {
        assert!(plan(&claim(json!({"name": "a"})), CLAIM, false).is_some());
        assert!(
            plan(
                &claim(json!({"name": "a", "finalizers": [CLAIM]})),
                CLAIM,
                false
            )
            .is_none()
        );
        let going = claim(json!({
            "name": "a", "finalizers": [CLAIM], "deletionTimestamp": "2026-01-01T00:00:00Z",
        }));
        assert!(plan(&going, CLAIM, true).is_none(), "a pod uses it");
        assert_eq!(plan(&going, CLAIM, false).unwrap()[1]["op"], "remove");
    }
}
