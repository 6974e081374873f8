//! Retrying a finished, failed run: what went well stays, what failed and everything after it runs again.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::artifact::Bindings;
use crate::run::RunState;
use crate::task::{State, Task};

use super::{Machine, component_of};

impl Machine {
    /// Takes a failed run up again. Only valid for a final one.
    pub fn rerun(&mut self, now: Timestamp) {
        self.run.error = None;
        self.enter_run(RunState::Running, now, None);
        match self.root_id().cloned() {
            Some(root)
                if self.tasks[&root].inputs == Bindings::default()
                    && self.children_of(&root).next().is_none() =>
            {
                self.forget(&root);
                self.create_root(now);
            }
            Some(root) => self.reopen(&root, now),
            None => self.create_root(now),
        }
        self.advance(now);
    }

    /// Makes a failed graph or loop run again around what is done.
    fn reopen(&mut self, id: &str, now: Timestamp) {
        let task = self.edit(id);
        task.outputs = Bindings::default();
        task.is_omitted = false;
        task.enter(State::Running, now, Some("retried".to_owned()));
        self.queue.push_back(id.to_owned());
        for child in self.children_to_redo(id) {
            let has_begun = self.children_of(&child).next().is_some();
            let task = &self.tasks[&child];
            if task.is_composite() && task.state.is_failure() && has_begun {
                self.reopen(&child, now);
            } else if task.iteration_index.is_some() && task.attempts.is_empty() {
                // The loop makes it anew with its item.
                self.forget(&child);
            } else if task.iteration_index.is_some() {
                let task = self.edit(&child);
                task.retries = 0;
                task.retry_at = Some(now);
                task.enter(State::Pending, now, Some("retried".to_owned()));
            } else {
                self.reset(&child, now);
            }
        }
    }

    /// Children that did not go well, and those that follow them.
    fn children_to_redo(&self, id: &str) -> Vec<String> {
        let is_undone = |task: &Task| {
            task.state.is_failure() || task.is_omitted || task.state == State::Pending
        };
        let children: Vec<&Task> = self.children_of(id).collect();
        let mut redo: BTreeSet<&str> = children
            .iter()
            .filter(|task| is_undone(task))
            .map(|task| task.name.as_str())
            .collect();
        let pipeline = Arc::clone(&self.pipeline);
        if let Some(dag) = &component_of(&pipeline, &self.tasks[id]).dag {
            loop {
                let following: Vec<&str> = children
                    .iter()
                    .map(|task| task.name.as_str())
                    .filter(|name| {
                        !redo.contains(name)
                            && dag.tasks.get(*name).is_some_and(|entry| {
                                entry
                                    .dependencies()
                                    .iter()
                                    .any(|dependency| redo.contains(dependency))
                            })
                    })
                    .collect();
                if following.is_empty() {
                    break;
                }
                redo.extend(following);
            }
        }
        children
            .into_iter()
            .filter(|task| redo.contains(task.name.as_str()))
            .map(|task| task.id.clone())
            .collect()
    }

    fn reset(&mut self, id: &str, now: Timestamp) {
        for child in self.children.get(id).cloned().unwrap_or_default() {
            self.forget(&child);
        }
        let task = self.edit(id);
        task.inputs = Bindings::default();
        task.outputs = Bindings::default();
        task.items = None;
        task.retries = 0;
        task.retry_at = None;
        task.cached_from = None;
        task.fingerprint = None;
        task.is_omitted = false;
        task.ready_at = None;
        task.started_at = None;
        task.enter(State::Pending, now, Some("retried".to_owned()));
    }

    fn forget(&mut self, id: &str) {
        for child in self.children.remove(id).unwrap_or_default() {
            self.forget(&child);
        }
        if let Some(task) = self.tasks.remove(id) {
            self.children
                .entry(task.parent_id.unwrap_or_default())
                .or_default()
                .retain(|child| child != id);
            self.changed.remove(id);
            self.removed.push(id.to_owned());
        }
    }
}
