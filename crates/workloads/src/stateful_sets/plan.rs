//! One step of a stateful set: which numbered pods to create, delete or replace, in the order their numbers demand.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::pods::state;
use crate::revisions::HASH_LABEL;
use crate::templated::Templated;

/// What one step does.
#[derive(Debug, Default)]
pub struct Plan {
    /// Numbers to create, each with whether it gets the new template.
    pub create: Vec<(i32, bool)>,
    /// Pods to delete.
    pub delete: Vec<Arc<Pod>>,
}

/// A set and its pods, sorted out.
pub struct View<'a> {
    /// The specification.
    pub spec: &'a StatefulSetSpec,
    /// Name of the revision that is rolled out.
    pub update: &'a str,
    /// Name of the revision that was there before.
    pub current: &'a str,
    /// Pods by number, wanted ones and others.
    pub pods: Vec<(i32, Arc<Pod>)>,
}

/// The number of a pod, if its name is one of the set's.
pub fn ordinal(set: &Templated<StatefulSet>, pod: &Pod) -> Option<i32> {
    let name = pod.name_any();
    let number = name.strip_prefix(&set.name_any())?.strip_prefix('-')?;
    let parsed: i32 = number.parse().ok()?;
    (parsed >= 0 && parsed.to_string() == number).then_some(parsed)
}

impl View<'_> {
    fn start(&self) -> i32 {
        self.spec
            .ordinals
            .as_ref()
            .and_then(|ordinals| ordinals.start)
            .unwrap_or(0)
    }

    /// Wanted pods.
    pub fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    fn is_wanted(&self, number: i32) -> bool {
        (self.start()..self.start() + self.replicas()).contains(&number)
    }

    fn is_parallel(&self) -> bool {
        self.spec.pod_management_policy.as_deref() == Some("Parallel")
    }

    fn is_on_delete(&self) -> bool {
        self.spec
            .update_strategy
            .as_ref()
            .and_then(|strategy| strategy.type_.as_deref())
            == Some("OnDelete")
    }

    fn partition(&self) -> i32 {
        let strategy = self.spec.update_strategy.as_ref();
        strategy
            .and_then(|strategy| strategy.rolling_update.as_ref()?.partition)
            .unwrap_or(0)
    }

    fn pod(&self, number: i32) -> Option<&Arc<Pod>> {
        self.pods
            .iter()
            .find(|(held, _)| *held == number)
            .map(|(_, pod)| pod)
    }

    /// Whether the pod has the template that is rolled out.
    pub fn is_updated(&self, pod: &Pod) -> bool {
        pod.labels()
            .get(HASH_LABEL)
            .is_some_and(|revision| revision == self.update)
    }

    /// Whether a missing pod of this number is made from the new template.
    fn gets_update(&self, number: i32) -> bool {
        if self.is_on_delete() || self.update == self.current {
            return true;
        }
        // Up to the partition, pods keep the old template.
        number >= self.start() + self.partition()
    }
}

fn is_healthy(view: &View<'_>, pod: &Pod, now: Timestamp) -> bool {
    state::is_available(pod, view.spec.min_ready_seconds.unwrap_or(0), now)
        && !state::is_terminating(pod)
}

/// Plans one step.
pub fn plan(view: &View<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let numbers: Vec<i32> = (view.start()..view.start() + view.replicas()).collect();
    for number in &numbers {
        match view.pod(*number) {
            None => plan.create.push((*number, view.gets_update(*number))),
            Some(pod) if state::is_terminal(pod) => {
                if !state::is_terminating(pod) {
                    // Ended pods are replaced under the same name.
                    plan.delete.push(pod.clone());
                }
                if !view.is_parallel() {
                    return plan;
                }
            }
            Some(pod) if !view.is_parallel() && !is_healthy(view, pod, now) => return plan,
            Some(_) => {}
        }
        if !view.is_parallel() && !plan.create.is_empty() {
            return plan;
        }
    }
    if !plan.create.is_empty() || !plan.delete.is_empty() {
        return plan;
    }
    let mut surplus: Vec<&(i32, Arc<Pod>)> = view
        .pods
        .iter()
        .filter(|(number, _)| !view.is_wanted(*number))
        .collect();
    surplus.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    let first_unhealthy = view
        .pods
        .iter()
        .filter(|(_, pod)| !is_healthy(view, pod, now))
        .map(|(number, _)| *number)
        .min();
    for (number, pod) in surplus {
        // An unhealthy pod waits for those below it to be well again, so that no more than one at a time is missing.
        let waits = first_unhealthy.is_some_and(|first| first < *number);
        if !view.is_parallel() && waits && !is_healthy(view, pod, now) {
            return plan;
        }
        if !state::is_terminating(pod) {
            plan.delete.push(pod.clone());
        }
        if !view.is_parallel() {
            return plan;
        }
    }
    if plan.delete.is_empty() && !view.is_on_delete() {
        roll(view, &numbers, now, &mut plan);
    }
    plan
}

