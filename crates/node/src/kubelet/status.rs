//! A pod's status as Kubernetes shows it, computed from its specification, its record and its previous conditions.
//! Mirrors the kubelet of v1.33: field for field, reasons and messages included.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
    VolumeMountStatus,
};

use super::plan::restart_policy;
use super::record::api_time;
use super::record::{
    ContainerRecord, Finished, PodRecord, State, app_containers, init_containers, is_sidecar,
};

/// The conditions that the node owns; all others on a pod are somebody else's and stay as they are.
const CONDITIONS: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

/// Computes the whole status. The status that the pod already carries supplies transition times and the conditions
/// of others.
pub fn status(pod: &Pod, record: &PodRecord, host_ip: Option<IpAddr>, now: Timestamp) -> PodStatus {
    let previous = pod.status.clone().unwrap_or_default();
    let phase = phase(pod, record);
    let is_over = matches!(phase, "Succeeded" | "Failed");
    let has_inits = init_containers(pod)
        .iter()
        .any(|container| !is_sidecar(container));
    let waits_for_init = has_inits && !record.was_initialized(pod);
    let of = |containers: &[Container], reason: &str| -> Vec<ContainerStatus> {
        containers
            .iter()
            .map(|container| container_status(pod, record, container, reason, is_over))
            .collect()
    };
    let inits = of(init_containers(pod), "PodInitializing");
    let apps = of(
        app_containers(pod),
        if waits_for_init {
            "PodInitializing"
        } else {
            "ContainerCreating"
        },
    );
    let started_at = record.started_at.map(api_time).or(previous.start_time);
    let host_ip = host_ip.map(|ip| ip.to_string());
    let pod_ip = record.pod_ip.map(|ip| ip.to_string());
    let foreign = previous
        .conditions
        .iter()
        .flatten()
        .filter(|condition| !CONDITIONS.contains(&condition.type_.as_str()))
        .cloned()
        .collect();
    let facts = Facts {
        pod,
        record,
        phase,
        inits: &inits,
        apps: &apps,
        foreign: &foreign,
    };
    let mut conditions = conditions(
        &facts,
        previous.conditions.as_deref().unwrap_or_default(),
        now,
    );
    conditions.extend(foreign);
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions),
        message: record
            .verdict
            .as_ref()
            .map(|verdict| verdict.message.clone()),
        reason: record
            .verdict
            .as_ref()
            .map(|verdict| verdict.reason.clone()),
        host_ips: host_ip.clone().map(|ip| vec![HostIP { ip }]),
        host_ip,
        pod_ips: pod_ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip,
        start_time: started_at,
        init_container_statuses: (!inits.is_empty()).then_some(inits),
        container_statuses: Some(apps),
        qos_class: Some(
            previous
                .qos_class
                .unwrap_or_else(|| qos_class(pod).to_owned()),
        ),
        ..PodStatus::default()
    }
}

/// `Pending`, `Running`, `Succeeded` or `Failed`. A deleted pod starts nothing any more: once nothing of it runs it has
/// reached its end, even one that never began, so that whoever holds it by a finalizer sees that.
pub fn phase(pod: &Pod, record: &PodRecord) -> &'static str {
    let phase = phase_by_containers(pod, record);
    let mut all = init_containers(pod).iter().chain(app_containers(pod));
    let is_open = matches!(phase, "Pending" | "Running");
    if !is_open
        || pod.metadata.deletion_timestamp.is_none()
        || all.any(|container| record.container(&container.name).is_alive())
    {
        return phase;
    }
    let have_all_succeeded = app_containers(pod)
        .iter()
        .all(|container| has_succeeded(&record.container(&container.name)));
    if have_all_succeeded {
        "Succeeded"
    } else {
        "Failed"
    }
}

fn phase_by_containers(pod: &Pod, record: &PodRecord) -> &'static str {
    if record.verdict.is_some() {
        return "Failed";
    }
    let policy = restart_policy(pod);
    let was_initialized = record.was_initialized(pod);
    let mut is_initializing = false;
    let mut sidecars_running = false;
    for container in init_containers(pod) {
        let own = record.container(&container.name);
        if is_sidecar(container) {
            sidecars_running |= own.is_alive();
            is_initializing |= !was_initialized && !own.is_started;
            continue;
        }
        match &own.state {
            State::Finished(finished) if finished.exit_code == 0 => {}
            State::Finished(_) if policy == "Never" => return "Failed",
            _ if was_initialized => {}
            _ => is_initializing = true,
        }
    }
    let (mut waiting, mut running, mut stopped, mut succeeded) = (0, 0, 0, 0);
    for container in app_containers(pod) {
        let own = record.container(&container.name);
        match &own.state {
            State::Running { .. } => running += 1,
            State::Finished(finished) => {
                stopped += 1;
                succeeded += usize::from(finished.exit_code == 0);
            }
            State::Waiting { .. } | State::Starting if own.last.is_some() => stopped += 1,
            State::Waiting { .. } | State::Starting => waiting += 1,
        }
    }
    if is_initializing || waiting > 0 {
        "Pending"
    } else if running > 0 || sidecars_running {
        "Running"
    } else if stopped == 0 {
        "Pending"
    } else if policy == "Always" {
        "Running"
    } else if stopped == succeeded {
        "Succeeded"
    } else if policy == "Never" {
        "Failed"
    } else {
        "Running"
    }
}

