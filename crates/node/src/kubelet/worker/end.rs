//! Ending containers: the hook before the end, the grace, and what the container leaves as its last words.

use std::time::{Duration, Instant};

use kube::ResourceExt;

use super::sandbox::Sandbox;
use super::{GONE_GRACE, Worker};
use crate::kubelet::events::Kind as EventKind;
use crate::kubelet::record::State;
use crate::kubelet::{hooks, logs, spec};
use crate::shim::ContainerRecord as ShimRecord;

/// A container gets at least this long after its hook, however long that took.
const AFTER_HOOK: Duration = Duration::from_secs(2);
/// Longest termination message that is kept.
const LONGEST_MESSAGE: usize = 4096;

impl Worker {
    /// Asks a container to end. `why` is the event's text where it is not simply the end of the pod.
    pub(super) fn stop(&mut self, name: &str, why: Option<String>) {
        let own = self.record.container_mut(name);
        if own.is_stopping {
            return;
        }
        own.is_stopping = true;
        if matches!(own.state, State::Starting)
            && let Some(start) = self.starts.get(name)
        {
            // If it is too late for that, the container is stopped as soon as it runs.
            start.cancel();
            return;
        }
        self.stop_now(name, why);
    }

    /// Stops a running container in the background; its end is heard from the shim.
    pub(super) fn stop_now(&mut self, name: &str, why: Option<String>) {
        let Some(sandbox) = self.sandbox.clone() else {
            return;
        };
        let message = why.unwrap_or_else(|| format!("Stopping container {name}"));
        self.container_event(name, EventKind::Normal, "Killing", message);
        let grace = self.grace(name);
        let hook = self.container(name).and_then(|container| {
            let hook = container.lifecycle.as_ref()?.pre_stop.clone()?;
            Some((hook, container.clone(), self.prober()?))
        });
        let (ctx, pod, name) = (self.ctx.clone(), self.pod.clone(), name.to_owned());
        tokio::spawn(async move {
            let mut left = grace;
            if let Some((hook, container, prober)) = hook
                && !grace.is_zero()
            {
                let began = Instant::now();
                let outcome =
                    tokio::time::timeout(grace, hooks::run(&hook, &container, &prober)).await;
                if let Ok(Err(message)) = outcome {
                    let text = format!("PreStopHook failed: {message}");
                    ctx.events.container(
                        &pod,
                        &name,
                        EventKind::Warning,
                        "FailedPreStopHook",
                        text,
                    );
                }
                left = grace.saturating_sub(began.elapsed()).max(AFTER_HOOK);
            }
            stop_in(&sandbox, &name, left).await;
        });
    }

    /// The grace became shorter: what is ending has to end by then.
    pub(super) fn stop_again(&mut self) {
        let Some(sandbox) = self.sandbox.clone() else {
            return;
        };
        let stopping: Vec<String> = self
            .record
            .containers
            .iter()
            .filter(|(_, own)| own.is_stopping && matches!(own.state, State::Running { .. }))
            .map(|(name, _)| name.clone())
            .collect();
        for name in stopping {
            let (sandbox, grace) = (sandbox.clone(), self.grace(&name));
            tokio::spawn(async move { stop_in(&sandbox, &name, grace).await });
        }
    }

    fn grace(&self, name: &str) -> Duration {
        let seconds = |value: Option<i64>| {
            value
                .and_then(|seconds| u64::try_from(seconds).ok())
                .map(Duration::from_secs)
        };
        if self.is_gone {
            return GONE_GRACE;
        }
        let of_spec = seconds(
            self.pod
                .spec
                .as_ref()
                .and_then(|spec| spec.termination_grace_period_seconds),
        );
        let usual = of_spec.unwrap_or(Duration::from_secs(30));
        if self.pod.metadata.deletion_timestamp.is_some() {
            return seconds(self.pod.metadata.deletion_grace_period_seconds).unwrap_or(usual);
        }
        let of_probe = self
            .container(name)
            .and_then(|container| {
                container
                    .liveness_probe
                    .as_ref()
                    .or(container.startup_probe.as_ref())
            })
            .and_then(|probe| seconds(probe.termination_grace_period_seconds));
        of_probe
            .filter(|_| !self.is_draining && self.record.verdict.is_none())
            .unwrap_or(usual)
    }

    /// What a container says about its end: its message file, or the end of its log where the policy says so.
    pub(super) async fn termination_message(&self, seen: &ShimRecord, exit_code: i32) -> String {
        if let Some(message) = &seen.message {
            return message.clone();
        }
        let Some(container) = self.container(&seen.name) else {
            return String::new();
        };
        let run = self.folder.run(&seen.name, seen.attempt);
        let written = std::fs::read(spec::termination_message(&run)).unwrap_or_default();
        let written =
            String::from_utf8_lossy(&written[..written.len().min(LONGEST_MESSAGE)]).into_owned();
        let falls_back =
            container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        if written.is_empty() && exit_code != 0 && falls_back {
            return logs::last_words(&self.folder.log(&seen.name, seen.attempt));
        }
        written
    }

    /// Removes everything of a pod that is gone from the API.
    pub(super) fn forget(&mut self) {
        let (namespace, name) = (
            self.pod.namespace().unwrap_or_default(),
            self.pod.name_any(),
        );
        self.ctx.pods.remove(&namespace, &name, &self.uid());
        if let Err(error) = self.folder.remove() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                pod = name,
                "removing a pod's folder failed"
            );
        }
    }
}

async fn stop_in(sandbox: &Sandbox, name: &str, grace: Duration) {
    match sandbox {
        Sandbox::Tasks(tasks) => tasks.stop(name, grace).await,
        Sandbox::Processes(pod) => {
            if let Err(error) = pod.stop_container(name, grace).await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    container = name,
                    "stopping a container failed"
                );
            }
        }
    }
}
