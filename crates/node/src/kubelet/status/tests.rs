//! What `kubectl get pod -o yaml` shows at each point of a pod's life.

use super::*;
use serde_json::{Value, json};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn pod(spec: Value) -> Pod {
    serde_json::from_value(
        json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec}),
    )
    .expect("a pod")
}

fn finished(name: &str, exit_code: i32) -> Finished {
    Finished {
        id: format!("u.{name}.0"),
        exit_code,
        signal: None,
        reason: if exit_code == 0 {
            "Completed".into()
        } else {
            "Error".into()
        },
        message: String::new(),
        started_at: Some(at(1)),
        finished_at: at(2),
    }
}

fn running(record: &mut PodRecord, name: &str) {
    let own = record.container_mut(name);
    own.run(format!("u.{name}.0"), at(1));
    own.is_started = true;
    own.is_ready = true;
}

fn condition_of<'a>(status: &'a PodStatus, type_: &str) -> &'a PodCondition {
    status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == type_)
        .expect("the condition")
}

fn claim(status: &PodStatus, type_: &str) -> (String, String) {
    let condition = condition_of(status, type_);
    (
        condition.status.clone(),
        condition.reason.clone().unwrap_or_default(),
    )
}

fn computed(pod: &Pod, record: &PodRecord) -> PodStatus {
    status(
        pod,
        record,
        Some("10.1.0.1".parse().expect("an address")),
        at(100),
    )
}

#[test]
fn a_pod_just_taken_up_waits_for_its_containers() {
    let pod = pod(json!({"containers": [{"name": "a", "image": "x"}]}));
    let status = computed(
        &pod,
        &PodRecord {
            started_at: Some(at(3)),
            ..PodRecord::default()
        },
    );
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    assert_eq!(status.start_time, Some(api_time(at(3))));
    let container = &status.container_statuses.as_ref().expect("statuses")[0];
    let waiting = container
        .state
        .as_ref()
        .and_then(|state| state.waiting.as_ref())
        .expect("waiting");
    assert_eq!(waiting.reason.as_deref(), Some("ContainerCreating"));
    assert_eq!(
        claim(&status, "PodReadyToStartContainers"),
        ("False".into(), String::new())
    );
    assert_eq!(
        claim(&status, "Ready"),
        ("False".into(), "ContainersNotReady".into())
    );
    assert_eq!(
        condition_of(&status, "Ready").message.as_deref(),
        Some("containers with unready status: [a]")
    );
}

