//! Leaf tasks: looking for a reusable result, launching, hearing how it went, importing.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::artifact::{Artifact, Bindings};
use crate::engine::step::{self, Step};
use crate::ir::spec::Importer;
use crate::ir::{numbers, parameter, placeholder};
use crate::run::RunState;
use crate::store::artifact::LinkKind;
use crate::task::{Attempt, Origin, State, Task};

use super::{Effect, Machine, component_of};

/// How one attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The launcher reported success.
    Succeeded {
        /// What it reported.
        report: Box<launcher::Report>,
        /// Key of the stored log.
        log: Option<String>,
    },
    /// It failed, for whatever reason.
    Failed {
        /// Exit code, when a command ran.
        exit_code: Option<i32>,
        /// Cause, exit code and last lines in words.
        message: String,
        /// Key of the stored log.
        log: Option<String>,
    },
    /// The machine went away under it: it runs again without using up a retry.
    Interrupted {
        /// What happened.
        message: String,
    },
}

impl Machine {
    pub(super) fn begin_container(&mut self, id: &str, now: Timestamp) {
        let entry = self.entry_of(&self.tasks[id]);
        let caching = entry
            .map(|entry| entry.caching_options.clone())
            .unwrap_or_default();
        if !caching.enable_cache || !self.policy.is_cache_enabled {
            return self.launch(id, now);
        }
        match self.step(id, 0) {
            Ok(step) if !step.is_reusable() => self.launch(id, now),
            Ok(step) => {
                let fingerprint = step.fingerprint(&caching.cache_key);
                self.edit(id).fingerprint = Some(fingerprint.clone());
                self.awaited.insert(id.to_owned());
                self.effects.push(Effect::FindCached {
                    task_id: id.to_owned(),
                    fingerprint,
                });
            }
            Err(problem) => self.finish(id, State::Failed, Some(problem), now),
        }
    }

    /// The answer to [`Effect::FindCached`]: the task whose outputs may be taken over, if any.
    pub fn on_cache_answer(&mut self, id: &str, hit: Option<&Task>, now: Timestamp) {
        if !self.awaited.remove(id) || self.tasks.get(id).is_none_or(|task| task.state.is_final()) {
            return;
        }
        match hit {
            Some(origin) => {
                let task = self.edit(id);
                task.outputs = origin.outputs.clone();
                task.cached_from = Some(origin.cached_from.clone().unwrap_or_else(|| Origin {
                    run_id: origin.run_id.clone(),
                    task_id: origin.id.clone(),
                }));
                self.link_all(id, LinkKind::Output);
                self.finish(
                    id,
                    State::Cached,
                    Some("outputs taken over from an earlier run".to_owned()),
                    now,
                );
            }
            None => self.launch(id, now),
        }
        self.advance(now);
    }

    /// Makes the next attempt.
    pub(super) fn launch(&mut self, id: &str, now: Timestamp) {
        let number = self.tasks[id]
            .attempts
            .last()
            .map_or(0, |last| last.number + 1);
        match self.step(id, number) {
            Ok(step) => {
                let attempt = Attempt {
                    number,
                    pod: step.pod_name.clone(),
                    pod_uid: String::new(),
                    started_at: None,
                    ended_at: None,
                    exit_code: None,
                    message: None,
                    log: None,
                };
                let task = self.edit(id);
                task.attempts.push(attempt);
                if task.state != State::Pending {
                    task.enter(State::Pending, now, None);
                }
                self.note_shared_paths(&step);
                self.effects.push(Effect::Launch(Box::new(step)));
            }
            Err(problem) => self.finish(id, State::Failed, Some(problem), now),
        }
    }

