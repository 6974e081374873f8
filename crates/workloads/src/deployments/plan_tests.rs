//! Rollouts step by step, on values.

use serde_json::{Value, json};

use super::*;

fn now() -> Timestamp {
    "2026-01-01T10:00:00Z".parse().unwrap()
}

fn deployment(replicas: i32, change: Value) -> Templated<Deployment> {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "u", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
        },
    });
    for (name, value) in change.as_object().unwrap() {
        let (parent, field) = name.rsplit_once('/').unwrap();
        object.pointer_mut(parent).unwrap()[field] = value.clone();
    }
    serde_json::from_value(object).unwrap()
}

fn set(name: &str, is_current: bool, replicas: i32, available: i32, revision: i64) -> Set {
    Set {
        name: name.to_owned(),
        is_current,
        created: Some(Timestamp::from_second(revision).unwrap()),
        replicas,
        actual: replicas,
        ready: available,
        available,
        annotations: [(build::REVISION.to_owned(), revision.to_string())].into(),
        is_observed: true,
        ..Set::default()
    }
}

fn step(deployment: &Templated<Deployment>, sets: Vec<Set>) -> Plan {
    plan(
        deployment,
        &Observed {
            sets,
            old_pods_run: false,
        },
        now(),
    )
}

fn sizes(plan: &Plan) -> Vec<(&str, i32)> {
    plan.change
        .iter()
        .map(|set| (set.name.as_str(), set.replicas))
        .collect()
}

fn conditions(status: &DeploymentStatus) -> Vec<(String, String, String)> {
    let conditions = status.conditions.iter().flatten();
    conditions
        .map(|held| {
            (
                held.type_.clone(),
                held.status.clone(),
                held.reason.clone().unwrap_or_default(),
            )
        })
        .collect()
}

fn triple(type_: &str, status: &str, reason: &str) -> (String, String, String) {
    (type_.to_owned(), status.to_owned(), reason.to_owned())
}

#[test]
fn a_new_deployment_creates_its_first_replica_set_in_full() {
    let plan = step(&deployment(3, json!({})), Vec::new());
    let created = plan.create.expect("a replica set is created");
    assert_eq!((created.replicas, created.revision()), (3, 1));
    assert_eq!(created.annotations[build::DESIRED_REPLICAS], "3");
    assert_eq!(created.annotations[build::MAX_REPLICAS], "4");
    assert_eq!(plan.revision.as_deref(), Some("1"));
    assert_eq!(
        conditions(&plan.status),
        [
            triple("Progressing", "True", "NewReplicaSetCreated"),
            triple("Available", "False", "MinimumReplicasUnavailable"),
        ]
    );
    assert_eq!(plan.status.unavailable_replicas, Some(3));
}

#[test]
fn a_new_template_starts_with_what_the_surge_allows() {
    let plan = step(&deployment(4, json!({})), vec![set("old", false, 4, 4, 1)]);
    assert_eq!(
        plan.create
            .as_ref()
            .map(|set| (set.replicas, set.revision())),
        Some((1, 2))
    );
    assert_eq!(sizes(&plan), [("old", 3)], "one of four may be missing");
}

#[test]
fn old_pods_go_only_as_new_ones_become_available() {
    let object = deployment(4, json!({}));
    let waiting = step(
        &object,
        vec![set("old", false, 3, 3, 1), set("new", true, 2, 0, 2)],
    );
    assert_eq!(sizes(&waiting), [], "three available is the least");
    let moving = step(
        &object,
        vec![set("old", false, 3, 3, 1), set("new", true, 2, 2, 2)],
    );
    assert_eq!(sizes(&moving), [("old", 1)]);
    let growing = step(
        &object,
        vec![set("old", false, 1, 1, 1), set("new", true, 2, 2, 2)],
    );
    assert_eq!(sizes(&growing), [("new", 4)]);
}

#[test]
fn pods_of_an_old_template_that_never_ran_go_first() {
    let plan = step(
        &deployment(4, json!({})),
        vec![set("broken", false, 4, 0, 1), set("new", true, 1, 0, 2)],
    );
    assert_eq!(sizes(&plan), [("broken", 3)]);
}

#[test]
fn recreating_waits_for_the_last_old_pod() {
    let object = deployment(2, json!({"/spec/strategy": {"type": "Recreate"}}));
    let first = step(&object, vec![set("old", false, 2, 2, 1)]);
    assert!(first.create.is_none());
    assert_eq!(sizes(&first), [("old", 0)]);
    let retired = Observed {
        sets: vec![set("old", false, 0, 0, 1)],
        old_pods_run: true,
    };
    assert!(plan(&object, &retired, now()).create.is_none());
    let second = step(&object, vec![set("old", false, 0, 0, 1)]);
    assert_eq!(second.create.map(|set| set.replicas), Some(2));
}

