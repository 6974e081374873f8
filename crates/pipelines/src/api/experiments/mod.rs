//! Experiments: groups of runs.

use serde_json::Value;

use super::json::Object;
use crate::catalog::Experiment;
use crate::store::experiment::storage_state;

pub mod archive;
pub mod create;
pub mod delete;
pub mod get;
pub mod list;

fn view(experiment: &Experiment) -> Value {
    Object::default()
        .text("experiment_id", &experiment.id)
        .text("display_name", &experiment.name)
        .text("description", &experiment.description)
        .time("created_at", Some(experiment.created_at))
        .text("namespace", &experiment.namespace)
        .text("storage_state", storage_state(experiment.is_archived))
        .time("last_run_created_at", experiment.last_run_created_at)
        .build()
}
