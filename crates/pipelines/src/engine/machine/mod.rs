//! One run as a state machine. Stored tasks and events go in; changed tasks and effects (look up a cached result, launch a
//! step, stop it) come out. It reads no clock, no database and no cluster, so every rule of ordering, skipping, looping,
//! retrying and stopping is tested in microseconds.
//!
//! Invariant: the owner stores [`Machine::take_changes`] before it performs [`Machine::take_effects`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::artifact::Artifact;
use crate::ir::{self, Component, Pipeline};
use crate::run::{Run, RunError, RunState};
use crate::store::artifact::LinkKind;
use crate::task::{Attempt, Kind, State, Task};

mod container;
mod graph;
mod inputs;
mod iteration;
mod outputs;
mod rerun;
mod retry;
#[cfg(test)]
mod tests;

pub use container::Outcome;

use super::step::Step;

/// A stopped run shows CANCELING at least this long: clients that read it right after terminating expect to see it.
const CANCELING_SHOWN: SignedDuration = SignedDuration::from_secs(3);

/// Settings of the engine that change what a run does.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Results may be reused at all.
    pub is_cache_enabled: bool,
    /// What an exit task reads about a task that succeeded: `COMPLETE`, or `SUCCEEDED`.
    pub success_word: String,
    /// Artifact root of runs and pipelines that name none.
    pub default_root: String,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            is_cache_enabled: true,
            success_word: "COMPLETE".to_owned(),
            default_root: artifacts::uri::DEFAULT_ROOT.to_owned(),
        }
    }
}

/// What the owner must do, after storing the changes.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Look for a reusable result and answer with [`Machine::on_cache_answer`].
    FindCached {
        /// The task.
        task_id: String,
        /// The key.
        fingerprint: String,
    },
    /// Look for a known artifact and answer with [`Machine::on_import_answer`].
    FindImported {
        /// The task.
        task_id: String,
        /// The artifact as it would be made.
        artifact: Box<Artifact>,
    },
    /// Run a step; doing it twice must be harmless.
    Launch(Box<Step>),
    /// End a step.
    Stop {
        /// The task.
        task_id: String,
        /// The attempt.
        attempt: u32,
    },
    /// The run is final.
    Finished,
}

/// What changed since the last time, to be stored in one transaction.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// The run's row, when it changed.
    pub run: Option<Run>,
    /// New and changed tasks.
    pub tasks: Vec<Task>,
    /// Tasks to forget.
    pub removed: Vec<String>,
    /// New artifacts and links.
    pub links: Vec<Link>,
    /// Results that may be reused from now on: fingerprint and task.
    pub cached: Vec<(String, Task)>,
}

impl Changes {
    /// Nothing to store.
    pub fn is_empty(&self) -> bool {
        self.run.is_none()
            && self.tasks.is_empty()
            && self.removed.is_empty()
            && self.links.is_empty()
            && self.cached.is_empty()
    }
}

/// An artifact on one side of a task.
#[derive(Clone, Debug)]
pub struct Link {
    /// The artifact.
    pub artifact: Artifact,
    /// The task.
    pub task_id: String,
    /// Which side.
    pub kind: LinkKind,
    /// Input or output name.
    pub key: String,
}

/// One run at work.
pub struct Machine {
    run: Run,
    pipeline: Arc<Pipeline>,
    policy: Policy,
    tasks: BTreeMap<String, Task>,
    /// Parent id to children, in the order they were made.
    children: HashMap<String, Vec<String>>,
    /// Tasks whose cache or import answer is awaited.
    awaited: HashSet<String>,
    /// Graphs and loops to look at again.
    queue: VecDeque<String>,
    is_run_changed: bool,
    changed: BTreeSet<String>,
    removed: Vec<String>,
    links: Vec<Link>,
    cached: Vec<(String, String)>,
    effects: Vec<Effect>,
}

impl Machine {
    /// A run with whatever tasks it has so far.
    pub fn new(run: Run, pipeline: Arc<Pipeline>, tasks: Vec<Task>, policy: Policy) -> Self {
        let mut machine = Self {
            run,
            pipeline,
            policy,
            tasks: BTreeMap::new(),
            children: HashMap::new(),
            awaited: HashSet::new(),
            queue: VecDeque::new(),
            is_run_changed: false,
            changed: BTreeSet::new(),
            removed: Vec::new(),
            links: Vec::new(),
            cached: Vec::new(),
            effects: Vec::new(),
        };
        for task in tasks {
            machine.index(task);
        }
        machine
    }

    /// The run as it is now.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The pipeline it runs.
    pub fn pipeline(&self) -> &Arc<Pipeline> {
        &self.pipeline
    }

    /// One task.
    pub fn task(&self, id: &str) -> Option<&Task> {
        self.tasks.get(id)
    }