#[test]
fn while_init_containers_run_the_others_say_so() {
    let pod = pod(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
    let mut record = PodRecord::default();
    running(&mut record, "i");
    let status = computed(&pod, &record);
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    let waiting = status.container_statuses.as_ref().expect("statuses")[0]
        .state
        .as_ref()
        .expect("a state");
    assert_eq!(
        waiting.waiting.as_ref().and_then(|w| w.reason.as_deref()),
        Some("PodInitializing")
    );
    assert_eq!(
        condition_of(&status, "Initialized").message.as_deref(),
        Some("containers with incomplete status: [i]")
    );
}

#[test]
fn a_running_pod_is_ready_when_all_its_containers_are() {
    let pod = pod(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    let mut record = PodRecord {
        has_sandbox: true,
        pod_ip: "10.1.0.7".parse().ok(),
        ..PodRecord::default()
    };
    running(&mut record, "a");
    running(&mut record, "b");
    record.container_mut("b").is_ready = false;
    assert_eq!(claim(&computed(&pod, &record), "Ready").0, "False");
    record.container_mut("b").is_ready = true;
    let status = computed(&pod, &record);
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert_eq!(claim(&status, "Ready").0, "True");
    assert_eq!(
        status.pod_ips,
        Some(vec![PodIP {
            ip: "10.1.0.7".into()
        }])
    );
}

#[test]
fn a_readiness_gate_holds_ready_back_but_not_containers_ready() {
    let mut pod =
        pod(json!({"readinessGates": [{"conditionType": "x/y"}], "containers": [{"name": "a"}]}));
    let mut record = PodRecord::default();
    running(&mut record, "a");
    let status = computed(&pod, &record);
    assert_eq!(claim(&status, "ContainersReady").0, "True");
    assert_eq!(
        claim(&status, "Ready"),
        ("False".into(), "ReadinessGatesNotReady".into())
    );
    pod.status =
        serde_json::from_value(json!({"conditions": [{"type": "x/y", "status": "True"}]})).ok();
    let status = computed(&pod, &record);
    assert_eq!(claim(&status, "Ready").0, "True");
    assert_eq!(
        claim(&status, "x/y").0,
        "True",
        "conditions of others are kept"
    );
}

#[test]
fn the_end_of_all_containers_ends_a_pod_that_never_restarts() {
    for (exit_code, phase, reason) in [(0, "Succeeded", "PodCompleted"), (3, "Failed", "PodFailed")]
    {
        let pod = pod(json!({"restartPolicy": "Never", "containers": [{"name": "a"}]}));
        let mut record = PodRecord::default();
        record.container_mut("a").finish(finished("a", exit_code));
        let status = computed(&pod, &record);
        assert_eq!(status.phase.as_deref(), Some(phase));
        assert_eq!(claim(&status, "Ready"), ("False".into(), reason.into()));
        assert_eq!(claim(&status, "Initialized").0, "True");
        let state = status.container_statuses.as_ref().expect("statuses")[0]
            .state
            .clone()
            .expect("a state");
        assert_eq!(
            state.terminated.map(|t| (t.exit_code, t.container_id)),
            Some((exit_code, Some("ferroflow://u.a.0".into())))
        );
    }
}

#[test]
fn a_deleted_pod_reaches_its_end_once_nothing_of_it_runs() {
    let mut pod = pod(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    let mut record = PodRecord::default();
    assert_eq!(phase(&pod, &record), "Pending");
    pod.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).ok();
    assert_eq!(phase(&pod, &record), "Failed", "it never began");
    running(&mut record, "a");
    assert_eq!(phase(&pod, &record), "Pending", "a still runs");
    record.container_mut("a").finish(finished("a", 0));
    record.container_mut("b").finish(finished("b", 0));
    assert_eq!(phase(&pod, &record), "Succeeded");
    record.container_mut("b").finish(finished("b", 143));
    assert_eq!(phase(&pod, &record), "Failed");
}

#[test]
fn a_crashing_container_waits_and_remembers_how_it_ended() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let mut record = PodRecord::default();
    let own = record.container_mut("a");
    own.finish(finished("a", 1));
    own.hold(
        "CrashLoopBackOff",
        "back-off 10s restarting failed container=a pod=p_ns(u)".into(),
        at(12),
    );
    let status = computed(&pod, &record);
    assert_eq!(status.phase.as_deref(), Some("Running"));
    let container = &status.container_statuses.as_ref().expect("statuses")[0];
    let waiting = container
        .state
        .as_ref()
        .and_then(|s| s.waiting.clone())
        .expect("waiting");
    assert_eq!(waiting.reason.as_deref(), Some("CrashLoopBackOff"));
    let last = container
        .last_state
        .as_ref()
        .and_then(|s| s.terminated.clone())
        .expect("a last state");
    assert_eq!(last.exit_code, 1);
}

#[test]
fn a_sidecar_keeps_the_pod_running_until_it_ends() {
    let pod = pod(json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}],
    }));
    let mut record = PodRecord::default();
    running(&mut record, "s");
    record.container_mut("a").finish(finished("a", 0));
    assert_eq!(phase(&pod, &record), "Running");
    record.container_mut("s").finish(finished("s", 143));
    assert_eq!(phase(&pod, &record), "Succeeded");
}

#[test]
fn a_verdict_fails_the_pod_whatever_its_containers_did() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let verdict = super::super::record::Verdict {
        reason: "DeadlineExceeded".into(),
        message: "late".into(),
    };
    let status = computed(
        &pod,
        &PodRecord {
            verdict: Some(verdict),
            ..PodRecord::default()
        },
    );
    assert_eq!(
        (status.phase.as_deref(), status.reason.as_deref()),
        (Some("Failed"), Some("DeadlineExceeded"))
    );
}

#[test]
fn a_condition_keeps_its_time_until_it_changes() {
    let mut pod = pod(json!({"containers": [{"name": "a"}]}));
    let mut record = PodRecord::default();
    pod.status = Some(status(&pod, &record, None, at(10)));
    running(&mut record, "a");
    let status = status(&pod, &record, None, at(20));
    assert_eq!(
        condition_of(&status, "PodScheduled").last_transition_time,
        Some(api_time(at(10)))
    );
    assert_eq!(
        condition_of(&status, "Ready").last_transition_time,
        Some(api_time(at(20)))
    );
}

#[test]
fn resources_decide_the_quality_of_service() {
    for (resources, class) in [
        (json!({}), "BestEffort"),
        (json!({"requests": {"cpu": "1"}}), "Burstable"),
        (
            json!({"limits": {"cpu": "1", "memory": "1Gi"}}),
            "Guaranteed",
        ),
        (
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}),
            "Burstable",
        ),
    ] {
        let pod = pod(json!({"containers": [{"name": "a", "resources": resources}]}));
        assert_eq!(qos_class(&pod), class);
    }
}

#[test]
fn an_init_container_waits_for_the_pods_initialisation_even_while_it_is_being_started() {
    let pod = pod(json!({
        "initContainers": [{"name": "first", "image": "i"}],
        "containers": [{"name": "c", "image": "i"}],
    }));
    let mut record = PodRecord::default();
    record.container_mut("first").begin(at(1));
    let status = computed(&pod, &record);
    let reasons: Vec<_> = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten()
        .map(|status| status.state.as_ref()?.waiting.as_ref()?.reason.as_deref())
        .collect();
    assert_eq!(reasons, [Some("PodInitializing"), Some("PodInitializing")]);
}
