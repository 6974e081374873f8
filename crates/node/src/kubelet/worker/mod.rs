//! One pod's life on this node: a loop that takes in what happened, asks `plan` what to do, does it and publishes the
//! status. Slow work (starting, stopping, probing) runs beside the loop and reports back as messages, so that a
//! deletion is heard at any time.

mod end;
mod health;
mod image;
mod publish;
mod sandbox;
mod start;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::events::Kind as EventKind;
use super::folders::PodFolder;
use super::plan::{Action, plan};
use super::record::{
    Finished, PodRecord, State, Verdict, app_containers, init_containers, run_id, seconds_after,
};
use crate::probes::{self, Outcome};
use crate::shim::{ContainerPhase, ContainerRecord as ShimRecord};
use crate::volumes::Mounted;
use sandbox::Sandbox;

/// Something that happened to a pod.
pub enum Message {
    /// The API's object changed.
    Pod(Arc<Pod>),
    /// The API has no such pod any more.
    Gone,
    /// The node stops; answered when the pod's containers have ended.
    Drain(oneshot::Sender<()>),
    /// A run of a container began or ended.
    Changed(ShimRecord),
    /// The process that watches the pod's containers is gone.
    ShimGone,
    /// A container's image was resolved.
    Image {
        /// The container.
        container: String,
        /// What it was resolved to.
        id: String,
    },
    /// A container could not be started.
    StartFailed {
        /// The container.
        container: String,
        /// Which run it would have been.
        restarts: u32,
        /// Why.
        failure: start::Failure,
    },
    /// The hook after a container's start has ended.
    Hooked {
        /// The container.
        container: String,
        /// Which run.
        restarts: u32,
        /// How.
        result: Result<(), String>,
    },
    /// A probe has something to say.
    Probed {
        /// The container.
        container: String,
        /// Which run.
        restarts: u32,
        /// Which probe.
        kind: probes::Kind,
        /// What it found.
        outcome: Outcome,
    },
}

/// One pod.
pub struct Worker {
    ctx: Arc<Context>,
    pod: Arc<Pod>,
    folder: PodFolder,
    record: PodRecord,
    messages: mpsc::UnboundedSender<Message>,
    received: mpsc::UnboundedReceiver<Message>,
    sandbox: Option<Sandbox>,
    mounted: Mounted,
    /// Starts under way, to be called off.
    starts: BTreeMap<String, CancellationToken>,
    /// Probes and hooks of running containers.
    watchers: BTreeMap<String, Vec<AbortHandle>>,
    /// How often a container's image was not to be had.
    image_failures: BTreeMap<String, u32>,
    /// Setting the pod up failed; not again before then.
    set_up_after: Option<(Timestamp, u32)>,
    published: Option<Value>,
    /// The last publication failed.
    is_unpublished: bool,
    wake_at: Option<Timestamp>,
    drained: Vec<oneshot::Sender<()>>,
    is_draining: bool,
    is_gone: bool,
    /// Nothing of the pod runs or will run; only its logs are left.
    is_torn_down: bool,
    deletion_is_confirmed: bool,
}

/// Retried after this long when the API did not take something.
const API_RETRY_S: i64 = 1;
/// A container that cannot be configured is tried again after this long.
const CONFIG_RETRY_S: i64 = 3;
/// Longest wait between tries of an image.
const LONGEST_IMAGE_WAIT_S: i64 = 60;
/// How long the containers of a pod that is already gone from the API get to end.
const GONE_GRACE: Duration = Duration::from_secs(2);

impl Worker {
    /// A worker for a pod; it does nothing until it runs.
    pub fn new(
        ctx: Arc<Context>,
        pod: Arc<Pod>,
        messages: mpsc::UnboundedSender<Message>,
        received: mpsc::UnboundedReceiver<Message>,
    ) -> Self {
        let folder = ctx.folders.of_pod(&pod);
        Self {
            ctx,
            pod,
            folder,
            record: PodRecord::default(),
            messages,
            received,
            sandbox: None,
            mounted: Mounted::default(),
            starts: BTreeMap::new(),
            watchers: BTreeMap::new(),
            image_failures: BTreeMap::new(),
            set_up_after: None,
            published: None,
            is_unpublished: false,
            wake_at: None,
            drained: Vec::new(),
            is_draining: false,
            is_gone: false,
            is_torn_down: false,
            deletion_is_confirmed: false,
        }
    }

