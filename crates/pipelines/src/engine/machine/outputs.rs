//! What graphs and loops give out, from what their tasks gave out.

use std::sync::Arc;

use serde_json::Value;

use crate::artifact::{Artifact, Bindings};
use crate::ir::{Component, Pipeline};
use crate::task::Task;

use super::{Machine, component_of};

impl Machine {
    /// Outputs of an ended graph: of several candidates the first that ran. An output that nothing produced is absent;
    /// whether that matters is the consumer's affair.
    pub(super) fn graph_outputs(&self, graph: &Task) -> Bindings {
        let mut bound = Bindings::default();
        let pipeline = Arc::clone(&self.pipeline);
        let Some(dag) = &component_of(&pipeline, graph).dag else {
            return bound;
        };
        let ran = |name: &str| {
            self.children_of(&graph.id)
                .find(|task| task.name == name && task.state.is_success())
        };
        for (name, output) in &dag.outputs.parameters {
            let found = output.selectors().iter().find_map(|candidate| {
                ran(&candidate.producer_subtask)?
                    .outputs
                    .parameters
                    .get(&candidate.output_parameter_key)
            });
            if let Some(value) = found {
                bound.parameters.insert(name.clone(), value.clone());
            }
        }
        for (name, output) in &dag.outputs.artifacts {
            let found = output.artifact_selectors.iter().find_map(|candidate| {
                ran(&candidate.producer_subtask)?
                    .outputs
                    .artifacts
                    .get(&candidate.output_artifact_key)
            });
            if let Some(artifacts) = found {
                bound.artifacts.insert(name.clone(), artifacts.clone());
            }
        }
        bound
    }

    /// Outputs of an ended loop: lists in the order of the items; lists that inner loops made are joined into one.
    pub(super) fn loop_outputs(&self, task: &Task) -> Bindings {
        let mut bound = Bindings::default();
        let pipeline = Arc::clone(&self.pipeline);
        let component = component_of(&pipeline, task);
        let mut iterations: Vec<&Task> = self.children_of(&task.id).collect();
        iterations.sort_by_key(|iteration| iteration.iteration_index);
        for name in component.output_definitions.parameters.keys() {
            let made = iterations
                .iter()
                .filter_map(|iteration| iteration.outputs.parameters.get(name));
            let is_nested = comes_from_loop(&pipeline, component, name);
            let joined: Vec<Value> = made
                .flat_map(|value| match value {
                    Value::Array(items) if is_nested => items.clone(),
                    one => vec![one.clone()],
                })
                .collect();
            bound.parameters.insert(name.clone(), Value::Array(joined));
        }
        for name in component.output_definitions.artifacts.keys() {
            let joined: Vec<Artifact> = iterations
                .iter()
                .filter_map(|iteration| iteration.outputs.artifacts.get(name))
                .flatten()
                .cloned()
                .collect();
            bound.artifacts.insert(name.clone(), joined);
        }
        bound
    }
}

/// True when a component's output is, however deep, what a loop inside it collected.
fn comes_from_loop(pipeline: &Pipeline, component: &Component, output: &str) -> bool {
    let Some(dag) = &component.dag else {
        return false;
    };
    let Some(selectors) = dag.outputs.parameters.get(output) else {
        return false;
    };
    selectors.selectors().iter().any(|candidate| {
        let Some(entry) = dag.tasks.get(&candidate.producer_subtask) else {
            return false;
        };
        if entry.parameter_iterator.is_some() || entry.artifact_iterator.is_some() {
            return true;
        }
        // Components do not contain themselves (validated), so this ends.
        pipeline
            .component(&entry.component_ref.name)
            .is_some_and(|inner| comes_from_loop(pipeline, inner, &candidate.output_parameter_key))
    })
}
