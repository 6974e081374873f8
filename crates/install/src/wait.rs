//! Waits for Deployments by watching them, and says what each still waits for.

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};

use crate::Error;

/// How far one Deployment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It waits for this.
    Waiting(String),
    /// Every replica is ready.
    Ready,
}

/// Watches the Deployment until it is ready; `report` hears of every change on the way.
///
/// # Errors
/// [`Error::NotReady`] when the watch ends before that.
pub async fn until_ready(
    client: &Client,
    namespace: &str,
    name: &str,
    report: &dyn Fn(Progress),
) -> Result<(), Error> {
    let api = Api::<Deployment>::namespaced(client.clone(), namespace);
    let selected = watcher::Config::default()
        .fields(&format!("metadata.name={name}"))
        .streaming_lists();
    let mut events = std::pin::pin!(kube::runtime::watcher(api, selected));
    while let Some(event) = events.next().await {
        let deployment = match event {
            Ok(Event::Apply(deployment) | Event::InitApply(deployment)) => deployment,
            Ok(Event::Delete(_)) => {
                return Err(Error::NotReady {
                    component: name.to_owned(),
                    cause: "it was deleted".to_owned(),
                });
            }
            Ok(Event::Init | Event::InitDone) => continue,
            // The watcher backs off and lists again by itself.
            Err(error) => {
                report(Progress::Waiting(format!("watching failed: {error}")));
                continue;
            }
        };
        match judge(&deployment) {
            Progress::Ready => {
                report(Progress::Ready);
                return Ok(());
            }
            Progress::Waiting(what) => {
                let cause = pod_cause(client, namespace, name).await.unwrap_or(what);
                report(Progress::Waiting(cause));
            }
        }
    }
    Err(Error::NotReady {
        component: name.to_owned(),
        cause: "the watch ended".to_owned(),
    })
}

/// What the Deployment's own status says.
pub fn judge(deployment: &Deployment) -> Progress {
    let wanted = deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1);
    let Some(status) = &deployment.status else {
        return Progress::Waiting("its controller".to_owned());
    };
    if status.observed_generation.unwrap_or_default()
        < deployment.metadata.generation.unwrap_or_default()
    {
        return Progress::Waiting("its controller".to_owned());
    }
    let ready = status.ready_replicas.unwrap_or_default();
    let updated = status.updated_replicas.unwrap_or_default();
    if ready >= wanted && updated >= wanted {
        Progress::Ready
    } else {
        Progress::Waiting(format!("{ready} of {wanted} pods ready"))
    }
}

/// What the Deployment's pods wait for, in the words of their status.
async fn pod_cause(client: &Client, namespace: &str, name: &str) -> Option<String> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace)
        .list(&ListParams::default().labels(&format!("app={name}")))
        .await
        .ok()?;
    pods.items.iter().find_map(|pod| {
        let status = pod.status.as_ref()?;
        let waiting = status
            .container_statuses
            .iter()
            .flatten()
            .find_map(|container| {
                let waiting = container.state.as_ref()?.waiting.as_ref()?;
                let reason = waiting.reason.clone().unwrap_or_default();
                (reason != "ContainerCreating")
                    .then(|| [reason, waiting.message.clone().unwrap_or_default()].join(" "))
            });
        waiting.or_else(|| {
            let condition = status.conditions.iter().flatten().find(|condition| {
                condition.type_ == "PodScheduled" && condition.status == "False"
            })?;
            condition.message.clone()
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(status: serde_json::Value) -> Deployment {
        let object = json!({ "metadata": { "generation": 2 }, "spec": { "replicas": 1, "selector": {}, "template": {} }, "status": status });
        serde_json::from_value(object).expect("a valid Deployment")
    }

    #[test]
    fn a_status_of_an_older_generation_does_not_count() {
        let old = deployment(
            json!({ "observedGeneration": 1, "readyReplicas": 1, "updatedReplicas": 1 }),
        );
        assert_eq!(judge(&old), Progress::Waiting("its controller".to_owned()));
    }

    #[test]
    fn all_replicas_must_be_ready_and_new() {
        let half = deployment(json!({ "observedGeneration": 2, "readyReplicas": 1 }));
        assert_eq!(
            judge(&half),
            Progress::Waiting("1 of 1 pods ready".to_owned())
        );
        let whole = deployment(
            json!({ "observedGeneration": 2, "readyReplicas": 1, "updatedReplicas": 1 }),
        );
        assert_eq!(judge(&whole), Progress::Ready);
    }
}
