//! What to do next for a pod, decided from its specification and its record alone. The worker calls this after
//! every change, carries the actions out, and comes back at `check_at` at the latest.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::record::{
    ContainerRecord, PodRecord, State, app_containers, init_containers, is_sidecar,
};

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Begin a run of this container.
    Start(String),
    /// Ask this container to end.
    Stop(String),
    /// Hold the next run of this container back.
    HoldBack {
        /// The container.
        container: String,
        /// When it may start again.
        until: Timestamp,
        /// The delay that says so, for the message.
        delay_s: i64,
    },
    /// The pod as a whole has failed.
    Fail {
        /// One word.
        reason: &'static str,
        /// A sentence.
        message: String,
    },
}

/// Everything to do now, and when to look again.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// The earliest time at which something falls due by itself.
    pub check_at: Option<Timestamp>,
    /// Nothing runs and nothing will run again.
    pub is_over: bool,
}

impl Plan {
    fn wake(&mut self, at: Timestamp) {
        self.check_at = Some(self.check_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// Decides. `is_ending` says that the pod is to end whatever its containers do (deletion, or the node stops).
pub fn plan(pod: &Pod, record: &PodRecord, now: Timestamp, is_ending: bool) -> Plan {
    let mut plan = Plan::default();
    if is_ending || record.verdict.is_some() {
        stop_everything(&mut plan, pod, record);
        return plan;
    }
    if let (Some(seconds), Some(started_at)) = (deadline_s(pod), record.started_at) {
        let deadline = super::record::seconds_after(started_at, seconds);
        if now >= deadline {
            plan.actions.push(Action::Fail {
                reason: "DeadlineExceeded",
                message: "Pod was active on the node longer than the specified deadline".into(),
            });
            stop_everything(&mut plan, pod, record);
            return plan;
        }
        plan.wake(deadline);
    }
    if app_containers(pod)
        .iter()
        .all(|container| is_final(pod, &record.container(&container.name)))
    {
        stop_everything(&mut plan, pod, record);
        return plan;
    }
    if !run_init_containers(&mut plan, pod, record, now) {
        return plan;
    }
    for container in app_containers(pod) {
        advance(
            &mut plan,
            pod,
            container,
            &record.container(&container.name),
            now,
        );
    }
    plan
}

/// Starts what is due among the init containers. True when the app containers may run.
fn run_init_containers(plan: &mut Plan, pod: &Pod, record: &PodRecord, now: Timestamp) -> bool {
    let was_initialized = record.was_initialized(pod);
    for container in init_containers(pod) {
        let own = record.container(&container.name);
        if is_sidecar(container) {
            advance(plan, pod, container, &own, now);
            let has_started = own.is_started && matches!(own.state, State::Running { .. });
            if !was_initialized && !has_started {
                return false;
            }
            continue;
        }
        if was_initialized {
            continue;
        }
        match &own.state {
            State::Finished(finished) if finished.exit_code == 0 => {}
            State::Finished(_) if restart_policy(pod) == "Never" => {
                stop_everything(plan, pod, record);
                return false;
            }
            _ => {
                advance(plan, pod, container, &own, now);
                return false;
            }
        }
    }
    true
}

/// Starts, restarts or holds back one container.
fn advance(
    plan: &mut Plan,
    pod: &Pod,
    container: &Container,
    own: &ContainerRecord,
    now: Timestamp,
) {
    let name = container.name.clone();
    match &own.state {
        State::Starting | State::Running { .. } => {}
        State::Waiting {
            retry_at: Some(at), ..
        } if *at > now => plan.wake(*at),
        State::Waiting { .. } => plan.actions.push(Action::Start(name)),
        State::Finished(finished) => {
            if !is_restarted(pod, container, finished.exit_code) {
                return;
            }
            let (at, delay_s) = own.backoff.next_start(finished.finished_at);
            if at <= now {
                plan.actions.push(Action::Start(name));
            } else {
                plan.actions.push(Action::HoldBack {
                    container: name,
                    until: at,
                    delay_s,
                });
                plan.wake(at);
            }
        }
    }
}

/// App containers end together; sidecars follow one by one, last first, so that each outlives those that use it.
fn stop_everything(plan: &mut Plan, pod: &Pod, record: &PodRecord) {
    let (sidecars, regular): (Vec<&Container>, Vec<&Container>) = init_containers(pod)
        .iter()
        .chain(app_containers(pod))
        .partition(|container| is_sidecar(container));
    let alive = |container: &&Container| {
        record
            .containers
            .get(&container.name)
            .is_some_and(ContainerRecord::is_alive)
    };
    let mut waited_for: Vec<&Container> = regular.into_iter().filter(alive).collect();
    if waited_for.is_empty() {
        waited_for = sidecars.into_iter().rev().filter(alive).take(1).collect();
    }
    plan.is_over = waited_for.is_empty();
    for container in waited_for {
        if !record.container(&container.name).is_stopping {
            plan.actions.push(Action::Stop(container.name.clone()));
        }
    }
}

/// This container ended and will not be started again.
fn is_final(pod: &Pod, own: &ContainerRecord) -> bool {
    match &own.state {
        State::Finished(finished) => match restart_policy(pod) {
            "Never" => true,
            "OnFailure" => finished.exit_code == 0,
            _ => false,
        },
        _ => false,
    }
}

fn is_restarted(pod: &Pod, container: &Container, exit_code: i32) -> bool {
    if is_sidecar(container) {
        return true;
    }
    let is_init = init_containers(pod)
        .iter()
        .any(|init| init.name == container.name);
    match restart_policy(pod) {
        "Never" => false,
        "OnFailure" => exit_code != 0,
        _ => !is_init || exit_code != 0,
    }
}

/// The pod's restart policy; absent means always.
pub fn restart_policy(pod: &Pod) -> &str {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref())
        .unwrap_or("Always")
}

fn deadline_s(pod: &Pod) -> Option<i64> {
    pod.spec.as_ref()?.active_deadline_seconds
}

#[cfg(test)]
mod tests;
