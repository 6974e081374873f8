//! Graphs: which tasks may begin, which never will, and when the graph itself has ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::ir::spec::Dag;
use crate::ir::{Executor, condition};
use crate::run::RunState;
use crate::store::artifact::LinkKind;
use crate::task::{Kind, State, Task};

use super::{Machine, component_of};

/// What is to become of a task that has not begun.
#[derive(Debug, PartialEq, Eq)]
enum Readiness {
    /// Something it follows has not ended.
    Wait,
    /// It begins.
    Run,
    /// It need not run, and what follows it need not either.
    Skip(String),
    /// It never runs because something failed.
    Omit(String),
}

impl Machine {
    pub(super) fn advance_graph(&mut self, id: &str, now: Timestamp) {
        let graph = self.tasks[id].clone();
        let pipeline = Arc::clone(&self.pipeline);
        let Some(dag) = &component_of(&pipeline, &graph).dag else {
            return;
        };
        if self.children.get(id).is_none_or(Vec::is_empty) {
            for key in dag.tasks.keys() {
                self.create_child(&graph, dag, key, now);
            }
        }
        let keys: BTreeMap<String, String> = self
            .children_of(id)
            .map(|child| (child.name.clone(), child.id.clone()))
            .collect();
        // A decision may make another possible at once, so go round until none is made.
        loop {
            let mut has_decided = false;
            let failed = self
                .children_of(id)
                .find(|child| child.state.is_failure())
                .map(|child| child.display_name.clone());
            for (key, child) in &keys {
                if self.is_undecided(child, now) {
                    has_decided |= self.decide(dag, &keys, key, child, failed.as_deref(), now);
                }
            }
            if !has_decided {
                break;
            }
        }
        if self.children_of(id).all(|child| child.state.is_final()) {
            self.end_graph(&graph, now);
        }
    }

    fn is_undecided(&self, child: &str, now: Timestamp) -> bool {
        let task = &self.tasks[child];
        task.state == State::Pending
            && task.open_attempt().is_none()
            && !self.awaited.contains(child)
            && task.retry_at.is_none_or(|at| at <= now)
    }

    fn decide(
        &mut self,
        dag: &Dag,
        keys: &BTreeMap<String, String>,
        key: &str,
        child: &str,
        failed: Option<&str>,
        now: Timestamp,
    ) -> bool {
        if self.run.state == RunState::Canceling {
            self.finish(
                child,
                State::Canceled,
                Some("not run: the run was stopped".to_owned()),
                now,
            );
            return true;
        }
        if self.tasks[child].retry_at.is_some() {
            self.edit(child).retry_at = None;
            self.launch(child, now);
            return true;
        }
        match self.readiness(dag, keys, key, failed) {
            Readiness::Wait => return false,
            Readiness::Run => self.begin(dag, key, child, now),
            Readiness::Skip(why) => self.finish(child, State::Skipped, Some(why), now),
            Readiness::Omit(why) => {
                self.edit(child).is_omitted = true;
                self.finish(child, State::Skipped, Some(why), now);
            }
        }
        true
    }

    /// `failed`: a task of the graph that failed, if one did before this round; one that fails in it is seen in the next.
    fn readiness(
        &self,
        dag: &Dag,
        keys: &BTreeMap<String, String>,
        key: &str,
        failed: Option<&str>,
    ) -> Readiness {
        let state_of = |name: &str| keys.get(name).map(|id| &self.tasks[id]);
        let entry = &dag.tasks[key];
        let dependencies = entry.dependencies();
        let has_open = dependencies
            .iter()
            .any(|name| state_of(name).is_none_or(|task| !task.state.is_final()));
        if entry.runs_after_failure() {
            return if has_open {
                Readiness::Wait
            } else {
                Readiness::Run
            };
        }
        for name in &dependencies {
            if let Some(task) = state_of(name)
                && (task.state.is_failure() || task.is_omitted)
            {
                return Readiness::Omit(format!("not run: {} did not succeed", task.display_name));
            }
        }
        if let Some(failed) = failed
            && !follows_exit_task(dag, key)
        {
            return Readiness::Omit(format!("not run: {failed} failed before it could begin"));
        }
        if has_open {
            return Readiness::Wait;
        }
        for name in &dependencies {
            if let Some(task) = state_of(name)
                && task.state == State::Skipped
            {
                return Readiness::Skip(format!("skipped: {} was skipped", task.display_name));
            }
        }
        Readiness::Run
    }

