//! The order in which a pod's containers live, as decisions.

use super::super::record::{Finished, run_id};
use super::*;
use serde_json::{Value, json};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"}, "spec": spec}))
        .expect("a pod")
}

fn two_inits(restart_policy: &str) -> Pod {
    pod(json!({
        "restartPolicy": restart_policy,
        "initContainers": [{"name": "i1"}, {"name": "i2"}],
        "containers": [{"name": "a"}, {"name": "b"}],
    }))
}

fn exited(record: &mut PodRecord, name: &str, exit_code: i32, second: i64) {
    let container = record.container_mut(name);
    container.finish(Finished {
        id: run_id("u", name, container.restarts),
        exit_code,
        signal: None,
        reason: String::new(),
        message: String::new(),
        started_at: Some(at(second)),
        finished_at: at(second),
    });
}

fn running(record: &mut PodRecord, name: &str) {
    let container = record.container_mut(name);
    container.run(run_id("u", name, container.restarts), at(0));
    container.is_started = true;
}

fn starts(names: &[&str]) -> Vec<Action> {
    names
        .iter()
        .map(|name| Action::Start((*name).to_owned()))
        .collect()
}

fn stops(names: &[&str]) -> Vec<Action> {
    names
        .iter()
        .map(|name| Action::Stop((*name).to_owned()))
        .collect()
}

#[test]
fn init_containers_run_one_after_the_other_and_then_all_app_containers_at_once() {
    let pod = two_inits("Always");
    let mut record = PodRecord::default();
    assert_eq!(plan(&pod, &record, at(0), false).actions, starts(&["i1"]));
    running(&mut record, "i1");
    assert_eq!(plan(&pod, &record, at(0), false).actions, []);
    exited(&mut record, "i1", 0, 1);
    assert_eq!(plan(&pod, &record, at(1), false).actions, starts(&["i2"]));
    exited(&mut record, "i2", 0, 2);
    assert_eq!(
        plan(&pod, &record, at(2), false).actions,
        starts(&["a", "b"])
    );
}

#[test]
fn a_failed_init_container_ends_a_pod_that_never_restarts() {
    let pod = two_inits("Never");
    let mut record = PodRecord::default();
    exited(&mut record, "i1", 1, 1);
    let plan = plan(&pod, &record, at(1), false);
    assert_eq!((plan.actions, plan.is_over), (vec![], true));
}

#[test]
fn a_failed_init_container_is_tried_again_otherwise() {
    let pod = two_inits("OnFailure");
    let mut record = PodRecord::default();
    exited(&mut record, "i1", 1, 1);
    assert_eq!(plan(&pod, &record, at(1), false).actions, starts(&["i1"]));
}

#[test]
fn a_sidecar_must_have_started_before_the_next_container_does() {
    let pod = pod(json!({
        "initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}],
    }));
    let mut record = PodRecord::default();
    record.container_mut("s").run("u.s.0".into(), at(0));
    assert_eq!(plan(&pod, &record, at(0), false).actions, []);
    record.container_mut("s").is_started = true;
    assert_eq!(plan(&pod, &record, at(0), false).actions, starts(&["a"]));
}

#[test]
fn sidecars_end_after_the_app_containers_and_in_reverse() {
    let pod = pod(json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "s1", "restartPolicy": "Always"}, {"name": "s2", "restartPolicy": "Always"}],
        "containers": [{"name": "a"}],
    }));
    let mut record = PodRecord::default();
    for name in ["s1", "s2", "a"] {
        running(&mut record, name);
    }
    assert_eq!(plan(&pod, &record, at(0), false).actions, []);
    exited(&mut record, "a", 0, 1);
    assert_eq!(plan(&pod, &record, at(1), false).actions, stops(&["s2"]));
    exited(&mut record, "s2", 143, 2);
    assert_eq!(plan(&pod, &record, at(2), false).actions, stops(&["s1"]));
    exited(&mut record, "s1", 143, 3);
    assert!(plan(&pod, &record, at(3), false).is_over);
}

#[test]
fn a_sidecar_that_dies_is_restarted_without_holding_up_the_app_containers() {
    let pod = pod(json!({
        "initContainers": [{"name": "s", "restartPolicy": "Always"}], "containers": [{"name": "a"}],
    }));
    let mut record = PodRecord::default();
    running(&mut record, "a");
    exited(&mut record, "s", 1, 1);
    exited(&mut record, "a", 1, 1);
    assert_eq!(
        plan(&pod, &record, at(1), false).actions,
        starts(&["s", "a"])
    );
}

#[test]
fn restart_policy_decides_who_comes_back() {
    for (policy, exit_code, comes_back) in [
        ("Always", 0, true),
        ("Always", 1, true),
        ("OnFailure", 0, false),
        ("OnFailure", 1, true),
        ("Never", 1, false),
    ] {
        let pod = pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}]}));
        let mut record = PodRecord::default();
        exited(&mut record, "a", exit_code, 1);
        let plan = plan(&pod, &record, at(1), false);
        assert_eq!(
            plan.actions == starts(&["a"]),
            comes_back,
            "{policy} after exit {exit_code}"
        );
        assert_eq!(plan.is_over, !comes_back, "{policy} after exit {exit_code}");
    }
}

#[test]
fn a_container_that_crashes_again_is_held_back_until_its_delay_has_passed() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let mut record = PodRecord::default();
    exited(&mut record, "a", 1, 1);
    record.container_mut("a").begin(at(1));
    exited(&mut record, "a", 1, 2);
    let first = plan(&pod, &record, at(2), false);
    assert_eq!(
        first.actions,
        [Action::HoldBack {
            container: "a".into(),
            until: at(12),
            delay_s: 10
        }]
    );
    record
        .container_mut("a")
        .hold("CrashLoopBackOff", String::new(), at(12));
    let later = plan(&pod, &record, at(11), false);
    assert_eq!((later.actions, later.check_at), (vec![], Some(at(12))));
    assert_eq!(plan(&pod, &record, at(12), false).actions, starts(&["a"]));
}

#[test]
fn a_pod_past_its_deadline_fails_and_its_containers_are_ended() {
    let pod = pod(json!({"activeDeadlineSeconds": 5, "containers": [{"name": "a"}]}));
    let mut record = PodRecord {
        started_at: Some(at(10)),
        ..PodRecord::default()
    };
    running(&mut record, "a");
    assert_eq!(plan(&pod, &record, at(14), false).check_at, Some(at(15)));
    let due = plan(&pod, &record, at(15), false).actions;
    assert!(matches!(
        due[0],
        Action::Fail {
            reason: "DeadlineExceeded",
            ..
        }
    ));
    assert_eq!(due[1..], stops(&["a"]));
}

#[test]
fn a_pod_that_is_to_end_starts_nothing_and_is_over_when_nothing_runs() {
    let pod = two_inits("Always");
    let mut record = PodRecord::default();
    running(&mut record, "i1");
    assert_eq!(plan(&pod, &record, at(0), true).actions, stops(&["i1"]));
    record.container_mut("i1").is_stopping = true;
    let waiting = plan(&pod, &record, at(0), true);
    assert_eq!((waiting.actions, waiting.is_over), (vec![], false));
    exited(&mut record, "i1", 143, 1);
    assert!(plan(&pod, &record, at(1), true).is_over);
}