#[test]
fn a_complete_rollout_says_so_and_forgets_revisions_past_the_limit() {
    let status = json!({
        "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2,
        "conditions": [
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
            {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"},
        ],
    });
    let object = deployment(
        2,
        json!({"/spec/revisionHistoryLimit": 1, "/status": status}),
    );
    let sets = vec![
        set("first", false, 0, 0, 1),
        set("second", false, 0, 0, 2),
        set("third", true, 2, 2, 3),
    ];
    let plan = step(&object, sets);
    assert_eq!(plan.delete, ["first"]);
    assert_eq!(
        conditions(&plan.status),
        [
            triple("Available", "True", "MinimumReplicasAvailable"),
            triple("Progressing", "True", "NewReplicaSetAvailable"),
        ]
    );
    let progressing = &plan.status.conditions.as_ref().unwrap()[1];
    assert_eq!(
        progressing.message.as_deref(),
        Some("ReplicaSet \"third\" has successfully progressed.")
    );
}

#[test]
fn a_rollback_gives_the_old_replica_set_a_new_revision() {
    let plan = step(
        &deployment(1, json!({})),
        vec![set("first", true, 0, 0, 1), set("second", false, 1, 1, 2)],
    );
    let first = plan
        .change
        .iter()
        .find(|set| set.name == "first")
        .expect("it is changed");
    assert_eq!(first.annotations[build::REVISION], "3");
    assert_eq!(first.annotations[build::REVISION_HISTORY], "1");
    assert_eq!(plan.revision.as_deref(), Some("3"));
}

#[test]
fn a_rollout_without_movement_times_out() {
    let status = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "conditions": [
        {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated",
         "lastUpdateTime": "2026-01-01T09:49:00Z", "lastTransitionTime": "2026-01-01T09:49:00Z"},
    ]});
    let object = deployment(1, json!({"/status": status}));
    let plan = step(&object, vec![set("new", true, 1, 0, 1)]);
    assert!(conditions(&plan.status).contains(&triple(
        "Progressing",
        "False",
        "ProgressDeadlineExceeded"
    )));
    assert_eq!(plan.next, None);
}

#[test]
fn a_rollout_that_waits_is_looked_at_when_its_deadline_passes() {
    let status = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "conditions": [
        {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated",
         "lastUpdateTime": "2026-01-01T09:59:00Z", "lastTransitionTime": "2026-01-01T09:59:00Z"},
    ]});
    let plan = step(
        &deployment(1, json!({"/status": status})),
        vec![set("new", true, 1, 0, 1)],
    );
    assert_eq!(plan.next.map(|delay| delay.as_secs()), Some(541));
}

#[test]
fn a_paused_deployment_scales_but_rolls_nothing_out() {
    let object = deployment(3, json!({"/spec/paused": true}));
    let plan = step(&object, vec![set("old", false, 2, 2, 1)]);
    assert!(plan.create.is_none());
    assert_eq!(sizes(&plan), [("old", 3)]);
    assert!(conditions(&plan.status).contains(&triple(
        "Progressing",
        "Unknown",
        "DeploymentPaused"
    )));
}

#[test]
fn scaling_during_a_rollout_is_shared_in_proportion() {
    let mark = |mut set: Set, desired: &str, most: &str| {
        set.annotations
            .insert(build::DESIRED_REPLICAS.to_owned(), desired.to_owned());
        set.annotations
            .insert(build::MAX_REPLICAS.to_owned(), most.to_owned());
        set
    };
    let object = deployment(20, json!({"/spec/strategy/rollingUpdate/maxSurge": 0}));
    let sets = vec![
        mark(set("old", false, 8, 8, 1), "10", "10"),
        mark(set("new", true, 2, 2, 2), "10", "10"),
    ];
    assert_eq!(sizes(&step(&object, sets)), [("old", 16), ("new", 4)]);
}

#[test]
fn a_selector_that_selects_everything_is_refused() {
    let plan = step(&deployment(1, json!({"/spec/selector": {}})), Vec::new());
    assert!(plan.selects_all && plan.create.is_none());
    assert_eq!(plan.status.observed_generation, Some(1));
}

#[test]
fn a_failure_of_the_replica_set_is_the_deployments_too() {
    let failure = serde_json::from_value(json!({
        "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota exceeded",
    }))
    .unwrap();
    let broken = Set {
        failure: Some(failure),
        ..set("new", true, 1, 0, 1)
    };
    let plan = step(&deployment(1, json!({})), vec![broken]);
    let held = plan.status.conditions.unwrap();
    let failure = held
        .iter()
        .find(|held| held.type_ == "ReplicaFailure")
        .expect("it is reported");
    assert_eq!(failure.message.as_deref(), Some("quota exceeded"));
}