    /// All tasks.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.tasks.values()
    }

    /// What has to be stored.
    pub fn take_changes(&mut self) -> Changes {
        let changed = std::mem::take(&mut self.changed);
        Changes {
            run: std::mem::take(&mut self.is_run_changed).then(|| self.run.clone()),
            tasks: changed
                .iter()
                .filter_map(|id| self.tasks.get(id).cloned())
                .collect(),
            removed: std::mem::take(&mut self.removed),
            links: std::mem::take(&mut self.links),
            cached: std::mem::take(&mut self.cached)
                .into_iter()
                .filter_map(|(key, id)| Some((key, self.tasks.get(&id)?.clone())))
                .collect(),
        }
    }

    /// What has to be done.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Begins a new run, or takes an interrupted one up again: every open attempt is launched once more, which is
    /// harmless where its pod is already there.
    pub fn start(&mut self, now: Timestamp) {
        if self.run.state == RunState::Pending {
            self.enter_run(RunState::Running, now, None);
        }
        if self.root_id().is_none() {
            self.create_root(now);
        }
        let open: Vec<String> = self
            .tasks
            .values()
            .filter(|task| !task.state.is_final())
            .map(|task| task.id.clone())
            .collect();
        for id in open {
            let task = &self.tasks[&id];
            if task.is_composite() {
                if task.state == State::Running {
                    self.queue.push_back(id);
                }
            } else if task.open_attempt().is_some() {
                self.relaunch_open(&id, now);
            }
        }
        self.advance(now);
    }

    /// Time has passed: due retries, deadlines.
    pub fn on_tick(&mut self, now: Timestamp) {
        self.check_deadline(now);
        let due: Vec<String> = self
            .tasks
            .values()
            .filter(|task| {
                task.state == State::Pending && task.retry_at.is_some_and(|at| at <= now)
            })
            .filter_map(|task| task.parent_id.clone())
            .collect();
        self.queue.extend(due);
        self.advance(now);
    }

    /// When [`Self::on_tick`] has something to do next.
    pub fn next_wake(&self) -> Option<Timestamp> {
        if self.run.state.is_final() {
            return None;
        }
        let retries = self
            .tasks
            .values()
            .filter(|task| task.state == State::Pending)
            .filter_map(|task| task.retry_at);
        retries
            .chain(
                self.deadline()
                    .filter(|_| self.run.state == RunState::Running),
            )
            .chain(self.canceling_until())
            .min()
    }

    /// The user stops the run.
    pub fn terminate(&mut self, now: Timestamp) {
        self.stop(
            RunError {
                code: 1,
                message: "cancelled by user".to_owned(),
            },
            now,
        );
        self.advance(now);
    }

    fn stop(&mut self, why: RunError, now: Timestamp) {
        if self.run.state.is_final() || self.run.state == RunState::Canceling {
            return;
        }
        self.enter_run(RunState::Canceling, now, Some(why));
        for id in self.tasks.keys().cloned().collect::<Vec<_>>() {
            let task = &self.tasks[&id];
            if task.state.is_final() || task.is_composite() {
                continue;
            }
            match task.open_attempt() {
                Some(attempt) => self.effects.push(Effect::Stop {
                    task_id: id.clone(),
                    attempt: attempt.number,
                }),
                None => {
                    self.awaited.remove(&id);
                    self.finish(
                        &id,
                        State::Canceled,
                        Some("not run: the run was stopped".to_owned()),
                        now,
                    );
                }
            }
        }
        let open = self
            .tasks
            .values()
            .filter(|task| task.is_composite() && task.state == State::Running)
            .map(|task| task.id.clone());
        self.queue.extend(open.collect::<Vec<_>>());
    }

    /// Looks at every queued graph until nothing changes, then at the run.
    fn advance(&mut self, now: Timestamp) {
        while let Some(id) = self.queue.pop_front() {
            let Some(task) = self.tasks.get(&id) else {
                continue;
            };
            if task.state != State::Running {
                continue;
            }
            if task.kind == Kind::Loop {
                self.advance_loop(&id, now)
            } else {
                self.advance_graph(&id, now)
            }
        }
        self.settle(now);
    }

    /// Ends the run when its root has ended.
    fn settle(&mut self, now: Timestamp) {
        if self.run.state.is_final() {
            return;
        }
        let Some(root) = self
            .root_id()
            .map(|id| &self.tasks[id])
            .filter(|root| root.state.is_final())
        else {
            return;
        };
        if self.run.state == RunState::Canceling {
            if self.canceling_until().is_some_and(|until| now < until) {
                return;
            }
            self.enter_run(RunState::Failed, now, None);
        } else if root.state.is_success() {
            self.enter_run(RunState::Succeeded, now, None);
        } else {
            let message = root
                .message
                .clone()
                .unwrap_or_else(|| "a step failed".to_owned());
            self.enter_run(RunState::Failed, now, Some(RunError { code: 13, message }));
        }
        self.effects.push(Effect::Finished);
    }

    fn canceling_until(&self) -> Option<Timestamp> {
        let since = self
            .run
            .state_history
            .last()
            .filter(|_| self.run.state == RunState::Canceling)?;
        since.at.checked_add(CANCELING_SHOWN).ok()
    }

    fn deadline(&self) -> Option<Timestamp> {
        let seconds = self
            .pipeline
            .platform_config()
            .get("activeDeadlineSeconds")
            .and_then(Value::as_i64)
            .filter(|seconds| *seconds > 0)?;
        self.run
            .created_at
            .checked_add(SignedDuration::from_secs(seconds))
            .ok()
    }

    fn check_deadline(&mut self, now: Timestamp) {
        if self.run.state == RunState::Running
            && self.deadline().is_some_and(|deadline| deadline <= now)
        {
            let message = "the run took longer than its activeDeadlineSeconds allows".to_owned();
            self.stop(RunError { code: 4, message }, now);
        }
    }

    fn enter_run(&mut self, state: RunState, now: Timestamp, error: Option<RunError>) {
        self.run.enter(state, now, error);
        self.is_run_changed = true;
    }

    fn root_id(&self) -> Option<&String> {
        self.children.get("").and_then(|roots| roots.first())
    }

    fn index(&mut self, task: Task) {
        self.children
            .entry(task.parent_id.clone().unwrap_or_default())
            .or_default()
            .push(task.id.clone());
        self.tasks.insert(task.id.clone(), task);
    }

    fn add(&mut self, task: Task) {
        self.changed.insert(task.id.clone());
        self.index(task);
    }

    fn edit(&mut self, id: &str) -> &mut Task {
        self.changed.insert(id.to_owned());
        self.tasks
            .get_mut(id)
            .expect("ids come from the table itself")
    }

    /// Ends a task and has its parent looked at.
    fn finish(&mut self, id: &str, state: State, message: Option<String>, now: Timestamp) {
        let task = self.edit(id);
        task.retry_at = None;
        task.enter(state, now, message);
        let parent = task.parent_id.clone();
        self.queue.extend(parent);
    }

    fn children_of(&self, id: &str) -> impl Iterator<Item = &Task> {
        self.children
            .get(id)
            .into_iter()
            .flatten()
            .filter_map(|child| self.tasks.get(child))
    }

    /// The graph entry of a task; iterations and the root have none.
    fn entry_of(&self, task: &Task) -> Option<&ir::Task> {
        let parent = self.tasks.get(task.parent_id.as_ref()?)?;
        if task.iteration_index.is_some() {
            return None;
        }
        self.pipeline
            .component(&parent.component)?
            .dag
            .as_ref()?
            .tasks
            .get(&task.name)
    }

    fn create_root(&mut self, now: Timestamp) {
        let name = self.pipeline.spec.pipeline_info.name.clone();
        let mut root = self.blank(
            "root".to_owned(),
            name,
            Kind::Root,
            String::new(),
            None,
            now,
        );
        root.display_name = self.run.display_name.clone();
        let resolved = self.root_inputs();
        let id = root.id.clone();
        match resolved {
            Ok(inputs) => {
                root.inputs = inputs;
                root.enter(State::Running, now, None);
                self.add(root);
                self.queue.push_back(id);
            }
            Err(problem) => {
                root.enter(State::Failed, now, Some(problem));
                self.add(root);
            }
        }
    }

    fn blank(
        &self,
        scope_path: String,
        name: String,
        kind: Kind,
        component: String,
        parent: Option<&Task>,
        now: Timestamp,
    ) -> Task {
        // A retried run makes tasks anew whose pods must not be taken for those of the first time.
        let times_begun = self
            .run
            .state_history
            .iter()
            .filter(|change| change.state == RunState::Running)
            .count();
        let key = format!("{}/{times_begun}/{scope_path}", self.run.id);
        let id = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, key.as_bytes()).to_string();
        Task {
            id,
            run_id: self.run.id.clone(),
            parent_id: parent.map(|parent| parent.id.clone()),
            display_name: name.clone(),
            name,
            scope_path,
            kind,
            component,
            iteration_index: None,
            items: None,
            state: State::Pending,
            history: vec![crate::task::StateChange {
                state: State::Pending,
                at: now,
                message: None,
            }],
            message: None,
            created_at: now,
            ready_at: None,
            started_at: None,
            ended_at: None,
            inputs: crate::artifact::Bindings::default(),
            outputs: crate::artifact::Bindings::default(),
            attempts: Vec::<Attempt>::new(),
            retries: 0,
            retry_at: None,
            fingerprint: None,
            cached_from: None,
            is_omitted: false,
        }
    }

    fn link_all(&mut self, task_id: &str, kind: LinkKind) {
        let Some(task) = self.tasks.get(task_id) else {
            return;
        };
        let bindings = match kind {
            LinkKind::Input => &task.inputs,
            LinkKind::Output => &task.outputs,
        };
        let links = bindings.artifacts.iter().flat_map(|(key, artifacts)| {
            artifacts.iter().map(|artifact| Link {
                artifact: artifact.clone(),
                task_id: task_id.to_owned(),
                kind,
                key: key.clone(),
            })
        });
        self.links.extend(links.collect::<Vec<_>>());
    }
}

/// The component of a task. Stored tasks name components of a pipeline that was validated before they were made.
fn component_of<'p>(pipeline: &'p Pipeline, task: &Task) -> &'p Component {
    pipeline
        .component(&task.component)
        .unwrap_or(&pipeline.spec.root)
}
