//! What a job's pod failure policy says about a failed pod.

use k8s_openapi::api::batch::v1::{JobSpec, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use crate::pods::state;

/// What to make of a failed pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It counts towards the backoff limit.
    Count,
    /// It counts for nothing.
    Ignore,
    /// It fails its index.
    FailIndex,
    /// It fails the job, in these words.
    FailJob(String),
}

/// The action of the first rule that matches.
pub fn action(spec: &JobSpec, pod: &Pod) -> Action {
    let Some(policy) = &spec.pod_failure_policy else {
        return Action::Count;
    };
    if state::phase(pod) != "Failed" {
        return Action::Count;
    }
    for (position, rule) in policy.rules.iter().enumerate() {
        let Some(what) = matches(rule, pod) else {
            continue;
        };
        return match rule.action.as_str() {
            "Ignore" => Action::Ignore,
            "FailIndex" if spec.backoff_limit_per_index.is_some() => Action::FailIndex,
            "FailIndex" => continue,
            "FailJob" => {
                Action::FailJob(format!("{what} matching FailJob rule at index {position}"))
            }
            _ => Action::Count,
        };
    }
    Action::Count
}

/// What about the pod a rule matches, in words.
fn matches(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let name = format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
    if let Some(codes) = &rule.on_exit_codes {
        let status = pod.status.as_ref()?;
        let ended = status
            .container_statuses
            .iter()
            .chain(&status.init_container_statuses)
            .flatten();
        let (container, code) = ended
            .filter(|held| {
                codes
                    .container_name
                    .as_ref()
                    .is_none_or(|wanted| *wanted == held.name)
            })
            .filter_map(|held| Some((held.name.clone(), exit_code(held)?)))
            .find(|(_, code)| {
                *code != 0 && (codes.operator == "In") == codes.values.contains(code)
            })?;
        return Some(format!(
            "Container {container} for pod {name} failed with exit code {code}"
        ));
    }
    let wanted = rule.on_pod_conditions.iter().flatten();
    wanted.into_iter().find_map(|pattern| {
        let held = state::condition(pod, &pattern.type_)?;
        let status = if pattern.status.is_empty() {
            "True"
        } else {
            &pattern.status
        };
        (held.status == status).then(|| format!("Pod {name} has condition {}", pattern.type_))
    })
}

fn exit_code(status: &ContainerStatus) -> Option<i32> {
    Some(status.state.as_ref()?.terminated.as_ref()?.exit_code)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn decide(rules: Value, pod: Value) -> Action {
        let spec: JobSpec = serde_json::from_value(json!({
            "template": {}, "podFailurePolicy": {"rules": rules},
        }))
        .unwrap();
        let pod: Pod = serde_json::from_value(pod).unwrap();
        action(&spec, &pod)
    }

    fn failed(code: i32, conditions: Value) -> Value {
        json!({
            "metadata": {"name": "p", "namespace": "ns"},
            "status": {"phase": "Failed", "conditions": conditions, "containerStatuses": [
                {"name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                 "state": {"terminated": {"exitCode": code}}},
            ]},
        })
    }

    #[test]
    fn an_exit_code_in_the_list_fails_the_job_and_says_which() {
        let rules =
            json!([{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]);
        assert_eq!(
            decide(rules.clone(), failed(42, json!([]))),
            Action::FailJob(
                "Container main for pod ns/p failed with exit code 42 matching FailJob rule at index 0".to_owned()
            )
        );
        assert_eq!(decide(rules, failed(1, json!([]))), Action::Count);
    }

    #[test]
    fn a_disruption_can_be_ignored() {
        let rules = json!([{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]);
        let disrupted = failed(137, json!([{"type": "DisruptionTarget", "status": "True"}]));
        assert_eq!(decide(rules.clone(), disrupted), Action::Ignore);
        assert_eq!(decide(rules, failed(137, json!([]))), Action::Count);
    }

    #[test]
    fn success_matches_no_rule_by_exclusion() {
        let rules =
            json!([{"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [5]}}]);
        assert_eq!(decide(rules, failed(0, json!([]))), Action::Count);
    }
}
