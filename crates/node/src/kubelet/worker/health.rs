//! How a running container is: the hook after its start, then its probes, and what their answers mean for the pod.

use std::net::IpAddr;

use tokio::sync::mpsc;

use super::sandbox::Sandbox;
use super::{Message, Worker};
use crate::kubelet::events::Kind as EventKind;
use crate::kubelet::hooks;
use crate::probes::{self, Outcome, Prober};

impl Worker {
    /// The container runs: its hook first, then its probes.
    pub(super) fn after_start(&mut self, name: &str, restarts: u32) {
        let Some(container) = self.container(name).cloned() else {
            return;
        };
        let hook = container
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.post_start.clone());
        match (hook, self.prober()) {
            (Some(hook), Some(prober)) => {
                let (messages, name) = (self.messages.clone(), name.to_owned());
                let of = name.clone();
                let task = tokio::spawn(async move {
                    let result = hooks::run(&hook, &container, &prober).await;
                    let _ = messages.send(Message::Hooked {
                        container: name,
                        restarts,
                        result,
                    });
                });
                self.watchers
                    .entry(of)
                    .or_default()
                    .push(task.abort_handle());
            }
            _ => self.begin_probes(name, restarts),
        }
    }

    pub(super) fn hooked(&mut self, container: &str, restarts: u32, result: Result<(), String>) {
        if !self.is_current(container, restarts) {
            return;
        }
        match result {
            Ok(()) => self.begin_probes(container, restarts),
            Err(message) => {
                let text = format!("PostStartHook failed: {message}");
                self.container_event(container, EventKind::Warning, "FailedPostStartHook", text);
                self.stop(container, Some("FailedPostStartHook".to_owned()));
            }
        }
    }

    pub(super) fn begin_probes(&mut self, name: &str, restarts: u32) {
        let Some(container) = self.container(name) else {
            return;
        };
        if container.startup_probe.is_some() {
            self.probe(name, restarts, probes::Kind::Startup);
        } else {
            self.is_started_now(name, restarts);
        }
    }

    pub(super) fn is_started_now(&mut self, name: &str, restarts: u32) {
        let Some(container) = self.container(name) else {
            return;
        };
        let has_readiness = container.readiness_probe.is_some();
        let has_liveness = container.liveness_probe.is_some();
        let own = self.record.container_mut(name);
        own.is_started = true;
        own.is_ready |= !has_readiness;
        if has_readiness {
            self.probe(name, restarts, probes::Kind::Readiness);
        }
        if has_liveness {
            self.probe(name, restarts, probes::Kind::Liveness);
        }
    }

    pub(super) fn probe(&mut self, name: &str, restarts: u32, kind: probes::Kind) {
        let Some(container) = self.container(name).cloned() else {
            return;
        };
        let (Some(probe), Some(prober)) = (kind.of(&container).cloned(), self.prober()) else {
            return;
        };
        let (outcomes, mut heard) = mpsc::channel(1);
        let messages = self.messages.clone();
        let of = name.to_owned();
        let task = tokio::spawn(async move {
            let name = container.name.clone();
            let asking = probes::run(prober, kind, probe, container, outcomes);
            let telling = async {
                while let Some(outcome) = heard.recv().await {
                    let message = Message::Probed {
                        container: name.clone(),
                        restarts,
                        kind,
                        outcome,
                    };
                    if messages.send(message).is_err() {
                        return;
                    }
                }
            };
            tokio::join!(asking, telling);
        });
        self.watchers
            .entry(of)
            .or_default()
            .push(task.abort_handle());
    }

    pub(super) fn prober(&self) -> Option<Prober> {
        let pod = match self.sandbox.as_ref()? {
            Sandbox::Processes(pod) => Some(pod.clone()),
            Sandbox::Tasks(_) => None,
        };
        let ip = self.record.pod_ip.unwrap_or(IpAddr::from([127, 0, 0, 1]));
        Some(Prober {
            ip,
            network: self.ctx.network.clone(),
            pod,
        })
    }

    pub(super) fn probed(
        &mut self,
        container: &str,
        restarts: u32,
        kind: probes::Kind,
        outcome: Outcome,
    ) {
        if !self.is_current(container, restarts) {
            return;
        }
        let unhealthy = |message: &str| format!("{} probe failed: {message}", kind.name());
        match outcome {
            Outcome::Passed => match kind {
                probes::Kind::Startup => self.is_started_now(container, restarts),
                probes::Kind::Readiness => self.record.container_mut(container).is_ready = true,
                probes::Kind::Liveness => {}
            },
            Outcome::FailedOnce(message) => {
                self.container_event(
                    container,
                    EventKind::Warning,
                    "Unhealthy",
                    unhealthy(&message),
                );
            }
            Outcome::Failed(message) => {
                self.container_event(
                    container,
                    EventKind::Warning,
                    "Unhealthy",
                    unhealthy(&message),
                );
                if kind == probes::Kind::Readiness {
                    self.record.container_mut(container).is_ready = false;
                } else if !self.record.container(container).is_stopping {
                    let name = kind.name().to_lowercase();
                    self.stop(
                        container,
                        Some(format!(
                            "Container {container} failed {name} probe, will be restarted"
                        )),
                    );
                }
            }
        }
    }

    pub(super) fn stop_watching(&mut self, container: &str) {
        for watcher in self.watchers.remove(container).into_iter().flatten() {
            watcher.abort();
        }
    }
}
