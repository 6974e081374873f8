//! What the node knows about a pod: one record per pod, written beside its logs, so that a restarted server goes on
//! where the last one was. The record says what happened; what to do next is `plan`'s.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use super::backoff::Backoff;

/// Everything that happened to a pod on this node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodRecord {
    /// When the node took the pod up.
    pub started_at: Option<Timestamp>,
    /// The pod's address.
    pub pod_ip: Option<IpAddr>,
    /// The namespaces of the pod exist.
    pub has_sandbox: bool,
    /// Why the pod as a whole failed, whatever its containers did.
    pub verdict: Option<Verdict>,
    /// By name; init containers and app containers share one space of names.
    pub containers: BTreeMap<String, ContainerRecord>,
}

/// A failure of the whole pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// One word, as in `status.reason`.
    pub reason: String,
    /// A sentence, as in `status.message`.
    pub message: String,
}

/// Everything that happened to one container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerRecord {
    /// How often it was started again.
    pub restarts: u32,
    /// Where it is now.
    pub state: State,
    /// How its previous run ended.
    pub last: Option<Finished>,
    /// What its image was resolved to.
    pub image_id: String,
    /// It runs and its startup probe, if any, has succeeded.
    pub is_started: bool,
    /// Its readiness probe, if any, succeeds.
    pub is_ready: bool,
    /// It was asked to end.
    pub is_stopping: bool,
    /// How long the next restart waits.
    pub backoff: Backoff,
}

/// Where a container is in its life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not running, and why.
    Waiting {
        /// One word; empty until there is something to say.
        reason: String,
        /// A sentence, or empty.
        message: String,
        /// When to try again; none means at once.
        retry_at: Option<Timestamp>,
    },
    /// Its start is under way.
    Starting,
    /// It runs.
    Running {
        /// The run's own identifier.
        id: String,
        /// When it was started.
        started_at: Timestamp,
    },
    /// It ended and was not started again.
    Finished(Finished),
}

impl Default for State {
    fn default() -> Self {
        Self::waiting("", "")
    }
}

impl State {
    /// Waiting, with the next try as soon as the plan allows it.
    pub fn waiting(reason: &str, message: &str) -> Self {
        Self::Waiting {
            reason: reason.to_owned(),
            message: message.to_owned(),
            retry_at: None,
        }
    }
}

/// How a run of a container ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// The run's own identifier.
    pub id: String,
    /// 128 + signal where a signal ended it.
    pub exit_code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// `Completed`, `Error`, `OOMKilled`, …
    pub reason: String,
    /// What the container left as its termination message.
    pub message: String,
    /// When it was started.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
}

impl PodRecord {
    /// The record of a container, empty if nothing happened to it yet.
    pub fn container(&self, name: &str) -> ContainerRecord {
        self.containers.get(name).cloned().unwrap_or_default()
    }

    /// The record of a container, made if absent.
    pub fn container_mut(&mut self, name: &str) -> &mut ContainerRecord {
        self.containers.entry(name.to_owned()).or_default()
    }

    /// Some app container was started at least once, so the init containers are behind us.
    pub fn was_initialized(&self, pod: &Pod) -> bool {
        app_containers(pod).iter().any(|container| {
            self.containers
                .get(&container.name)
                .is_some_and(|r| r.was_begun())
        })
    }
}

impl ContainerRecord {
    /// A start was tried at least once.
    pub fn was_begun(&self) -> bool {
        self.last.is_some()
            || !matches!(&self.state, State::Waiting { reason, .. } if reason.is_empty())
    }

    /// It runs or is about to.
    pub fn is_alive(&self) -> bool {
        matches!(self.state, State::Running { .. } | State::Starting)
    }

    /// Moves on to the next run: what ended becomes `last`, and the next restart will wait longer.
    pub fn begin(&mut self, now: Timestamp) {
        if let State::Finished(finished) = std::mem::take(&mut self.state) {
            self.last = Some(finished);
        }
        if self.last.is_some() && self.last_run_is_uncounted() {
            self.restarts += 1;
            self.backoff = self.backoff.after_restart(now);
        }
        self.state = State::Starting;
        self.is_started = false;
        self.is_ready = false;
        self.is_stopping = false;
    }