    fn begin(&mut self, dag: &Dag, key: &str, child: &str, now: Timestamp) {
        let entry = &dag.tasks[key];
        self.edit(child).ready_at = Some(now);
        let task = self.tasks[child].clone();
        let pipeline = Arc::clone(&self.pipeline);
        let component = component_of(&pipeline, &task);
        let parent = self.tasks[task.parent_id.as_deref().unwrap_or_default()].clone();
        let given = match self.given_inputs(&parent, key, entry) {
            Ok(given) => given,
            Err(problem) => return self.finish(child, State::Failed, Some(problem), now),
        };
        if !entry.trigger_policy.condition.is_empty() {
            match condition::holds(
                &entry.trigger_policy.condition,
                &given.for_condition(component),
            ) {
                Ok(true) => {}
                Ok(false) => {
                    let why = format!("skipped: {} is false", entry.trigger_policy.condition);
                    return self.finish(child, State::Skipped, Some(why), now);
                }
                Err(problem) => return self.finish(child, State::Failed, Some(problem), now),
            }
        }
        let item = entry
            .parameter_iterator
            .as_ref()
            .map(|iterator| iterator.item_input.as_str())
            .or(entry
                .artifact_iterator
                .as_ref()
                .map(|iterator| iterator.item_input.as_str()));
        let inputs = match given.bind(component, item) {
            Ok(inputs) => inputs,
            Err(problem) => return self.finish(child, State::Failed, Some(problem), now),
        };
        self.edit(child).inputs = inputs;
        self.link_all(child, LinkKind::Input);
        if task.kind == Kind::Loop {
            return self.begin_loop(entry, &given.raw_parameters, child, now);
        }
        self.begin_component(child, now);
    }

    /// Begins a task (or iteration) whose inputs are resolved.
    pub(super) fn begin_component(&mut self, id: &str, now: Timestamp) {
        let pipeline = Arc::clone(&self.pipeline);
        self.edit(id).ready_at.get_or_insert(now);
        let component = component_of(&pipeline, &self.tasks[id]);
        if component.dag.is_some() {
            self.edit(id).enter(State::Running, now, None);
            self.queue.push_back(id.to_owned());
            return;
        }
        let label = component.executor_label.as_deref().unwrap_or_default();
        match pipeline.executor(label) {
            Some(Executor::Importer(importer)) => self.begin_import(id, importer, now),
            _ => self.begin_container(id, now),
        }
    }

    fn end_graph(&mut self, graph: &Task, now: Timestamp) {
        let failure = self
            .children_of(&graph.id)
            .find(|child| child.state == State::Failed)
            .map(describe_failure);
        if let Some(message) = failure {
            return self.finish(&graph.id, State::Failed, Some(message), now);
        }
        if self
            .children_of(&graph.id)
            .any(|child| child.state == State::Canceled)
        {
            return self.finish(
                &graph.id,
                State::Canceled,
                Some("the run was stopped".to_owned()),
                now,
            );
        }
        let outputs = self.graph_outputs(graph);
        self.edit(&graph.id).outputs = outputs;
        self.link_all(&graph.id, LinkKind::Output);
        self.finish(&graph.id, State::Succeeded, None, now);
    }

    fn create_child(&mut self, graph: &Task, dag: &Dag, key: &str, now: Timestamp) {
        let entry = &dag.tasks[key];
        let component = self.pipeline.component(&entry.component_ref.name);
        let is_importer = component
            .and_then(|component| component.executor_label.as_deref())
            .and_then(|label| self.pipeline.executor(label))
            .is_some_and(|executor| matches!(executor, Executor::Importer(_)));
        let kind = if entry.parameter_iterator.is_some() || entry.artifact_iterator.is_some() {
            Kind::Loop
        } else if component.is_some_and(|component| component.dag.is_some()) {
            kind_of_graph(key, graph.kind)
        } else if is_importer {
            Kind::Importer
        } else {
            Kind::Runtime
        };
        let mut child = self.blank(
            format!("{}.{key}", graph.scope_path),
            key.to_owned(),
            kind,
            entry.component_ref.name.clone(),
            Some(graph),
            now,
        );
        entry.display_name(key).clone_into(&mut child.display_name);
        self.add(child);
    }
}

/// Which of the compiler's graphs a graph is; it tells only by name.
fn kind_of_graph(key: &str, parent: Kind) -> Kind {
    let is_numbered = |prefix: &str| {
        key.strip_prefix(prefix).is_some_and(|number| {
            !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
        })
    };
    if is_numbered("condition-branches-")
        || (is_numbered("condition-") && parent != Kind::Condition)
    {
        Kind::Condition
    } else if is_numbered("condition-") {
        Kind::ConditionBranch
    } else if is_numbered("exit-handler-") {
        Kind::ExitHandler
    } else {
        Kind::Dag
    }
}

/// True when a task runs after failures, or follows one that does: fail-fast leaves both alone.
fn follows_exit_task(dag: &Dag, key: &str) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    let mut stack = vec![key];
    while let Some(name) = stack.pop() {
        if !seen.insert(name) {
            continue;
        }
        let Some(entry) = dag.tasks.get(name) else {
            continue;
        };
        if entry.runs_after_failure() {
            return true;
        }
        stack.extend(entry.dependencies());
    }
    false
}

/// What a graph says about the child that made it fail.
pub(super) fn describe_failure(failed: &Task) -> String {
    let cause = failed.message.as_deref().unwrap_or("failed");
    if failed.is_composite() {
        cause.to_owned()
    } else {
        format!("step {} failed: {cause}", failed.display_name)
    }
}
