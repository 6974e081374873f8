//! What a pod's status says about its step. Pure.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

/// How far a step is.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing to say yet.
    Unknown,
    /// It cannot begin yet, and this is why.
    Waiting(String),
    /// Its command runs.
    Running,
    /// It has ended. Without an exit code the command never ran.
    Ended {
        /// Exit code of the command.
        exit_code: Option<i32>,
        /// Cause in words, where the status knows one; the launcher's report may know better.
        cause: Option<String>,
        /// The machine went away under it.
        is_interrupted: bool,
    },
}

/// Judges a pod.
pub fn judge(pod: &Pod) -> Verdict {
    let Some(status) = &pod.status else {
        return Verdict::Unknown;
    };
    let main = status
        .container_statuses
        .iter()
        .flatten()
        .find(|container| container.name == "main");
    let ended = main.and_then(|container| container.state.as_ref()?.terminated.as_ref());
    let phase = status.phase.as_deref().unwrap_or_default();
    if let Some(terminated) = ended {
        let cause = termination_cause(terminated, pod).or_else(|| pod_cause(pod));
        return Verdict::Ended {
            exit_code: Some(terminated.exit_code),
            cause,
            is_interrupted: terminated.exit_code != 0 && is_interrupted(pod),
        };
    }
    if matches!(phase, "Succeeded" | "Failed") {
        let cause = pod_cause(pod)
            .or_else(|| init_cause(pod))
            .or_else(|| Some("its pod ended before its command ran".to_owned()));
        return Verdict::Ended {
            exit_code: None,
            cause,
            is_interrupted: is_interrupted(pod),
        };
    }
    if pod.metadata.deletion_timestamp.is_some()
        && pod
            .spec
            .as_ref()
            .is_none_or(|spec| spec.node_name.is_none())
    {
        return Verdict::Ended {
            exit_code: None,
            cause: Some("its pod was deleted before it was scheduled".to_owned()),
            is_interrupted: false,
        };
    }
    if main.is_some_and(|container| {
        container
            .state
            .as_ref()
            .is_some_and(|state| state.running.is_some())
    }) {
        return Verdict::Running;
    }
    waiting(pod, main).map_or(Verdict::Unknown, Verdict::Waiting)
}

fn waiting(pod: &Pod, main: Option<&ContainerStatus>) -> Option<String> {
    let status = pod.status.as_ref()?;
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    if let Some(condition) = unscheduled {
        let why = condition.message.clone().unwrap_or_default();
        return Some(format!(
            "waits for a machine: {}",
            if why.is_empty() {
                "no node fits yet"
            } else {
                &why
            }
        ));
    }
    let init = status.init_container_statuses.iter().flatten();
    init.chain(main).find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let (reason, message) = (
            waiting.reason.as_deref().unwrap_or_default(),
            waiting.message.as_deref().unwrap_or_default(),
        );
        match reason {
            "" | "PodInitializing" | "ContainerCreating" => None,
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
                Some(format!(
                    "its image {} cannot be had ({reason}): {message}",
                    container.image
                ))
            }
            _ => Some(format!("{reason}: {message}")),
        }
    })
}

fn termination_cause(terminated: &ContainerStateTerminated, pod: &Pod) -> Option<String> {
    let message = terminated
        .message
        .as_deref()
        .filter(|message| !message.is_empty());
    match terminated.reason.as_deref() {
        Some("OOMKilled") => {
            let limit = pod
                .spec
                .as_ref()
                .and_then(|spec| {
                    spec.containers
                        .iter()
                        .find(|container| container.name == "main")
                })
                .and_then(|container| {
                    container
                        .resources
                        .as_ref()?
                        .limits
                        .as_ref()?
                        .get("memory")
                        .cloned()
                });
            let limit = limit
                .map(|limit| format!(" (its limit is {})", limit.0))
                .unwrap_or_default();
            Some(format!(
                "ran out of memory{limit}; raise it with set_memory_limit"
            ))
        }
        Some(reason @ ("ContainerCannotRun" | "StartError" | "ContainerStatusUnknown")) => {
            Some(format!(
                "{reason}: {}",
                message.unwrap_or("the container could not be started")
            ))
        }
        _ => message
            .filter(|_| terminated.exit_code != 0)
            .map(str::to_owned),
    }
}

fn pod_cause(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let reason = status
        .reason
        .as_deref()
        .filter(|reason| !reason.is_empty())?;
    let message = status.message.as_deref().unwrap_or_default();
    Some(match reason {
        "DeadlineExceeded" => "took longer than its activeDeadlineSeconds allows".to_owned(),
        "Evicted" => format!("was evicted: {message}"),
        _ if message.is_empty() => reason.to_owned(),
        _ => format!("{reason}: {message}"),
    })
}