    /// After a restart: the open attempt is launched once more.
    pub(super) fn relaunch_open(&mut self, id: &str, now: Timestamp) {
        let number = self.tasks[id]
            .open_attempt()
            .map_or(0, |attempt| attempt.number);
        if self.run.state == RunState::Canceling {
            self.effects.push(Effect::Stop {
                task_id: id.to_owned(),
                attempt: number,
            });
            return;
        }
        match self.step(id, number) {
            Ok(step) => self.effects.push(Effect::Launch(Box::new(step))),
            Err(problem) => self.finish(id, State::Failed, Some(problem), now),
        }
    }

    /// The command of an attempt has begun.
    pub fn on_started(&mut self, id: &str, number: u32, pod_uid: &str, now: Timestamp) {
        let Some(task) = self.current(id, number) else {
            return;
        };
        if task.state == State::Running {
            return;
        }
        let task = self.edit(id);
        if let Some(attempt) = task.attempts.last_mut() {
            attempt.started_at = Some(now);
            pod_uid.clone_into(&mut attempt.pod_uid);
        }
        task.enter(State::Running, now, None);
    }

    /// An attempt cannot begin yet, and this is why.
    pub fn on_waiting(&mut self, id: &str, number: u32, message: &str) {
        let Some(task) = self.current(id, number) else {
            return;
        };
        if task.state == State::Pending && task.message.as_deref() != Some(message) {
            self.edit(id).message = Some(message.to_owned());
        }
    }

    /// An attempt has ended. Hearing of it twice changes nothing.
    pub fn on_ended(&mut self, id: &str, number: u32, outcome: &Outcome, now: Timestamp) {
        if self.current(id, number).is_none() {
            return;
        }
        let decoded = match outcome {
            Outcome::Succeeded { report, .. } => self.decode(id, number, report).map(Some),
            Outcome::Failed { message, .. } => Err(message.clone()),
            Outcome::Interrupted { .. } => Ok(None),
        };
        let log = match outcome {
            Outcome::Succeeded { log, .. } | Outcome::Failed { log, .. } => log.clone(),
            Outcome::Interrupted { .. } => None,
        };
        let exit_code = match outcome {
            Outcome::Succeeded { report, .. } => Some(report.exit_code),
            Outcome::Failed { exit_code, .. } => *exit_code,
            Outcome::Interrupted { .. } => None,
        };
        if let Some(attempt) = self.edit(id).attempts.last_mut() {
            attempt.ended_at = Some(now);
            attempt.exit_code = exit_code;
            attempt.log = log;
            attempt.message = decoded.as_ref().err().cloned();
        }
        match decoded {
            Ok(Some(outputs)) => {
                self.edit(id).outputs = outputs;
                self.link_all(id, LinkKind::Output);
                if let Some(fingerprint) = self.tasks[id].fingerprint.clone() {
                    self.cached.push((fingerprint, id.to_owned()));
                }
                self.finish(id, State::Succeeded, None, now);
            }
            Ok(None) if self.run.state == RunState::Running => {
                let task = self.edit(id);
                task.enter(
                    State::Pending,
                    now,
                    Some("interrupted; runs again".to_owned()),
                );
                self.launch(id, now);
            }
            Ok(None) => self.finish(
                id,
                State::Canceled,
                Some("the run was stopped".to_owned()),
                now,
            ),
            Err(_) if self.run.state == RunState::Canceling => self.finish(
                id,
                State::Canceled,
                Some("the run was stopped".to_owned()),
                now,
            ),
            Err(message) => self.fail_attempt(id, message, now),
        }
        self.advance(now);
    }

    fn fail_attempt(&mut self, id: &str, message: String, now: Timestamp) {
        match self.next_attempt_at(&self.tasks[id], now) {
            Some(at) => {
                let task = self.edit(id);
                task.retries += 1;
                task.retry_at = Some(at);
                let parent = task.parent_id.clone();
                task.enter(
                    State::Pending,
                    now,
                    Some(format!(
                        "attempt {} failed, runs again: {message}",
                        task.retries
                    )),
                );
                if at <= now {
                    self.queue.extend(parent);
                }
            }
            None => self.finish(id, State::Failed, Some(message), now),
        }
    }

