//! Tasks as the native API shows them, with a few fields of ours below `status_metadata.custom_properties`. Mirrors
//! `PipelineTask` of the task API that replaces MLMD (upstream master after 2.18).

use serde_json::{Map, Value, json};

use crate::api::artifacts_api;
use crate::api::json::{Object, time};
use crate::artifact::Bindings;
use crate::task::{Kind, Task};

/// All tasks of a run, children named by their parents.
pub fn views(tasks: &[Task]) -> Vec<Value> {
    tasks.iter().map(|task| view(task, tasks)).collect()
}

/// One task; children are found among `others`.
pub fn view(task: &Task, others: &[Task]) -> Value {
    let children: Vec<Value> = others
        .iter()
        .filter(|child| child.parent_id.as_ref() == Some(&task.id))
        .map(|child| json!({"task_id": child.id, "name": child.name}))
        .collect();
    let pods: Vec<Value> = task
        .attempts
        .iter()
        .map(|attempt| {
            Object::default()
                .text("name", &attempt.pod)
                .text("uid", &attempt.pod_uid)
                .text("type", "EXECUTOR")
                .build()
        })
        .collect();
    let history: Vec<Value> = task
        .history
        .iter()
        .map(|change| {
            Object::default()
                .time("update_time", Some(change.at))
                .text("state", change.state.as_str())
                .text("message", change.message.as_deref().unwrap_or_default())
                .build()
        })
        .collect();
    let mut attributes = Map::new();
    if let Some(index) = task.iteration_index {
        attributes.insert("iteration_index".to_owned(), index.to_string().into());
    }
    if let Some(items) = &task.items {
        attributes.insert("iteration_count".to_owned(), items.len().to_string().into());
    }
    let status = Object::default()
        .text("message", task.message.as_deref().unwrap_or_default())
        .value("custom_properties", properties(task))
        .build();
    Object::default()
        .text("name", &task.name)
        .text("display_name", &task.display_name)
        .text("task_id", &task.id)
        .text("run_id", &task.run_id)
        .value("pods", pods)
        .text(
            "cache_fingerprint",
            task.fingerprint.as_deref().unwrap_or_default(),
        )
        .time(
            "create_time",
            Some(task.ready_at.unwrap_or(task.created_at)),
        )
        .time("start_time", task.started_at)
        .time("end_time", task.ended_at)
        .text("state", task.state.as_str())
        .value("status_metadata", status)
        .value("state_history", history)
        .text("type", task.kind.as_str())
        .value("type_attributes", attributes)
        .text(
            "parent_task_id",
            task.parent_id.as_deref().unwrap_or_default(),
        )
        .value("child_tasks", children)
        .value("inputs", bindings(&task.inputs, "TASK_OUTPUT_INPUT"))
        .value(
            "outputs",
            bindings(
                &task.outputs,
                if task.kind == Kind::Loop {
                    "ITERATOR_OUTPUT"
                } else {
                    "OUTPUT"
                },
            ),
        )
        .text("scope_path", &task.scope_path)
        .build()
}

/// What only our console knows how to show: where a cached result came from, attempts, the time of the next one.
fn properties(task: &Task) -> Value {
    let attempts: Vec<Value> = task
        .attempts
        .iter()
        .map(|attempt| {
            let mut shown = json!({"number": attempt.number, "pod": attempt.pod, "start_time": time(attempt.started_at), "end_time": time(attempt.ended_at)});
            if let Some(code) = attempt.exit_code {
                shown["exit_code"] = code.into();
            }
            if let Some(message) = &attempt.message {
                shown["message"] = message.clone().into();
            }
            shown
        })
        .collect();
    let origin = task
        .cached_from
        .as_ref()
        .map(|origin| json!({"run_id": origin.run_id, "task_id": origin.task_id}));
    let retry = task.retry_at.map(|at| time(Some(at))).unwrap_or_default();
    Object::default()
        .value("attempts", attempts)
        .value("cached_from", origin)
        .text("retry_at", retry)
        .value("is_omitted", task.is_omitted)
        .build()
}

fn bindings(bound: &Bindings, kind: &str) -> Value {
    let parameters: Vec<Value> = bound
        .parameters
        .iter()
        .map(|(key, value)| json!({"parameter_key": key, "value": value, "type": kind}))
        .collect();
    let artifacts: Vec<Value> = bound
        .artifacts
        .iter()
        .map(|(key, list)| json!({"artifact_key": key, "type": kind, "artifacts": list.iter().map(artifacts_api::view).collect::<Vec<_>>()}))
        .collect();
    Object::default()
        .value("parameters", parameters)
        .value("artifacts", artifacts)
        .build()
}