/// Replaces one pod with an old template, highest number first, once those above it are healthy.
fn roll(view: &View<'_>, numbers: &[i32], now: Timestamp, plan: &mut Plan) {
    let lowest = view.start() + view.partition();
    for number in numbers.iter().rev().filter(|number| **number >= lowest) {
        let Some(pod) = view.pod(*number) else { return };
        if !view.is_updated(pod) {
            if !state::is_terminating(pod) {
                plan.delete.push(pod.clone());
            }
            return;
        }
        if !is_healthy(view, pod, now) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(change: Value) -> StatefulSetSpec {
        let mut spec = json!({"replicas": 3, "serviceName": "db", "selector": {}, "template": {}});
        for (field, value) in change.as_object().unwrap() {
            spec[field] = value.clone();
        }
        serde_json::from_value(spec).unwrap()
    }

    fn pod(number: i32, revision: &str, ready: bool) -> (i32, Arc<Pod>) {
        let pod = serde_json::from_value(json!({
            "metadata": {"name": format!("db-{number}"), "labels": {HASH_LABEL: revision}},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        }));
        (number, Arc::new(pod.unwrap()))
    }

    fn step(spec: &StatefulSetSpec, pods: Vec<(i32, Arc<Pod>)>) -> (Vec<(i32, bool)>, Vec<String>) {
        let view = View {
            spec,
            update: "new",
            current: "old",
            pods,
        };
        let plan = plan(&view, Timestamp::UNIX_EPOCH);
        (
            plan.create,
            plan.delete.iter().map(|pod| pod.name_any()).collect(),
        )
    }

    #[test]
    fn pods_come_one_after_the_other_each_when_the_last_is_ready() {
        let spec = spec(json!({}));
        assert_eq!(step(&spec, vec![]), (vec![(0, true)], vec![]));
        assert_eq!(step(&spec, vec![pod(0, "new", false)]), (vec![], vec![]));
        assert_eq!(
            step(&spec, vec![pod(0, "new", true)]),
            (vec![(1, true)], vec![])
        );
    }

    #[test]
    fn parallel_pods_come_all_at_once() {
        let spec = spec(json!({"podManagementPolicy": "Parallel"}));
        assert_eq!(step(&spec, vec![]).0, [(0, true), (1, true), (2, true)]);
    }

    #[test]
    fn the_highest_number_goes_first_when_fewer_are_wanted() {
        let spec = spec(json!({"replicas": 1}));
        let pods = vec![
            pod(0, "new", true),
            pod(1, "new", true),
            pod(2, "new", true),
        ];
        assert_eq!(step(&spec, pods), (vec![], vec!["db-2".to_owned()]));
    }

    #[test]
    fn fewer_are_wanted_but_an_unhealthy_pod_waits_for_those_below_it() {
        let spec = spec(json!({"replicas": 0}));
        let pods = |first: bool, second: bool| vec![pod(0, "new", first), pod(1, "new", second)];
        assert!(step(&spec, pods(false, false)).1.is_empty());
        assert_eq!(step(&spec, pods(true, false)).1, ["db-1"]);
        assert_eq!(step(&spec, pods(false, true)).1, ["db-1"]);
        assert_eq!(step(&spec, vec![pod(0, "new", false)]).1, ["db-0"]);
    }

    #[test]
    fn an_update_proceeds_from_the_top_down_to_the_partition() {
        let spec = spec(
            json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}),
        );
        let pods = |second: &str, third: &str, ready: bool| {
            vec![
                pod(0, "old", true),
                pod(1, second, true),
                pod(2, third, ready),
            ]
        };
        assert_eq!(step(&spec, pods("old", "old", true)).1, ["db-2"]);
        assert!(step(&spec, pods("old", "new", false)).1.is_empty());
        assert_eq!(step(&spec, pods("old", "new", true)).1, ["db-1"]);
        assert!(
            step(&spec, pods("new", "new", true)).1.is_empty(),
            "below the partition nothing changes"
        );
        assert_eq!(
            step(&spec, vec![pod(1, "new", true), pod(2, "new", true)]).0,
            [(0, false)]
        );
    }

    #[test]
    fn on_delete_replaces_nothing_by_itself() {
        let spec = spec(json!({"updateStrategy": {"type": "OnDelete"}}));
        let pods = vec![
            pod(0, "old", true),
            pod(1, "old", true),
            pod(2, "old", true),
        ];
        assert_eq!(step(&spec, pods), (vec![], vec![]));
    }

    #[test]
    fn numbers_start_where_they_are_told_to() {
        let spec = spec(json!({"replicas": 2, "ordinals": {"start": 5}}));
        assert_eq!(step(&spec, vec![]).0, [(5, true)]);
    }
}