fn container_status(
    pod: &Pod,
    record: &PodRecord,
    container: &Container,
    waiting_reason: &str,
    is_over: bool,
) -> ContainerStatus {
    let own = record.container(&container.name);
    let id = match &own.state {
        State::Running { id, .. } => Some(id.clone()),
        State::Finished(finished) => Some(finished.id.clone()),
        State::Waiting { .. } | State::Starting => own.last.as_ref().map(|last| last.id.clone()),
    };
    let requests = container
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.clone());
    let is_running = matches!(own.state, State::Running { .. });
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        image_id: own.image_id.clone(),
        container_id: id.map(|id| format!("ferroflow://{id}")),
        ready: if is_plain_init(pod, container) {
            has_succeeded(&own)
        } else {
            own.is_ready && is_running
        },
        started: Some(own.is_started && is_running),
        restart_count: i32::try_from(own.restarts_done()).unwrap_or(i32::MAX),
        state: Some(state_of(&own, waiting_reason, is_over)),
        last_state: Some(ContainerState {
            terminated: own.last.as_ref().map(terminated),
            ..Default::default()
        }),
        allocated_resources: requests.filter(|_| is_running),
        resources: container.resources.clone().filter(|_| is_running),
        volume_mounts: container.volume_mounts.as_ref().map(|mounts| {
            mounts
                .iter()
                .map(|mount| VolumeMountStatus {
                    name: mount.name.clone(),
                    mount_path: mount.mount_path.clone(),
                    read_only: mount.read_only.filter(|is_read_only| *is_read_only),
                    recursive_read_only: mount
                        .read_only
                        .filter(|ro| *ro)
                        .map(|_| "Disabled".to_owned()),
                })
                .collect()
        }),
        ..ContainerStatus::default()
    }
}

/// An init container that ends before the app containers start; it is ready when it did its work.
fn is_plain_init(pod: &Pod, container: &Container) -> bool {
    !is_sidecar(container)
        && init_containers(pod)
            .iter()
            .any(|init| init.name == container.name)
}

fn has_succeeded(own: &ContainerRecord) -> bool {
    matches!(&own.state, State::Finished(finished) if finished.exit_code == 0)
}

fn state_of(own: &ContainerRecord, waiting_reason: &str, is_over: bool) -> ContainerState {
    let mut state = ContainerState::default();
    match &own.state {
        State::Running { started_at, .. } => {
            state.running = Some(ContainerStateRunning {
                started_at: Some(api_time(*started_at)),
            });
        }
        State::Finished(finished) => state.terminated = Some(terminated(finished)),
        // A pod that is over has no waiting containers: those that never ran, or will not run again, say how it ended.
        State::Waiting { .. } | State::Starting if is_over && own.last.is_some() => {
            state.terminated = own.last.as_ref().map(terminated);
        }
        State::Waiting {
            reason, message, ..
        } => {
            let reason = if reason.is_empty() {
                waiting_reason
            } else {
                reason
            };
            state.waiting = Some(ContainerStateWaiting {
                reason: Some(reason.to_owned()),
                message: Some(message.clone()).filter(|message| !message.is_empty()),
            });
        }
        State::Starting => {
            state.waiting = Some(ContainerStateWaiting {
                reason: Some(waiting_reason.to_owned()),
                message: None,
            });
        }
    }
    state
}

fn terminated(finished: &Finished) -> ContainerStateTerminated {
    ContainerStateTerminated {
        container_id: Some(format!("ferroflow://{}", finished.id)),
        exit_code: finished.exit_code,
        signal: finished.signal,
        reason: Some(finished.reason.clone()),
        message: Some(finished.message.clone()).filter(|message| !message.is_empty()),
        started_at: Some(api_time(
            finished.started_at.unwrap_or(finished.finished_at),
        )),
        finished_at: Some(api_time(finished.finished_at)),
    }
}

struct Facts<'a> {
    pod: &'a Pod,
    record: &'a PodRecord,
    phase: &'static str,
    inits: &'a [ContainerStatus],
    apps: &'a [ContainerStatus],
    foreign: &'a Vec<PodCondition>,
}

