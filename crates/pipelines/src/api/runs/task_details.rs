//! `run_details.task_details`: tasks as clients up to 2.18 know them. Mirrors `PipelineTaskDetail` of v2beta1.

use serde_json::{Map, Value, json};

use crate::api::json::{Object, time};
use crate::artifact::{Artifact, Bindings};
use crate::task::{State, Task};

/// One element per task, iterations and graphs included.
pub fn view(tasks: &[Task]) -> Vec<Value> {
    tasks.iter().map(|task| detail(task, tasks)).collect()
}

fn detail(task: &Task, all: &[Task]) -> Value {
    let children: Vec<Value> = all
        .iter()
        .filter(|child| child.parent_id.as_ref() == Some(&task.id))
        .map(|child| {
            Object::default()
                .text("task_id", &child.id)
                .text("pod_name", pod(child))
                .build()
        })
        .collect();
    let history: Vec<Value> = task
        .history
        .iter()
        .map(|change| json!({"update_time": time(Some(change.at)), "state": state(change.state)}))
        .collect();
    let error = task
        .message
        .as_ref()
        .filter(|_| task.state.is_failure())
        .map(|message| json!({"code": 13, "message": message}));
    let failed: Vec<&str> = task
        .attempts
        .iter()
        .rev()
        .skip(1)
        .map(|attempt| attempt.pod.as_str())
        .collect();
    let executor = Object::default()
        .text("main_job", pod(task))
        .value("failed_main_jobs", failed)
        .build();
    Object::default()
        .text("run_id", &task.run_id)
        .text("task_id", &task.id)
        .text("display_name", &task.display_name)
        .time(
            "create_time",
            Some(task.ready_at.unwrap_or(task.created_at)),
        )
        .time("start_time", task.started_at)
        .time("end_time", task.ended_at)
        .value("executor_detail", executor)
        .text("state", state(task.state))
        .value("error", error)
        .value("inputs", artifact_ids(&task.inputs))
        .value("outputs", artifact_ids(&task.outputs))
        .text(
            "parent_task_id",
            task.parent_id.as_deref().unwrap_or_default(),
        )
        .value("state_history", history)
        .text("pod_name", pod(task))
        .value("child_tasks", children)
        .build()
}

fn pod(task: &Task) -> &str {
    task.current_attempt()
        .map_or("", |attempt| attempt.pod.as_str())
}

/// These clients have no word for a cached task: it succeeded.
fn state(state: State) -> &'static str {
    if state == State::Cached {
        State::Succeeded.as_str()
    } else {
        state.as_str()
    }
}

fn artifact_ids(bindings: &Bindings) -> Value {
    let ids = |list: &Vec<Artifact>| {
        list.iter()
            .map(|artifact| artifact.id.clone())
            .collect::<Vec<_>>()
    };
    bindings
        .artifacts
        .iter()
        .map(|(key, list)| (key.clone(), json!({"artifact_ids": ids(list)})))
        .collect::<Map<_, _>>()
        .into()
}
