//! Waits for a component by watching its pods, and its Service's way to them, and says what it still waits for.

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};

use crate::Error;

/// How far one component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It waits for this.
    Waiting(String),
    /// A pod of it is ready.
    Ready,
}

/// Watches the pods labelled `app=<name>` until one is ready whose containers all started at `since` or later: after a
/// crash of everything the API still holds what was true before. Then waits until the Service of that name, if there is
/// one, leads to that pod: before, it may lead to the address of a pod that is gone, which another has by now. `report`
/// hears of every change on the way.
///
/// # Errors
/// [`Error::NotReady`] when the watch ends before that.
pub async fn until_ready(
    client: &Client,
    namespace: &str,
    name: &str,
    since: Timestamp,
    report: &dyn Fn(Progress),
) -> Result<(), Error> {
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let selected = watcher::Config::default()
        .labels(&format!("app={name}"))
        .streaming_lists();
    let mut events = std::pin::pin!(kube::runtime::watcher(api, selected));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => {
                let progress = judge(&pod, since);
                if progress == Progress::Ready {
                    let address = pod.status.and_then(|status| status.pod_ip);
                    leads_to(
                        client,
                        namespace,
                        name,
                        &address.unwrap_or_default(),
                        report,
                    )
                    .await?;
                    report(progress);
                    return Ok(());
                }
                report(progress);
            }
            Ok(Event::Delete(_) | Event::Init | Event::InitDone) => {}
            // The watcher backs off and lists again by itself.
            Err(error) => report(Progress::Waiting(format!("watching failed: {error}"))),
        }
    }
    Err(watch_ended(name))
}

fn watch_ended(name: &str) -> Error {
    Error::NotReady {
        component: name.to_owned(),
        cause: "the watch ended".to_owned(),
    }
}

/// Waits until the Service called `name` leads to `address`; one that does not exist leads nowhere.
async fn leads_to(
    client: &Client,
    namespace: &str,
    name: &str,
    address: &str,
    report: &dyn Fn(Progress),
) -> Result<(), Error> {
    let services = Api::<Service>::namespaced(client.clone(), namespace);
    if matches!(services.get_opt(name).await, Ok(None)) {
        return Ok(());
    }
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), namespace);
    let selected = watcher::Config::default()
        .labels(&format!("kubernetes.io/service-name={name}"))
        .streaming_lists();
    let mut events = std::pin::pin!(kube::runtime::watcher(slices, selected));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(slice) | Event::InitApply(slice)) if names(&slice, address) => {
                return Ok(());
            }
            Ok(_) => report(Progress::Waiting("its Service".to_owned())),
            Err(error) => report(Progress::Waiting(format!("watching failed: {error}"))),
        }
    }
    Err(watch_ended(name))
}

/// Whether a slice sends requests to `address`.
fn names(slice: &EndpointSlice, address: &str) -> bool {
    slice.endpoints.iter().any(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        endpoint.addresses.iter().any(|known| known == address)
            && conditions.and_then(|conditions| conditions.ready) != Some(false)
    })
}

/// What the pod's own status says.
pub fn judge(pod: &Pod, since: Timestamp) -> Progress {
    let waiting = |text: &str| Progress::Waiting(text.to_owned());
    let Some(status) = &pod.status else {
        return waiting("its pod");
    };
    let conditions = || status.conditions.iter().flatten();
    let containers = || status.container_statuses.iter().flatten();
    if let Some(unscheduled) = conditions()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
    {
        return waiting(unscheduled.message.as_deref().unwrap_or("a node"));
    }
    let troubled = containers().find_map(|container| {
        let state = container.state.as_ref()?.waiting.as_ref()?;
        let reason = state.reason.as_deref().unwrap_or_default();
        let message = state.message.as_deref().unwrap_or_default();
        (reason != "ContainerCreating").then(|| format!("{reason} {message}"))
    });
    if let Some(trouble) = troubled {
        return Progress::Waiting(trouble);
    }
    let is_fresh = containers().all(|container| {
        let running = container
            .state
            .as_ref()
            .and_then(|state| state.running.as_ref());
        let started = running.and_then(|running| running.started_at.as_ref());
        // Kubernetes writes whole seconds.
        started.is_some_and(|started| started.0.as_second() >= since.as_second())
    });
    let is_ready = conditions()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        && pod.metadata.deletion_timestamp.is_none();
    match (is_fresh, is_ready) {
        (true, true) => Progress::Ready,
        (true, false) => waiting("its pod to answer"),
        (false, _) => waiting("its pod to start"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(ready: &str, started: &str) -> Pod {
        let object = json!({ "status": {
            "conditions": [{ "type": "Ready", "status": ready }],
            "containerStatuses": [{ "name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": { "running": { "startedAt": started } } }],
        } });
        serde_json::from_value(object).expect("a valid Pod")
    }

    fn since() -> Timestamp {
        "2026-01-01T00:00:10.7Z".parse().expect("a moment")
    }

    #[test]
    fn a_pod_that_was_ready_before_the_start_does_not_count() {
        let old = pod("True", "2026-01-01T00:00:09Z");
        assert_eq!(
            judge(&old, since()),
            Progress::Waiting("its pod to start".to_owned())
        );
        assert_eq!(
            judge(&pod("True", "2026-01-01T00:00:10Z"), since()),
            Progress::Ready
        );
    }

    #[test]
    fn a_started_pod_must_answer_too() {
        let half = pod("False", "2026-01-01T00:00:12Z");
        assert_eq!(
            judge(&half, since()),
            Progress::Waiting("its pod to answer".to_owned())
        );
    }

    #[test]
    fn a_service_that_still_leads_to_the_last_pods_address_does_not_count() {
        let slice = |address: &str, ready: bool| {
            let object = json!({"addressType": "IPv4", "endpoints": [{"addresses": [address], "conditions": {"ready": ready}}]});
            serde_json::from_value(object).expect("a valid EndpointSlice")
        };
        assert!(!names(&slice("10.1.0.2", true), "10.1.0.3"));
        assert!(!names(&slice("10.1.0.3", false), "10.1.0.3"));
        assert!(names(&slice("10.1.0.3", true), "10.1.0.3"));
    }

    #[test]
    fn the_cause_of_a_pending_pod_is_the_schedulers() {
        let object = json!({ "status": { "conditions": [{ "type": "PodScheduled", "status": "False", "message": "no room" }] } });
        let pending: Pod = serde_json::from_value(object).expect("a valid Pod");
        assert_eq!(
            judge(&pending, since()),
            Progress::Waiting("no room".to_owned())
        );
    }
}
