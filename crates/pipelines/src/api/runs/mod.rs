//! Runs: the resource most clients live on.

use serde_json::{Map, Value, json};

use super::json::{Object, splice, time};
use crate::run::{Run, RunError};
use crate::store::experiment::storage_state;
use crate::store::{self, spec};

pub mod act;
pub mod create;
pub mod delete;
pub mod get;
pub mod list;
pub mod log;
pub mod task_details;
pub mod task_view;
pub mod tasks;
pub mod watch;

/// A run without its document, which is spliced in.
fn view(run: &Run, metrics: Option<&Map<String, Value>>) -> Object {
    let config = Object::default()
        .value("parameters", run.parameters.clone())
        .text("pipeline_root", &run.pipeline_root)
        .build();
    let history: Vec<Value> = run
        .state_history
        .iter()
        .map(|change| {
            let mut entry =
                json!({"update_time": time(Some(change.at)), "state": change.state.as_str()});
            if let Some(error) = &change.error {
                entry["error"] = error_view(error);
            }
            entry
        })
        .collect();
    let mut object = Object::default()
        .text("experiment_id", &run.experiment_id)
        .text("run_id", &run.id)
        .text("display_name", &run.display_name)
        .text("storage_state", storage_state(run.is_archived))
        .text("description", &run.description)
        .value("runtime_config", config)
        .text("service_account", &run.service_account)
        .time("created_at", Some(run.created_at))
        .time("scheduled_at", Some(run.scheduled_at))
        .time("finished_at", run.finished_at)
        .text("state", run.state.as_str())
        .value("error", run.error.as_ref().map(error_view))
        .value("state_history", history)
        .value("plugins_input", run.plugins_input.clone());
    let plugins = plugins_output(run, metrics);
    if !plugins.is_empty() {
        object = object.value("plugins_output", plugins);
    }
    if !run.pipeline_version_id.is_empty() {
        let reference = Object::default()
            .text("pipeline_id", &run.pipeline_id)
            .text("pipeline_version_id", &run.pipeline_version_id)
            .build();
        object = object
            .value("pipeline_reference", reference.clone())
            .value("pipeline_version_reference", reference);
    }
    object
}

/// What the run's own fields have no place for: paths that its steps share, and what they reported as metrics.
fn plugins_output(run: &Run, metrics: Option<&Map<String, Value>>) -> Map<String, Value> {
    let entry = |value: &Value| json!({"value": value, "render_type": "TEXT"});
    let mut found = Map::new();
    let mut add = |name: &str, entries: Map<String, Value>| {
        if !entries.is_empty() {
            let plugin = json!({"entries": entries, "state": "SUCCEEDED"});
            found.insert(format!("ferroflow.io/{name}"), plugin);
        }
    };
    if !run.shared_paths.is_empty() {
        let paths = entry(&json!(run.shared_paths));
        add(
            "shared-paths",
            Map::from_iter([("paths".to_owned(), paths)]),
        );
    }
    let metrics = metrics.into_iter().flatten();
    add(
        "metrics",
        metrics
            .map(|(name, value)| (name.clone(), entry(value)))
            .collect(),
    );
    found
}

/// What the steps of one run reported as metrics.
fn metrics_of(db: &store::Db<'_>, run: &Run) -> store::Result<Map<String, Value>> {
    let mut all = store::artifact::metrics_of_runs(db, &[&run.id])?;
    Ok(all.remove(&run.id).unwrap_or_default())
}

/// The whole run as JSON text; inline runs show their document.
fn answer(db: &store::Db<'_>, run: &Run, object: Object) -> store::Result<String> {
    let object = object.build();
    if run.pipeline_version_id.is_empty() {
        return Ok(splice(
            &object,
            "pipeline_spec",
            spec::raw(db, &run.spec_hash)?.get(),
        ));
    }
    Ok(object.to_string())
}

fn error_view(error: &RunError) -> Value {
    json!({"code": error.code, "message": error.message})
}