    /// Restarts as clients count them: one that is still being made does not count yet, so that whoever waits for it finds
    /// the container running.
    pub fn restarts_done(&self) -> u32 {
        match (&self.state, &self.last) {
            (State::Starting, Some(last)) => run_number(&last.id).unwrap_or(self.restarts),
            _ => self.restarts,
        }
    }

    /// A failed start is repeated under the same restart number; only a run that ended counts.
    fn last_run_is_uncounted(&self) -> bool {
        self.last
            .as_ref()
            .is_some_and(|last| run_number(&last.id) == Some(self.restarts))
    }

    /// Notes that the run `id` began.
    pub fn run(&mut self, id: String, now: Timestamp) {
        self.state = State::Running {
            id,
            started_at: now,
        };
    }

    /// Notes how the current run ended.
    pub fn finish(&mut self, finished: Finished) {
        self.state = State::Finished(finished);
        self.is_started = false;
        self.is_ready = false;
        self.is_stopping = false;
    }

    /// Holds the next run back; the ended one becomes `last`.
    pub fn hold(&mut self, reason: &str, message: String, until: Timestamp) {
        if let State::Finished(finished) = std::mem::take(&mut self.state) {
            self.last = Some(finished);
        }
        self.state = State::Waiting {
            reason: reason.to_owned(),
            message,
            retry_at: Some(until),
        };
    }
}

/// The identifier of a run: the pod's uid, the container and how often it was restarted before.
pub fn run_id(pod_uid: &str, container: &str, restarts: u32) -> String {
    format!("{pod_uid}.{container}.{restarts}")
}

/// The restart number inside a run's identifier.
pub fn run_number(id: &str) -> Option<u32> {
    id.rsplit('.').next()?.parse().ok()
}

/// The app containers of a pod.
pub fn app_containers(pod: &Pod) -> &[Container] {
    pod.spec
        .as_ref()
        .map(|spec| spec.containers.as_slice())
        .unwrap_or_default()
}

/// The init containers of a pod, sidecars among them.
pub fn init_containers(pod: &Pod) -> &[Container] {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.init_containers.as_deref())
        .unwrap_or_default()
}

/// An init container that keeps running beside the app containers.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The time that API objects carry: whole seconds.
pub fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// A time as API objects carry it. (The API's types use a time library of their own.)
pub fn api_time(time: Timestamp) -> Time {
    Time(k8s_openapi::jiff::Timestamp::from_second(time.as_second()).unwrap_or_default())
}

/// `time` plus some seconds, saturating.
pub fn seconds_after(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn finished(id: &str, exit_code: i32) -> Finished {
        Finished {
            id: id.into(),
            exit_code,
            signal: None,
            reason: String::new(),
            message: String::new(),
            started_at: None,
            finished_at: at(5),
        }
    }

    #[test]
    fn a_run_that_ended_counts_as_one_restart_however_often_its_successor_fails_to_start() {
        let mut record = ContainerRecord::default();
        record.begin(at(0));
        record.run(run_id("u", "c", 0), at(1));
        record.finish(finished("u.c.0", 1));
        record.begin(at(6));
        assert_eq!(record.restarts, 1);
        record.hold("ErrImagePull", String::new(), at(16));
        record.begin(at(16));
        assert_eq!(record.restarts, 1);
        assert_eq!(
            record.last.as_ref().map(|last| last.id.as_str()),
            Some("u.c.0")
        );
    }

    #[test]
    fn a_restart_counts_for_clients_once_the_container_runs_again() {
        let mut record = ContainerRecord::default();
        record.begin(at(0));
        record.run(run_id("u", "c", 0), at(1));
        record.finish(finished("u.c.0", 1));
        record.begin(at(6));
        assert_eq!(record.restarts_done(), 0);
        record.run(run_id("u", "c", 1), at(7));
        assert_eq!(record.restarts_done(), 1);
    }

    #[test]
    fn a_record_survives_being_written_and_read() {
        let mut record = PodRecord::default();
        record.container_mut("c").run("u.c.0".into(), at(1));
        record.container_mut("d").finish(finished("u.d.0", 3));
        let text = serde_json::to_string(&record).expect("a text");
        assert_eq!(
            serde_json::from_str::<PodRecord>(&text).expect("a record"),
            record
        );
    }
}