    /// Works until the pod is gone from the API and from this machine.
    pub async fn run(mut self) {
        self.find_again().await;
        loop {
            self.wake_at = None;
            self.advance().await;
            self.publish().await;
            if self.is_torn_down {
                for done in self.drained.drain(..) {
                    let _ = done.send(());
                }
                if self.is_gone {
                    self.forget();
                    return;
                }
                self.confirm_deletion().await;
            }
            let wait = self.wake_at.map(|at| {
                let left = at.duration_since(Timestamp::now());
                Duration::try_from(left).unwrap_or(Duration::ZERO)
            });
            let timer = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = self.received.recv() => match message {
                    Some(message) => self.take(message).await,
                    None => return,
                },
                () = timer => {}
            }
            while let Ok(message) = self.received.try_recv() {
                self.take(message).await;
            }
        }
    }

    fn is_ending(&self) -> bool {
        self.is_gone || self.is_draining || self.pod.metadata.deletion_timestamp.is_some()
    }

    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn container(&self, name: &str) -> Option<&Container> {
        init_containers(&self.pod)
            .iter()
            .chain(app_containers(&self.pod))
            .find(|container| container.name == name)
    }

    fn uid(&self) -> String {
        self.pod.uid().unwrap_or_default()
    }

    fn event(&self, kind: EventKind, reason: &'static str, message: impl Into<String>) {
        self.ctx.events.pod(&self.pod, kind, reason, message);
    }

    fn container_event(
        &self,
        container: &str,
        kind: EventKind,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.ctx
            .events
            .container(&self.pod, container, kind, reason, message);
    }

    /// Does everything that is due now.
    async fn advance(&mut self) {
        if self.is_torn_down {
            return;
        }
        let now = Timestamp::now();
        if self.record.started_at.is_none() && !self.is_ending() {
            self.record.started_at = Some(now);
        }
        let plan = plan(&self.pod, &self.record, now, self.is_ending());
        if let Some(at) = plan.check_at {
            self.wake(at);
        }
        let needs_sandbox = plan
            .actions
            .iter()
            .any(|action| matches!(action, Action::Start(_)));
        let may_start = !needs_sandbox || self.sandbox.is_some() || self.set_up(now).await;
        for action in plan.actions {
            match action {
                Action::Start(container) if may_start => self.start(&container, now),
                Action::Start(_) => {}
                Action::Stop(container) => self.stop(&container, None),
                Action::HoldBack {
                    container,
                    until,
                    delay_s,
                } => self.hold_back(&container, until, delay_s),
                Action::Fail { reason, message } => {
                    self.event(EventKind::Normal, reason, message.clone());
                    self.record.verdict = Some(Verdict {
                        reason: reason.to_owned(),
                        message,
                    });
                }
            }
        }
        if plan.is_over {
            // Whoever waits for the outcome need not wait for the namespaces to go as well.
            self.publish().await;
            self.tear_down().await;
        } else if self.sandbox.is_some() {
            self.refresh_volumes(now).await;
        }
    }

    fn hold_back(&mut self, container: &str, until: Timestamp, delay_s: i64) {
        let pod = format!(
            "{}_{}({})",
            self.pod.name_any(),
            self.pod.namespace().unwrap_or_default(),
            self.uid()
        );
        let message = format!(
            "back-off {} restarting failed container={container} pod={pod}",
            go_duration(delay_s)
        );
        self.record
            .container_mut(container)
            .hold("CrashLoopBackOff", message, until);
        let message = format!("Back-off restarting failed container {container} in pod {pod}");
        self.container_event(container, EventKind::Warning, "BackOff", message);
        self.wake(until);
    }

    async fn take(&mut self, message: Message) {
        match message {
            Message::Pod(pod) => {
                let shorter = pod.metadata.deletion_grace_period_seconds
                    < self.pod.metadata.deletion_grace_period_seconds;
                let was_deleted = self.pod.metadata.deletion_timestamp.is_some();
                self.pod = pod;
                if was_deleted && shorter {
                    self.stop_again();
                }
            }
            Message::Gone => {
                self.is_gone = true;
                self.stop_again();
            }
            Message::Drain(done) => {
                self.is_draining = true;
                self.begin_drain();
                self.drained.push(done);
            }
            Message::Changed(record) => self.changed(record).await,
            Message::ShimGone => self.shim_gone().await,
            Message::Image { container, id } => {
                self.image_failures.remove(&container);
                self.record.container_mut(&container).image_id = id;
            }
            Message::StartFailed {
                container,
                restarts,
                failure,
            } => self.start_failed(&container, restarts, failure),
            Message::Hooked {
                container,
                restarts,
                result,
            } => self.hooked(&container, restarts, result),
            Message::Probed {
                container,
                restarts,
                kind,
                outcome,
            } => self.probed(&container, restarts, kind, outcome),
        }
    }

    /// A pod that never restarts cannot come back after the node does, so it fails now and says why.
    fn begin_drain(&mut self) {
        let is_over = self.is_torn_down || self.record.verdict.is_some();
        if !is_over && super::plan::restart_policy(&self.pod) == "Never" {
            self.record.verdict = Some(Verdict {
                reason: "Terminated".into(),
                message: "Pod was terminated in response to imminent node shutdown.".into(),
            });
        }
    }

    fn is_current(&self, container: &str, restarts: u32) -> bool {
        let own = self.record.containers.get(container);
        own.is_some_and(|own| {
            own.restarts == restarts && matches!(own.state, State::Running { .. })
        })
    }

    async fn changed(&mut self, seen: ShimRecord) {
        let uid = self.uid();
        let own = self.record.container(&seen.name);
        if seen.attempt != own.restarts || !own.is_alive() {
            return;
        }
        let id = run_id(&uid, &seen.name, seen.attempt);
        tracing::debug!(pod = self.pod.name_any(), container = seen.name, finished_at = ?seen.finished_at, "{} is {:?}", seen.name, seen.phase);
        match seen.phase {
            ContainerPhase::Starting => {}
            ContainerPhase::Running => {
                let own = self.record.container_mut(&seen.name);
                if !matches!(own.state, State::Starting) {
                    return;
                }
                own.run(id, seen.started_at.unwrap_or_else(Timestamp::now));
                let is_stopping = own.is_stopping;
                self.starts.remove(&seen.name);
                if is_stopping {
                    self.stop_now(&seen.name, None);
                } else {
                    self.after_start(&seen.name, seen.attempt);
                }
            }
            ContainerPhase::Exited => {
                let started_at = seen.started_at.or(match &own.state {
                    State::Running { started_at, .. } => Some(*started_at),
                    _ => None,
                });
                self.starts.remove(&seen.name);
                let exit_code = seen.exit_code.unwrap_or(137);
                let message = self.termination_message(&seen, exit_code).await;
                let usual = if exit_code == 0 { "Completed" } else { "Error" };
                let reason = seen.reason.clone().unwrap_or_else(|| usual.to_owned());
                if reason == "StartError" {
                    self.container_event(
                        &seen.name,
                        EventKind::Warning,
                        "Failed",
                        format!("Error: {message}"),
                    );
                }
                let is_of_node = self.is_draining;
                self.ctx.gpus.release(&id);
                self.stop_watching(&seen.name);
                let own = self.record.container_mut(&seen.name);
                if is_of_node {
                    // The node's own stop is no crash: the next start does not wait for it.
                    own.backoff = super::backoff::Backoff::default();
                }
                own.finish(Finished {
                    id,
                    exit_code,
                    signal: seen.signal,
                    reason,
                    message,
                    started_at,
                    finished_at: seen.finished_at.unwrap_or_else(Timestamp::now),
                });
            }
        }
    }

    fn start_failed(&mut self, container: &str, restarts: u32, failure: start::Failure) {
        self.starts.remove(container);
        let now = Timestamp::now();
        let own = self.record.container_mut(container);
        if own.restarts != restarts || !matches!(own.state, State::Starting) {
            return;
        }
        let id = run_id(&self.pod.uid().unwrap_or_default(), container, restarts);
        self.ctx.gpus.release(&id);
        let own = self.record.container_mut(container);
        match failure {
            start::Failure::CalledOff => own.state = State::waiting("ContainerCreating", ""),
            start::Failure::Image {
                reason,
                image,
                message,
            } => {
                let tries = self.image_failures.entry(container.to_owned()).or_default();
                *tries += 1;
                let wait_s = (5i64 << (*tries).min(6)).min(LONGEST_IMAGE_WAIT_S);
                let until = seconds_after(now, wait_s);
                let is_first = *tries == 1;
                let own = self.record.container_mut(container);
                if is_first {
                    own.hold(reason, message.clone(), until);
                    let warn = EventKind::Warning;
                    self.container_event(
                        container,
                        warn,
                        "Failed",
                        format!("Failed to pull image \"{image}\": {message}"),
                    );
                    self.container_event(container, warn, "Failed", format!("Error: {reason}"));
                } else {
                    let waiting =
                        format!("Back-off pulling image \"{image}\": {reason}: {message}");
                    let shown = if reason == "ErrImagePull" {
                        "ImagePullBackOff"
                    } else {
                        reason
                    };
                    own.hold(shown, waiting, until);
                    let message = format!("Back-off pulling image \"{image}\"");
                    self.container_event(container, EventKind::Normal, "BackOff", message);
                }
                self.wake(until);
            }
            start::Failure::Config { reason, message } => {
                let until = seconds_after(now, CONFIG_RETRY_S);
                own.hold(reason, message.clone(), until);
                self.container_event(
                    container,
                    EventKind::Warning,
                    "Failed",
                    format!("Error: {message}"),
                );
                self.wake(until);
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.watchers
            .values()
            .flatten()
            .for_each(AbortHandle::abort);
    }
}

/// Seconds as Go prints a duration: `10s`, `2m40s`.
fn go_duration(seconds: i64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::go_duration;

    #[test]
    fn durations_are_written_as_kubernetes_writes_them() {
        assert_eq!(
            [go_duration(10), go_duration(160), go_duration(300)],
            ["10s", "2m40s", "5m0s"]
        );
    }
}