fn init_cause(pod: &Pod) -> Option<String> {
    pod.status
        .as_ref()?
        .init_container_statuses
        .iter()
        .flatten()
        .find_map(|container| {
            let terminated = container
                .state
                .as_ref()?
                .terminated
                .as_ref()
                .filter(|terminated| terminated.exit_code != 0)?;
            let detail = terminated
                .message
                .as_deref()
                .or(terminated.reason.as_deref())
                .unwrap_or_default();
            Some(format!(
                "its init container {} failed with exit code {}: {detail}",
                container.name, terminated.exit_code
            ))
        })
}

/// Shutdowns of the machine take pods along; that is nobody's failure.
fn is_interrupted(pod: &Pod) -> bool {
    let Some(status) = &pod.status else {
        return false;
    };
    let by_reason = matches!(
        status.reason.as_deref(),
        Some("NodeShutdown" | "Terminated" | "Shutdown" | "NodeLost")
    );
    by_reason
        || status.conditions.iter().flatten().any(|condition| {
            condition.type_ == "DisruptionTarget"
                && condition.status == "True"
                && condition.reason.as_deref() == Some("TerminationByKubelet")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn verdict(status: Value) -> Verdict {
        let spec = json!({"nodeName": "n", "containers": [{"name": "main", "resources": {"limits": {"memory": "1Gi"}}}]});
        judge(
            &serde_json::from_value(
                json!({"metadata": {"name": "p"}, "spec": spec, "status": status}),
            )
            .unwrap(),
        )
    }

    fn main(state: Value) -> Value {
        json!({"phase": "Pending", "containerStatuses": [{"name": "main", "image": "train:latest", "imageID": "", "ready": false, "restartCount": 0, "state": state}]})
    }

    #[test]
    fn what_holds_a_step_up_is_said_in_words() {
        let unschedulable = json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."}]});
        assert_eq!(
            verdict(unschedulable),
            Verdict::Waiting(
                "waits for a machine: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
                    .into()
            )
        );
        let no_image =
            main(json!({"waiting": {"reason": "ErrImagePull", "message": "run kfctl image add"}}));
        assert_eq!(
            verdict(no_image),
            Verdict::Waiting(
                "its image train:latest cannot be had (ErrImagePull): run kfctl image add".into()
            )
        );
        assert_eq!(
            verdict(main(json!({"waiting": {"reason": "ContainerCreating"}}))),
            Verdict::Unknown
        );
    }

    #[test]
    fn a_terminated_command_ends_the_step_whatever_the_phase() {
        let ended = verdict(main(
            json!({"terminated": {"exitCode": 3, "reason": "Error"}}),
        ));
        assert_eq!(
            ended,
            Verdict::Ended {
                exit_code: Some(3),
                cause: None,
                is_interrupted: false
            }
        );
        let killed = verdict(main(
            json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}),
        ));
        assert_eq!(
            killed,
            Verdict::Ended {
                exit_code: Some(137),
                cause: Some(
                    "ran out of memory (its limit is 1Gi); raise it with set_memory_limit".into()
                ),
                is_interrupted: false
            }
        );
        assert_eq!(verdict(main(json!({"running": {}}))), Verdict::Running);
    }

    #[test]
    fn a_pod_that_failed_before_its_command_ran_says_why() {
        let status = json!({"phase": "Failed", "initContainerStatuses": [{"name": "launcher", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": {"terminated": {"exitCode": 1, "message": "disk full"}}}]});
        assert_eq!(
            verdict(status),
            Verdict::Ended {
                exit_code: None,
                cause: Some(
                    "its init container launcher failed with exit code 1: disk full".into()
                ),
                is_interrupted: false
            }
        );
        let late = json!({"phase": "Failed", "reason": "DeadlineExceeded"});
        assert_eq!(
            verdict(late),
            Verdict::Ended {
                exit_code: None,
                cause: Some("took longer than its activeDeadlineSeconds allows".into()),
                is_interrupted: false
            }
        );
    }

    #[test]
    fn a_shutdown_of_the_machine_is_no_failure_of_the_step() {
        let mut status = main(json!({"terminated": {"exitCode": 143, "reason": "Error"}}));
        status["reason"] = "NodeShutdown".into();
        assert!(matches!(
            verdict(status),
            Verdict::Ended {
                is_interrupted: true,
                ..
            }
        ));
    }

    #[test]
    fn a_pod_deleted_before_it_was_scheduled_has_ended() {
        let pod = json!({"metadata": {"name": "p", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"containers": []}, "status": {"phase": "Pending"}});
        assert!(matches!(
            judge(&serde_json::from_value(pod).unwrap()),
            Verdict::Ended {
                exit_code: None,
                ..
            }
        ));
    }
}
