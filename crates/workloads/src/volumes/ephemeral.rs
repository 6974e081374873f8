//! Pods with ephemeral volumes get the claims those describe, owned by the pod and so gone with it.

use std::sync::Arc;

use control::{Controller, Key, Queue, Recorder, Writer, owners, write};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::pods::state;
use crate::setup::Setup;
use crate::watches::Watches;

const IDENTITY: &str = "ephemeral-volume-controller";

struct Context {
    watches: Arc<Watches>,
    writer: Writer,
    recorder: Recorder,
}

/// Starts the controller.
pub fn start(setup: &mut Setup) {
    let queue = Arc::new(Queue::default());
    let watches = setup.watches.clone();
    let wake = queue.clone();
    watches.pods.on_change(move |change| {
        if let Some(pod) = change
            .new
            .as_ref()
            .filter(|pod| state::is_active(pod) && !claims(pod).is_empty())
        {
            wake.add(Key::of(pod.as_ref()));
        }
    });
    let context = Arc::new(Context {
        writer: setup.writer(IDENTITY),
        recorder: setup.recorder(IDENTITY),
        watches: watches.clone(),
    });
    let controller = Controller {
        name: "ephemeral-volume",
        queue,
        workers: 2,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("ephemeral-volume", async move {
        watches.pods.synced().await;
        watches.claims.synced().await;
        controller
            .run(shutdown, move |key| reconcile(key, context.clone()))
            .await;
    });
}

/// Names and bodies of the claims a pod's ephemeral volumes describe.
fn claims(pod: &Pod) -> Vec<(String, Value)> {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
    let described = volumes.into_iter().flatten().filter_map(|volume| {
        let template = volume.ephemeral.as_ref()?.volume_claim_template.as_ref()?;
        let name = format!("{}-{}", pod.name_any(), volume.name);
        let metadata = template.metadata.clone().unwrap_or_default();
        let body = json!({
            "metadata": {
                "name": name,
                "labels": metadata.labels,
                "annotations": metadata.annotations,
                "ownerReferences": [owners::controller_reference(pod, "v1", "Pod")],
            },
            "spec": template.spec,
        });
        Some((name, body))
    });
    described.collect()
}

async fn reconcile(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let Some(pod) = context
        .watches
        .pods
        .cache()
        .get(&key)
        .filter(|pod| state::is_active(pod))
    else {
        return Ok(None);
    };
    for (name, body) in claims(&pod) {
        let informer = &context.watches.claims;
        if let Some(held) = informer.cache().find(&key.namespace, &name) {
            if !owners::is_controlled_by(held.as_ref(), &pod.uid().unwrap_or_default()) {
                let message = format!(
                    "PVC {}/{name} was not created for pod {key} (pod is not owner)",
                    key.namespace
                );
                context
                    .recorder
                    .warning(pod.as_ref(), "ClaimConflict", message);
            }
            continue;
        }
        match context
            .writer
            .create::<PersistentVolumeClaim>(&key.namespace, body)
            .await
        {
            Ok(claim) => informer.note(claim),
            Err(error)
                if write::is_already_exists(&error) || write::is_namespace_terminating(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ephemeral_volume_becomes_a_claim_of_the_pods_own() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {"containers": [], "volumes": [
                {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {
                    "metadata": {"labels": {"a": "b"}}, "spec": {"accessModes": ["ReadWriteOnce"]},
                }}},
                {"name": "tmp", "emptyDir": {}},
            ]},
        }))
        .unwrap();
        let claims = claims(&pod);
        assert_eq!(claims.len(), 1);
        assert_eq!(claims[0].0, "p-scratch");
        assert_eq!(claims[0].1["metadata"]["ownerReferences"][0]["uid"], "u");
        assert_eq!(claims[0].1["metadata"]["labels"], json!({"a": "b"}));
    }
}
