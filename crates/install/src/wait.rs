//! Waits for a component by watching its pods, and says what it still waits for. What cannot become ready by itself
//! ends the wait with its cause: a second crash at once, any other trouble when it has lasted. The way to the pod, its
//! Service, is waited for in `service`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Event as Told, Pod};
use kube::api::ListParams;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};

use crate::{Error, service};

/// How long trouble may last that is no crash; a slow machine is not in trouble.
const PATIENCE: Duration = Duration::from_secs(60);
/// A pod that is silent for this long is asked about in the events of its namespace.
const SILENCE: Duration = Duration::from_secs(5);

/// How far one component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It waits for this.
    Waiting(String),
    /// This is wrong; it is still tried.
    Troubled(String),
    /// A pod of it is ready.
    Ready,
}

/// Watches the pods labelled `app=<name>` until one is ready whose containers all started at `since` or later: after a
/// crash of everything the API still holds what was true before. Then waits until the Service of that name, if there is
/// one, leads to that pod. `report` hears of every change on the way.
///
/// # Errors
/// [`Error::NotReady`] when it cannot become ready by itself.
pub async fn until_ready(
    client: &Client,
    namespace: &str,
    name: &str,
    since: Timestamp,
    report: &dyn Fn(Progress),
) -> Result<(), Error> {
    let not_ready = |cause: String| Error::NotReady {
        component: name.to_owned(),
        cause,
    };
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let selected = watcher::Config::default()
        .labels(&format!("app={name}"))
        .streaming_lists();
    let mut events = std::pin::pin!(kube::runtime::watcher(api, selected));
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    let mut heard = Instant::now();
    let mut trouble: Option<Instant> = None;
    let mut crashes = BTreeSet::new();
    loop {
        let progress = tokio::select! {
            event = events.next() => match event {
                Some(Ok(Event::Apply(pod) | Event::InitApply(pod))) => {
                    heard = Instant::now();
                    crashes.extend(crashed(&pod, since));
                    let progress = judge(&pod, since);
                    if progress == Progress::Ready {
                        report(Progress::Waiting("its Service".to_owned()));
                        let address = pod.status.and_then(|status| status.pod_ip);
                        let leads = service::leads_to(client, namespace, name, address);
                        if tokio::time::timeout(PATIENCE, leads).await.is_err() {
                            return Err(not_ready("its Service does not lead to it".to_owned()));
                        }
                    }
                    progress
                }
                Some(Ok(Event::Delete(_) | Event::Init | Event::InitDone)) => continue,
                // The watcher backs off and lists again by itself.
                Some(Err(error)) => Progress::Troubled(format!("watching failed: {error}")),
                None => return Err(not_ready("the watch ended".to_owned())),
            },
            _ = clock.tick() => {
                if trouble.is_none() && heard.elapsed() < SILENCE {
                    continue;
                }
                match warning(client, namespace, name, since).await {
                    Some(warning) => Progress::Troubled(warning),
                    None => continue,
                }
            }
        };
        report(progress.clone());
        match progress {
            Progress::Ready => return Ok(()),
            Progress::Waiting(_) => trouble = None,
            Progress::Troubled(cause) => {
                let began = *trouble.get_or_insert_with(Instant::now);
                if crashes.len() > 1 || began.elapsed() > PATIENCE {
                    return Err(not_ready(cause));
                }
            }
        }
    }
}

/// The newest warning about an object of the component: what no pod can say of itself, such as a volume that
/// cannot be mounted or a pod that cannot be made.
async fn warning(client: &Client, namespace: &str, name: &str, since: Timestamp) -> Option<String> {
    let told = Api::<Told>::namespaced(client.clone(), namespace)
        .list(&ListParams::default().fields("type=Warning"))
        .await
        .ok()?;
    let moment = |event: &Told| {
        let last = event.last_timestamp.as_ref().map(|time| time.0.as_second());
        last.or(event.event_time.as_ref().map(|time| time.0.as_second()))
    };
    told.items
        .into_iter()
        .filter(|event| {
            let about = event.involved_object.name.as_deref().unwrap_or_default();
            about.starts_with(name)
                && moment(event).is_some_and(|moment| moment >= since.as_second())
        })
        .max_by_key(|event| moment(event))
        .and_then(|event| event.message)
}

