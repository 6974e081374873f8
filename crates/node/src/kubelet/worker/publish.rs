//! Telling the API: the pod's status whenever it changed, and that a deleted pod has ended.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::{Value, json};

use super::sandbox::Sandbox;
use super::{API_RETRY_S, Worker};
use crate::kubelet::Known;
use crate::kubelet::record::{State, seconds_after};
use crate::kubelet::status::status;

impl Worker {
    /// Writes record and status if they say something new.
    pub(super) async fn publish(&mut self) {
        // A pod that was over before this server began, and of which nothing is known here, says it better itself.
        if self.published == Some(Value::Null) {
            return;
        }
        let computed = status(
            &self.pod,
            &self.record,
            self.ctx.node.host_ip,
            Timestamp::now(),
        );
        let mut value = serde_json::to_value(&computed).unwrap_or_default();
        // A strategic merge keeps what is not mentioned.
        say_what_is_gone(&mut value);
        let conditions = value.get_mut("conditions").and_then(Value::as_array_mut);
        conditions.into_iter().flatten().for_each(say_what_is_gone);
        self.tell_index(&computed);
        if self.published.as_ref() == Some(&value) && !self.is_unpublished {
            return;
        }
        self.write_record();
        if self.is_gone {
            return;
        }
        tracing::debug!(
            pod = self.pod.name_any(),
            phase = computed.phase,
            "publishing"
        );
        let patch = patch(&self.uid(), &value);
        let answer = self
            .api()
            .patch_status(
                &self.pod.name_any(),
                &PatchParams::default(),
                &Patch::Strategic(&patch),
            )
            .await;
        tracing::debug!(
            pod = self.pod.name_any(),
            phase = computed.phase,
            "published"
        );
        self.is_unpublished = false;
        match answer {
            Ok(_) => self.published = Some(value),
            Err(kube::Error::Api(answer)) if answer.code == 404 || answer.code == 409 => {
                // Gone, or replaced by another pod of this name: the watch will say so.
                self.published = Some(value);
            }
            Err(error) => {
                tracing::warn!(error = %error, pod = self.pod.name_any(), "publishing a pod's status failed");
                self.is_unpublished = true;
                self.wake(seconds_after(Timestamp::now(), API_RETRY_S));
            }
        }
    }

    /// Notes on disk what is known of the pod, for a server that comes after this one.
    pub(super) fn write_record(&self) {
        if self.folder.path().exists()
            && let Err(error) = self.folder.write(&self.uid(), &self.record)
        {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                pod = self.pod.name_any(),
                "writing a pod's record failed"
            );
        }
    }

    /// A deleted pod whose containers have ended may go.
    pub(super) async fn confirm_deletion(&mut self) {
        if self.deletion_is_confirmed
            || self.pod.metadata.deletion_timestamp.is_none()
            || self.is_unpublished
        {
            return;
        }
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions {
                uid: self.pod.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.api().delete(&self.pod.name_any(), &parameters).await {
            Ok(_) => self.deletion_is_confirmed = true,
            Err(kube::Error::Api(answer)) if answer.code == 404 || answer.code == 409 => {
                self.deletion_is_confirmed = true
            }
            Err(error) => {
                tracing::warn!(error = %error, pod = self.pod.name_any(), "confirming a pod's deletion failed");
                self.wake(seconds_after(Timestamp::now(), API_RETRY_S));
            }
        }
    }

    fn api(&self) -> Api<Pod> {
        Api::namespaced(
            self.ctx.client.clone(),
            &self.pod.namespace().unwrap_or_default(),
        )
    }

    fn tell_index(&self, computed: &k8s_openapi::api::core::v1::PodStatus) {
        let mut pod = (*self.pod).clone();
        pod.status = Some(computed.clone());
        let runs = self
            .record
            .containers
            .iter()
            .filter(|(_, own)| own.was_begun())
            .map(|(name, own)| {
                let is_running = matches!(own.state, State::Running { .. });
                // A run that has not begun yet has no log; the one before it does.
                let number = match (&own.state, &own.last) {
                    (State::Running { .. } | State::Finished(_), _) | (_, None) => own.restarts,
                    (_, Some(last)) => {
                        crate::kubelet::record::run_number(&last.id).unwrap_or(own.restarts)
                    }
                };
                (name.clone(), (number, is_running))
            })
            .collect();
        let known = Known {
            pod: Arc::new(pod),
            folder: self.folder.clone(),
            shim: match &self.sandbox {
                Some(Sandbox::Processes(pod)) => Some(pod.clone()),
                _ => None,
            },
            runs,
            ip: self.record.pod_ip,
        };
        self.ctx.pods.set(
            &self.pod.namespace().unwrap_or_default(),
            &self.pod.name_any(),
            known,
        );
    }
}

/// Reason and message that no longer hold.
fn say_what_is_gone(said: &mut Value) {
    for field in ["reason", "message"] {
        if said.get(field).is_none() {
            said[field] = Value::Null;
        }
    }
}

/// The patch that makes a pod's status say this. Addresses are merged by what they are, so without a word the pod would
/// keep those it had before the node restarted, and Services would lead to whoever has them now.
fn patch(uid: &str, status: &Value) -> Value {
    let mut patch = json!({"metadata": {"uid": uid}, "status": status});
    for addresses in ["podIPs", "hostIPs"] {
        if let Some(list) = patch["status"]
            .get_mut(addresses)
            .and_then(Value::as_array_mut)
        {
            list.insert(0, json!({"$patch": "replace"}));
        }
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_holds_again_loses_the_reason_why_it_did_not() {
        let mut condition = json!({"type": "Ready", "status": "True"});
        say_what_is_gone(&mut condition);
        assert_eq!(
            condition,
            json!({"type": "Ready", "status": "True", "reason": null, "message": null})
        );
    }

    #[test]
    fn addresses_replace_those_of_before() {
        let status = json!({"podIP": "10.1.0.3", "podIPs": [{"ip": "10.1.0.3"}]});
        assert_eq!(
            patch("u", &status)["status"],
            json!({"podIP": "10.1.0.3", "podIPs": [{"$patch": "replace"}, {"ip": "10.1.0.3"}]})
        );
    }
}
