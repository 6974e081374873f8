//! Loops: one task per item, at most so many at a time, outputs in the order of the items.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::ir::spec::Task as Entry;
use crate::ir::{Component, parameter, placeholder};
use crate::run::RunState;
use crate::store::artifact::LinkKind;
use crate::task::{Kind, State, Task};

use super::graph::describe_failure;
use super::{Machine, component_of};

impl Machine {
    pub(super) fn begin_loop(
        &mut self,
        entry: &Entry,
        given: &BTreeMap<String, Value>,
        id: &str,
        now: Timestamp,
    ) {
        match self.loop_items(entry, given, id) {
            Ok(items) => {
                let task = self.edit(id);
                task.items = Some(items);
                task.enter(State::Running, now, None);
                self.queue.push_back(id.to_owned());
            }
            Err(problem) => self.finish(id, State::Failed, Some(problem), now),
        }
    }

    fn loop_items(
        &self,
        entry: &Entry,
        given: &BTreeMap<String, Value>,
        id: &str,
    ) -> Result<Vec<Value>, String> {
        let task = &self.tasks[id];
        if let Some(iterator) = &entry.artifact_iterator {
            let artifacts = task
                .inputs
                .artifacts
                .get(&iterator.items.input_artifact)
                .map_or(0, Vec::len);
            return Ok((0..artifacts).map(Value::from).collect());
        }
        let Some(iterator) = &entry.parameter_iterator else {
            return Ok(Vec::new());
        };
        let list = if let Some(raw) = &iterator.items.raw {
            let input = serde_json::json!({"inputs": {"parameterValues": given}});
            let names = self.names(task);
            Value::String(placeholder::resolve(
                raw,
                placeholder::Scope {
                    executor_input: &input,
                    names: &names,
                },
            ))
        } else {
            let name = iterator
                .items
                .input_parameter
                .as_deref()
                .unwrap_or_default();
            given
                .get(name)
                .or_else(|| task.inputs.parameters.get(name))
                .cloned()
                .ok_or_else(|| format!("the list to loop over (input {name:?}) has no value"))?
        };
        let list = match list {
            Value::String(text) => serde_json::from_str(&text)
                .map_err(|problem| format!("the list to loop over is not JSON: {problem}"))?,
            other => other,
        };
        match list {
            Value::Array(mut items) => {
                items.iter_mut().for_each(crate::ir::numbers::normalise);
                Ok(items)
            }
            other => Err(format!(
                "what to loop over is {}, not a list",
                crate::ir::schema::kind_of(&other)
            )),
        }
    }

    pub(super) fn advance_loop(&mut self, id: &str, now: Timestamp) {
        let task = self.tasks[id].clone();
        let items = task.items.clone().unwrap_or_default();
        let pipeline = Arc::clone(&self.pipeline);
        let component = component_of(&pipeline, &task);
        let (limit, item_input, is_artifact) = match self.entry_of(&task) {
            Some(entry) => {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a negative limit means none, as 0 does"
                )]
                let limit = entry.iterator_policy.parallelism_limit as usize;
                let parameter = entry
                    .parameter_iterator
                    .as_ref()
                    .map(|iterator| iterator.item_input.clone());
                let artifact = entry.artifact_iterator.as_ref().map(|iterator| {
                    (
                        iterator.item_input.clone(),
                        iterator.items.input_artifact.clone(),
                    )
                });
                (limit, parameter.unwrap_or_default(), artifact)
            }
            None => (0, String::new(), None),
        };
        // An iteration over a component that is no graph is the step itself; its retries begin here.
        let due = self.children_of(id).filter(|child| {
            child.state == State::Pending
                && child.open_attempt().is_none()
                && child.retry_at.is_some_and(|at| at <= now)
        });
        for child in due.map(|child| child.id.clone()).collect::<Vec<_>>() {
            self.edit(&child).retry_at = None;
            self.launch(&child, now);
        }
        let mut open = self
            .children_of(id)
            .filter(|child| !child.state.is_final())
            .count();
        let mut made: BTreeSet<usize> = self
            .children_of(id)
            .filter_map(|child| child.iteration_index)
            .collect();
        let has_failed = self.children_of(id).any(|child| child.state.is_failure());
        // A failed iteration lets the others that run come to their end, but no further one begins.
        for (next, item) in items.iter().enumerate() {
            if has_failed || self.run.state != RunState::Running || (limit > 0 && open >= limit) {
                break;
            }
            if !made.insert(next) {
                continue;
            }
            let mut iteration = self.blank(
                format!("{}.iteration-{next}", task.scope_path),
                format!("iteration-{next}"),
                Kind::Dag,
                task.component.clone(),
                Some(&task),
                now,
            );
            if component.dag.is_none() {
                iteration.kind = Kind::Runtime;
            }
            iteration.iteration_index = Some(next);
            iteration.inputs = task.inputs.clone();
            let bound = match &is_artifact {
                Some((input, list)) => {
                    let chosen = task
                        .inputs
                        .artifacts
                        .get(list)
                        .and_then(|artifacts| artifacts.get(next))
                        .cloned();
                    iteration
                        .inputs
                        .artifacts
                        .insert(input.clone(), chosen.into_iter().collect());
                    Ok(())
                }
                None => bind_item(component, &mut iteration, &item_input, item.clone()),
            };
            let child = iteration.id.clone();
            self.add(iteration);
            match bound {
                Ok(()) => self.begin_component(&child, now),
                Err(problem) => self.finish(&child, State::Failed, Some(problem), now),
            }
            open += usize::from(!self.tasks[&child].state.is_final());
        }
        let all_ended = open == 0;
        let is_complete = made.len() >= items.len()
            || self.children_of(id).any(|child| child.state.is_failure())
            || self.run.state == RunState::Canceling;
        if all_ended && is_complete {
            self.end_loop(&task, now);
        }
    }

    fn end_loop(&mut self, task: &Task, now: Timestamp) {
        let failed = self
            .children_of(&task.id)
            .find(|child| child.state == State::Failed);
        if let Some(failed) = failed {
            let message = format!(
                "iteration {}: {}",
                failed.iteration_index.unwrap_or_default(),
                describe_failure(failed)
            );
            return self.finish(&task.id, State::Failed, Some(message), now);
        }
        if self.run.state == RunState::Canceling {
            return self.finish(
                &task.id,
                State::Canceled,
                Some("the run was stopped".to_owned()),
                now,
            );
        }
        let outputs = self.loop_outputs(task);
        self.edit(&task.id).outputs = outputs;
        self.link_all(&task.id, LinkKind::Output);
        self.finish(&task.id, State::Succeeded, None, now);
    }
}

fn bind_item(
    component: &Component,
    iteration: &mut Task,
    input: &str,
    item: Value,
) -> Result<(), String> {
    let declared = component
        .input_definitions
        .parameters
        .get(input)
        .cloned()
        .unwrap_or_default();
    let value = parameter::fit(item, &declared)
        .map_err(|problem| format!("loop item for input {input:?} {problem}"))?;
    iteration.inputs.parameters.insert(input.to_owned(), value);
    Ok(())
}