/// How the containers of `pod` crashed since `since`, each crash told from the others.
fn crashed(pod: &Pod, since: Timestamp) -> Vec<String> {
    let statuses = pod.status.iter().flat_map(|status| {
        let containers = status.container_statuses.iter().flatten();
        containers.chain(status.init_container_statuses.iter().flatten())
    });
    statuses
        .flat_map(|container| [&container.state, &container.last_state])
        .filter_map(|state| state.as_ref()?.terminated.as_ref())
        .filter(|end| end.exit_code != 0)
        .filter_map(|end| {
            let finished = end.finished_at.as_ref()?.0;
            let id = end.container_id.as_deref().unwrap_or_default();
            (finished.as_second() >= since.as_second()).then(|| format!("{id} {finished}"))
        })
        .collect()
}

/// Why a container ended, in its own words where it left some.
fn cause(end: &ContainerStateTerminated) -> String {
    let said = end.message.as_deref().unwrap_or_default().trim();
    if said.is_empty() {
        format!("it ended with exit code {}", end.exit_code)
    } else {
        said.to_owned()
    }
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
        let message = unscheduled.message.as_deref().unwrap_or("no node takes it");
        return Progress::Troubled(message.to_owned());
    }
    let crash = containers().find_map(|container| {
        let now = container.state.as_ref()?;
        let before = || container.last_state.as_ref()?.terminated.as_ref();
        let is_backing_off = now
            .waiting
            .as_ref()
            .is_some_and(|state| state.reason.as_deref() == Some("CrashLoopBackOff"));
        let end = match &now.terminated {
            Some(end) => Some(end),
            None if is_backing_off => before(),
            None => None,
        };
        end.filter(|end| end.exit_code != 0).map(cause)
    });
    if let Some(cause) = crash {
        return Progress::Troubled(cause);
    }
    let troubled = containers().find_map(|container| {
        let state = container.state.as_ref()?.waiting.as_ref()?;
        let reason = state.reason.as_deref().unwrap_or_default();
        let message = state.message.as_deref().unwrap_or_default();
        let is_usual = matches!(reason, "" | "ContainerCreating" | "PodInitializing");
        (!is_usual).then(|| format!("{reason} {message}"))
    });
    if let Some(trouble) = troubled {
        return Progress::Troubled(trouble);
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
    fn the_cause_of_a_pending_pod_is_the_schedulers() {
        let object = json!({ "status": { "conditions": [{ "type": "PodScheduled", "status": "False", "message": "no room" }] } });
        let pending: Pod = serde_json::from_value(object).expect("a valid Pod");
        assert_eq!(
            judge(&pending, since()),
            Progress::Troubled("no room".to_owned())
        );
    }

    #[test]
    fn a_component_that_crashed_says_why_in_its_own_words_and_each_crash_counts_once() {
        let end = json!({ "exitCode": 1, "message": "the database is damaged", "containerID": "x.1", "finishedAt": "2026-01-01T00:00:11Z" });
        let object = json!({ "status": { "containerStatuses": [{
            "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 1,
            "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off" } },
            "lastState": { "terminated": end },
        }] } });
        let pod: Pod = serde_json::from_value(object).expect("a valid Pod");
        assert_eq!(
            judge(&pod, since()),
            Progress::Troubled("the database is damaged".to_owned())
        );
        let once: BTreeSet<String> = crashed(&pod, since()).into_iter().collect();
        let twice: BTreeSet<String> = crashed(&pod, since())
            .into_iter()
            .chain(once.clone())
            .collect();
        assert_eq!((once.len(), &once), (1, &twice));
        let later = "2026-01-01T00:01:00Z".parse().expect("a moment");
        assert_eq!(crashed(&pod, later), Vec::<String>::new());
    }
}