/// True, or why not.
type Claim = Result<(), (String, String)>;

fn conditions(facts: &Facts<'_>, previous: &[PodCondition], now: Timestamp) -> Vec<PodCondition> {
    let ready_to_start = if facts.record.has_sandbox {
        Ok(())
    } else {
        Err((String::new(), String::new()))
    };
    let containers_ready = containers_ready(facts);
    let ready = containers_ready
        .clone()
        .and_then(|()| readiness_gates(facts));
    let claims: [(&str, Claim); 5] = [
        ("PodReadyToStartContainers", ready_to_start),
        ("Initialized", initialized(facts)),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
        ("PodScheduled", Ok(())),
    ];
    claims
        .into_iter()
        .map(|(type_, claim)| condition(type_, claim, previous, now))
        .collect()
}

fn condition(type_: &str, claim: Claim, previous: &[PodCondition], now: Timestamp) -> PodCondition {
    let status = if claim.is_ok() { "True" } else { "False" };
    let (reason, message) = claim.err().unwrap_or_default();
    let before = previous.iter().find(|condition| condition.type_ == type_);
    let since = before
        .filter(|condition| condition.status == status)
        .and_then(|condition| condition.last_transition_time.clone());
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason).filter(|reason| !reason.is_empty()),
        message: Some(message).filter(|message| !message.is_empty()),
        last_transition_time: since.or_else(|| Some(api_time(now))),
        ..PodCondition::default()
    }
}

fn initialized(facts: &Facts<'_>) -> Claim {
    if facts.phase == "Succeeded" || facts.record.was_initialized(facts.pod) {
        return Ok(());
    }
    let incomplete: Vec<&str> = init_containers(facts.pod)
        .iter()
        .zip(facts.inits)
        .filter(|(container, status)| {
            if is_sidecar(container) {
                status.started != Some(true)
            } else {
                !status.ready
            }
        })
        .map(|(container, _)| container.name.as_str())
        .collect();
    if incomplete.is_empty() {
        return Ok(());
    }
    let message = format!(
        "containers with incomplete status: [{}]",
        incomplete.join(" ")
    );
    Err(("ContainersNotInitialized".into(), message))
}

fn containers_ready(facts: &Facts<'_>) -> Claim {
    match facts.phase {
        "Succeeded" => return Err(("PodCompleted".into(), String::new())),
        "Failed" => return Err(("PodFailed".into(), String::new())),
        _ => {}
    }
    let sidecars = init_containers(facts.pod)
        .iter()
        .zip(facts.inits)
        .filter(|(container, _)| is_sidecar(container));
    let unready: Vec<&str> = sidecars
        .map(|(_, status)| status)
        .chain(facts.apps)
        .filter(|status| !status.ready)
        .map(|status| status.name.as_str())
        .collect();
    if unready.is_empty() {
        return Ok(());
    }
    Err((
        "ContainersNotReady".into(),
        format!("containers with unready status: [{}]", unready.join(" ")),
    ))
}

fn readiness_gates(facts: &Facts<'_>) -> Claim {
    let gates = facts
        .pod
        .spec
        .iter()
        .flat_map(|spec| spec.readiness_gates.iter().flatten());
    let closed: Vec<String> = gates
        .filter_map(|gate| {
            let condition = facts
                .foreign
                .iter()
                .find(|condition| condition.type_ == gate.condition_type);
            match condition {
                None => Some(format!(
                    "corresponding condition of pod readiness gate \"{}\" does not exist.",
                    gate.condition_type
                )),
                Some(found) if found.status != "True" => Some(format!(
                    "the status of pod readiness gate \"{}\" is not \"True\", but {}",
                    gate.condition_type, found.status
                )),
                Some(_) => None,
            }
        })
        .collect();
    if closed.is_empty() {
        Ok(())
    } else {
        Err(("ReadinessGatesNotReady".into(), closed.join(", ")))
    }
}

/// How firmly a pod's resources are promised: all limits set and equal to the requests, none set at all, or between.
pub fn qos_class(pod: &Pod) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    for container in init_containers(pod).iter().chain(app_containers(pod)) {
        let resources = container.resources.clone().unwrap_or_default();
        let (limits, requests) = (
            resources.limits.unwrap_or_default(),
            resources.requests.unwrap_or_default(),
        );
        for resource in ["cpu", "memory"] {
            let is_set =
                |quantity: Option<&k8s_openapi::apimachinery::pkg::api::resource::Quantity>| {
                    quantity
                        .map(|quantity| quantity.0.clone())
                        .filter(|text| !text.trim_start_matches('0').is_empty())
                };
            let (limit, request) = (is_set(limits.get(resource)), is_set(requests.get(resource)));
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests;
