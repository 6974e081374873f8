//! `/step`: what a step may do with artifacts that lie in an object store, so that no step has the key to it. The token
//! of its pod says which step asks, and no path names another: it reads the inputs that the engine gave it, and writes
//! below the folder of its own attempt, while it runs.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use artifacts::{Key, Store};
use bytes::Bytes;
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api as KubeApi, ResourceExt as _};

use super::{Api, ApiError, Caller, Code};
use crate::pods::marks;

pub mod describe;
pub mod inputs;
pub mod outputs;
pub mod report;

/// How long a pod that was looked at is taken to run on.
const MEMORY: Duration = Duration::from_secs(3);
/// Largest file that says what a step is to do.
const STEP_LIMIT_BYTES: usize = 64 * 1024 * 1024;

/// Running steps, by the uid of their pods: when each was looked at, and the folder of its attempt.
#[derive(Default)]
pub struct Running(Mutex<HashMap<String, (Instant, String)>>);

/// A step that asks.
pub struct Step {
    /// URI of its attempt's folder.
    folder: String,
}

impl Step {
    /// The step that a caller is, while it runs.
    pub async fn of(api: &Api, caller: &Caller) -> Result<Self, ApiError> {
        let refuse = |why: &str| Err(ApiError::new(Code::PermissionDenied, why));
        let account = format!("system:serviceaccount:{}:", api.namespace);
        let (Some(bound), true) = (&caller.pod, caller.user.starts_with(&account)) else {
            return refuse("only a step may ask for this, with the token of its own pod");
        };
        if let Some(folder) = api.steps.recall(&bound.uid) {
            return Ok(Self { folder });
        }
        let Some(client) = &api.client else {
            return refuse("steps are not known here");
        };
        let pods: KubeApi<Pod> = KubeApi::namespaced(client.clone(), &api.namespace);
        let found = pods.get_opt(&bound.name).await.map_err(|problem| {
            tracing::warn!(
                error = &problem as &dyn std::error::Error,
                "could not look at the pod of a step"
            );
            ApiError::new(Code::Unavailable, "the Kubernetes API did not answer")
        })?;
        let Some(pod) = found.filter(|pod| pod.uid().as_deref() == Some(&bound.uid)) else {
            return refuse("the step's pod is gone");
        };
        if has_ended(&pod) {
            return refuse("the step has ended");
        }
        // Written by the engine; what users say about their pods never replaces it.
        let log = pod.annotations().get(marks::LOG);
        let is_step = pod.labels().get(marks::COMPONENT).is_some();
        match log.and_then(|log| log.rsplit_once('/')) {
            Some((folder, _)) if is_step => {
                api.steps.remember(bound.uid.clone(), folder.to_owned());
                Ok(Self {
                    folder: folder.to_owned(),
                })
            }
            _ => refuse("the pod is not that of a step"),
        }
    }

    /// The store and key of something below the attempt's folder.
    fn own<'a>(&self, api: &'a Api, below: &str) -> Result<(&'a Store, Key), ApiError> {
        let (store, folder) = api.stores.resolve(&self.folder)?;
        Ok((store, folder.join(below)?))
    }

    /// What the launcher is told, as it was written for it.
    async fn told(&self, api: &Api) -> Result<Bytes, ApiError> {
        let (store, key) = self.own(api, ".step/step.json")?;
        let mut chunks = store.read(&key).await?;
        let mut text = Vec::new();
        while let Some(chunk) = chunks.try_next().await? {
            text.extend(chunk);
            if text.len() > STEP_LIMIT_BYTES {
                return Err(ApiError::invalid("the step's description is too large"));
            }
        }
        Ok(text.into())
    }
}

fn has_ended(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let main = status
        .and_then(|status| status.container_statuses.as_ref())
        .and_then(|all| all.iter().find(|container| container.name == "main"));
    let phase = status.and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
        || main
            .and_then(|main| main.state.as_ref())
            .is_some_and(|state| state.terminated.is_some())
}

impl Running {
    fn recall(&self, uid: &str) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, folder) = known
            .get(uid)
            .filter(|(since, _)| since.elapsed() < MEMORY)?;
        Some(folder.clone())
    }

    fn remember(&self, uid: String, folder: String) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (since, _)| since.elapsed() < MEMORY);
        known.insert(uid, (Instant::now(), folder));
    }
}
