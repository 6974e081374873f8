//! The scheduler's writes: bindings, the claims that have to be provisioned first, and what is said about pods that
//! fit nowhere.

use std::sync::Arc;
use std::time::Duration;

use control::{Key, Recorder, Writer};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;
use tokio::sync::watch;

use super::placement::Placement;
use super::volumes::{self, SELECTED_NODE};
use crate::pods::state;
use crate::watches::Watches;

/// As long as kube-scheduler waits for volumes.
const VOLUME_TIMEOUT: Duration = Duration::from_secs(600);

/// Why a binding did not come about.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server refused a write.
    #[error("binding was refused")]
    Refused(#[source] kube::Error),
    /// A volume could not be made for the node that was chosen.
    #[error("claim {0} was not provisioned for the node")]
    NotProvisioned(String),
}

/// What binding needs.
pub struct Binder {
    /// Writes as the scheduler.
    pub writer: Writer,
    /// Records as the scheduler.
    pub recorder: Recorder,
    /// Claims are waited for here.
    pub watches: Arc<Watches>,
    /// Changes whenever a claim does.
    pub claims_changed: watch::Receiver<u64>,
}

impl Binder {
    /// Has the pod's claims provisioned for the node, then binds the pod to it.
    pub async fn bind(
        &self,
        pod: &Pod,
        placement: &Placement,
        waiting: &[Arc<PersistentVolumeClaim>],
    ) -> Result<(), Error> {
        for claim in waiting {
            self.provision(claim, &placement.node).await?;
        }
        let key = Key::of(pod);
        let body = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {
                "name": key.name,
                "namespace": key.namespace,
                "uid": pod.uid(),
                "annotations": placement.fallback.annotations(),
            },
            "target": {"apiVersion": "v1", "kind": "Node", "name": placement.node},
        });
        self.writer
            .create_subresource::<Pod>(&key, "binding", &body)
            .await
            .map_err(Error::Refused)?;
        tracing::debug!(object = %key, node = placement.node, "bound");
        self.recorder.normal(
            pod,
            "Scheduled",
            format!("Successfully assigned {key} to {}", placement.node),
        );
        for (reason, message) in placement.fallback.words() {
            self.recorder.warning(pod, reason, message);
        }
        Ok(())
    }

    async fn provision(&self, claim: &PersistentVolumeClaim, node: &str) -> Result<(), Error> {
        let key = Key::of(claim);
        if claim
            .annotations()
            .get(SELECTED_NODE)
            .is_none_or(|selected| selected != node)
        {
            let patch =
                json!({"metadata": {"uid": claim.uid(), "annotations": {SELECTED_NODE: node}}});
            let updated = self
                .writer
                .patch::<PersistentVolumeClaim>(&key, patch)
                .await
                .map_err(Error::Refused)?;
            self.watches.claims.note(updated);
        }
        let mut changed = self.claims_changed.clone();
        let wait = async {
            loop {
                changed.mark_unchanged();
                match self.watches.claims.cache().get(&key) {
                    Some(held) if volumes::is_bound(&held) => return true,
                    Some(held)
                        if held
                            .annotations()
                            .get(SELECTED_NODE)
                            .is_some_and(|held| held == node) => {}
                    // Gone, or given up on by the provisioner.
                    _ => return false,
                }
                if changed.changed().await.is_err() {
                    return false;
                }
            }
        };
        match tokio::time::timeout(VOLUME_TIMEOUT, wait).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Error::NotProvisioned(key.to_string())),
        }
    }

    /// Says on the pod and in an event why it is not scheduled, unless that is said already.
    pub async fn report(&self, pod: &Pod, reason: &str, message: &str) -> kube::Result<()> {
        let held = state::condition(pod, "PodScheduled");
        let is_said = held.is_some_and(|held| {
            held.status == "False"
                && held.reason.as_deref() == Some(reason)
                && held.message.as_deref() == Some(message)
        });
        if is_said {
            return Ok(());
        }
        let since = held
            .filter(|held| held.status == "False")
            .and_then(|held| held.last_transition_time.clone());
        let condition = json!({
            "type": "PodScheduled",
            "status": "False",
            "reason": reason,
            "message": message,
            "lastTransitionTime": since.unwrap_or(Time(Timestamp::now())),
        });
        if reason == super::UNSCHEDULABLE {
            self.recorder.warning(pod, "FailedScheduling", message);
        }
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
        match self
            .writer
            .patch_status_by_key::<Pod>(&Key::of(pod), patch)
            .await
        {
            Ok(updated) => {
                self.watches.pods.note(updated);
                Ok(())
            }
            Err(error) if control::write::is_not_found(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