    /// The task, when this is its open attempt.
    fn current(&self, id: &str, number: u32) -> Option<&Task> {
        self.tasks.get(id).filter(|task| {
            !task.state.is_final()
                && task
                    .open_attempt()
                    .is_some_and(|attempt| attempt.number == number)
        })
    }

    fn step(&self, id: &str, number: u32) -> Result<Step, String> {
        let task = &self.tasks[id];
        let component = component_of(&self.pipeline, task);
        let platform = self.platform_of(task)?;
        step::build(&step::Request {
            run: &self.run,
            pipeline: &self.pipeline,
            task,
            component,
            platform,
            names: self.names(task),
            root: &self.pipeline_root(),
            number,
        })
    }

    /// Outputs of a successful attempt: the executor's account wins over files.
    fn decode(&self, id: &str, number: u32, report: &launcher::Report) -> Result<Bindings, String> {
        let task = &self.tasks[id];
        let component = component_of(&self.pipeline, task);
        let step = self.step(id, number)?;
        let account = report.executor_output.as_ref();
        let field = |camel: &str, snake: &str| {
            account.and_then(|account| account.get(camel).or_else(|| account.get(snake)))
        };
        let values = field("parameterValues", "parameter_values");
        let mut outputs = Bindings::default();
        for (key, spec) in &component.output_definitions.parameters {
            let value = match values.and_then(|values| values.get(key)) {
                Some(value) => parameter::fit(value.clone(), spec),
                None => match report.parameters.get(key) {
                    Some(text) => parameter::parse_text(text, spec.kind()),
                    None => Err("was not written".to_owned()),
                },
            };
            let value = value.map_err(|problem| format!("output parameter {key:?} {problem}"))?;
            outputs.parameters.insert(key.clone(), value);
        }
        let reported = field("artifacts", "artifacts");
        for (key, spec) in &component.output_definitions.artifacts {
            let planned = step
                .executor_input
                .pointer("/outputs/artifacts")
                .and_then(|all| all.get(key))
                .and_then(|list| list.get("artifacts"))
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let made = reported
                .and_then(|all| all.get(key))
                .and_then(|list| list.get("artifacts"))
                .and_then(Value::as_array);
            let made = made
                .filter(|made| !made.is_empty() || spec.is_artifact_list)
                .cloned()
                .unwrap_or_else(|| planned.clone());
            let artifacts = made.iter().enumerate().map(|(index, runtime)| {
                self.recorded(
                    task,
                    number,
                    key,
                    index,
                    &spec.artifact_type,
                    planned.first(),
                    runtime,
                    report
                        .artifacts
                        .get(key)
                        .filter(|_| made.len() == 1)
                        .map(|found| found.size_bytes),
                )
            });
            outputs.artifacts.insert(key.clone(), artifacts.collect());
        }
        Ok(outputs)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one place builds artifacts from what a step reports"
    )]
    fn recorded(
        &self,
        task: &Task,
        number: u32,
        key: &str,
        index: usize,
        kind: &crate::ir::component::ArtifactType,
        planned: Option<&Value>,
        runtime: &Value,
        size_bytes: Option<u64>,
    ) -> Artifact {
        let text = |source: Option<&Value>, field: &str| {
            source
                .and_then(|source| source.get(field))
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let mut metadata = runtime
            .get("metadata")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        metadata.values_mut().for_each(numbers::normalise);
        let key_of_id = format!("{}/{number}/{key}/{index}", task.id);
        Artifact {
            id: uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, key_of_id.as_bytes()).to_string(),
            name: text(Some(runtime), "name").unwrap_or_else(|| key.to_owned()),
            kind: kind.clone(),
            uri: text(Some(runtime), "uri")
                .or_else(|| text(planned, "uri"))
                .unwrap_or_default(),
            metadata,
            // The launcher has brought it to its place.
            custom_path: None,
            size_bytes,
            created_at: task
                .current_attempt()
                .and_then(|attempt| attempt.ended_at)
                .unwrap_or(task.created_at),
        }
    }

    pub(super) fn begin_import(&mut self, id: &str, importer: &Importer, now: Timestamp) {
        let task = &self.tasks[id];
        let input = json!({"inputs": {"parameterValues": task.inputs.parameters, "artifacts": {}}});
        let names = self.names(task);
        let scope = placeholder::Scope {
            executor_input: &input,
            names: &names,
        };
        let uri = match (
            &importer.artifact_uri.runtime_parameter,
            importer.artifact_uri.value(),
        ) {
            (_, Some(constant)) => placeholder::resolve(&parameter::text(&constant), scope),
            (Some(name), None) => task
                .inputs
                .parameters
                .get(name)
                .map(parameter::text)
                .unwrap_or_default(),
            (None, None) => String::new(),
        };
        if uri.is_empty() {
            return self.finish(
                id,
                State::Failed,
                Some("the importer's artifact URI is empty".to_owned()),
                now,
            );
        }
        let mut metadata: Map<String, Value> = importer
            .metadata
            .iter()
            .map(|(key, value)| {
                (
                    placeholder::resolve(key, scope),
                    resolve_metadata(value, scope),
                )
            })
            .collect();
        if importer.download_to_workspace {
            metadata.insert("_kfp_workspace".to_owned(), true.into());
        }
        let key = component_of(&self.pipeline, task)
            .output_definitions
            .artifacts
            .keys()
            .next()
            .cloned()
            .unwrap_or_else(|| "artifact".to_owned());
        let artifact = Artifact {
            id: uuid::Uuid::new_v5(
                &uuid::Uuid::NAMESPACE_OID,
                format!("{}/import", task.id).as_bytes(),
            )
            .to_string(),
            name: key,
            kind: importer.type_schema.clone(),
            uri,
            metadata,
            custom_path: None,
            size_bytes: None,
            created_at: now,
        };
        self.edit(id).enter(State::Running, now, None);
        if importer.reimport {
            return self.end_import(id, artifact, now);
        }
        self.awaited.insert(id.to_owned());
        self.effects.push(Effect::FindImported {
            task_id: id.to_owned(),
            artifact: Box::new(artifact),
        });
    }

    /// The answer to [`Effect::FindImported`]: the known artifact, or the one that was to be made.
    pub fn on_import_answer(&mut self, id: &str, artifact: Artifact, now: Timestamp) {
        if !self.awaited.remove(id) || self.tasks.get(id).is_none_or(|task| task.state.is_final()) {
            return;
        }
        self.end_import(id, artifact, now);
        self.advance(now);
    }

    fn end_import(&mut self, id: &str, artifact: Artifact, now: Timestamp) {
        let key = component_of(&self.pipeline, &self.tasks[id])
            .output_definitions
            .artifacts
            .keys()
            .next()
            .cloned()
            .unwrap_or_else(|| "artifact".to_owned());
        self.edit(id).outputs.artifacts.insert(key, vec![artifact]);
        self.link_all(id, LinkKind::Output);
        self.finish(id, State::Succeeded, None, now);
    }

    fn note_shared_paths(&mut self, step: &Step) {
        for path in &step.shared_paths {
            if !self.run.shared_paths.contains(path) {
                self.run.shared_paths.push(path.clone());
                self.is_run_changed = true;
            }
        }
    }
}

/// A text that is one whole placeholder keeps the type of what it stands for.
fn resolve_metadata(value: &Value, scope: placeholder::Scope<'_>) -> Value {
    if let Value::String(text) = value
        && let Some(name) = text
            .strip_prefix("{{$.inputs.parameters['")
            .and_then(|rest| rest.strip_suffix("']}}"))
        && let Some(found) = scope
            .executor_input
            .pointer("/inputs/parameterValues")
            .and_then(|values| values.get(name))
    {
        return found.clone();
    }
    placeholder::resolve_value(value, scope)
}
