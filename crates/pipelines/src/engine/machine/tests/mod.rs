//! The rules of a run, each on the smallest document that shows it. Steps are simulated: a test says how each ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::*;
use crate::ir::Pipeline;

mod conditions;
mod exits;
mod loops;
mod order;
mod retries;
mod stopping;
mod values;

const HEAD: &str = r"
pipelineInfo: {name: demo}
schemaVersion: 2.1.0
deploymentSpec: {executors: {exec-a: {container: {image: busybox, command: [run], args: ['{{$}}']}}}}
";

/// Components most documents share: a step that takes and gives a number, and one without either.
const COMPONENTS: &str = r"
components:
  comp-a: {executorLabel: exec-a}
  comp-n:
    executorLabel: exec-a
    inputDefinitions: {parameters: {x: {parameterType: NUMBER_INTEGER, isOptional: true, defaultValue: 7.0}}}
    outputDefinitions: {parameters: {Output: {parameterType: NUMBER_INTEGER}}}
";

struct Sim {
    machine: Machine,
    now: Timestamp,
    /// Steps launched and not ended, by task name, in order of launching.
    open: Vec<Step>,
    launched: Vec<String>,
    stopped: Vec<String>,
}

impl Sim {
    fn new(document: &str) -> Self {
        Self::with(document, json!({}))
    }

    fn with(document: &str, parameters: Value) -> Self {
        let pipeline = Arc::new(Pipeline::parse(document).unwrap());
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let run = Run {
            id: "r1".into(),
            namespace: String::new(),
            experiment_id: "e1".into(),
            display_name: "my run".into(),
            description: String::new(),
            is_archived: false,
            state: RunState::Pending,
            state_history: vec![],
            error: None,
            created_at: now,
            scheduled_at: now,
            finished_at: None,
            pipeline_id: String::new(),
            pipeline_version_id: String::new(),
            spec_hash: String::new(),
            parameters: parameters.as_object().unwrap().clone(),
            pipeline_root: String::new(),
            service_account: String::new(),
            plugins_input: Map::new(),
            resource_name: "demo-abcde".into(),
            shared_paths: vec![],
        };
        let mut sim = Self {
            machine: Machine::new(run, pipeline, vec![], Policy::default()),
            now,
            open: vec![],
            launched: vec![],
            stopped: vec![],
        };
        sim.machine.start(now);
        sim.settle();
        sim
    }

    fn settle(&mut self) {
        loop {
            self.machine.take_changes();
            let effects = self.machine.take_effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::FindCached { task_id, .. } => {
                        self.machine.on_cache_answer(&task_id, None, self.now)
                    }
                    Effect::FindImported { task_id, artifact } => {
                        self.machine.on_import_answer(&task_id, *artifact, self.now)
                    }
                    Effect::Launch(step) => {
                        self.launched.push(step.task_name.clone());
                        self.open.push(*step);
                    }
                    Effect::Stop { task_id, .. } => self
                        .stopped
                        .push(self.machine.task(&task_id).unwrap().name.clone()),
                    Effect::Finished => {}
                }
            }
        }
    }

    fn take(&mut self, name: &str) -> Step {
        let at = self
            .open
            .iter()
            .position(|step| step.task_name == name)
            .unwrap_or_else(|| panic!("{name} is not running; running: {:?}", self.running()));
        self.open.remove(at)
    }

    fn running(&self) -> Vec<&str> {
        self.open
            .iter()
            .map(|step| step.task_name.as_str())
            .collect()
    }

    /// Ends a running step well, with these output parameters.
    fn succeed(&mut self, name: &str, outputs: Value) -> Step {
        let step = self.take(name);
        self.end(
            &step,
            Outcome::Succeeded {
                report: Box::new(launcher::Report {
                    executor_output: Some(json!({"parameterValues": outputs})),
                    ..Default::default()
                }),
                log: None,
            },
        );
        step
    }

    fn fail(&mut self, name: &str) {
        let step = self.take(name);
        self.end(
            &step,
            Outcome::Failed {
                exit_code: Some(1),
                message: "exited with code 1".into(),
                log: None,
            },
        );
    }

    fn end(&mut self, step: &Step, outcome: Outcome) {
        self.machine
            .on_ended(&step.task_id, step.attempt, &outcome, self.now);
        self.settle();
    }

    /// Ends every running step well until none is left.
    fn finish_all(&mut self) {
        while let Some(name) = self.open.first().map(|step| step.task_name.clone()) {
            let outputs: BTreeMap<String, i32> = self.open[0]
                .output_parameters
                .keys()
                .map(|key| (key.clone(), 1))
                .collect();
            self.succeed(&name, json!(outputs));
        }
    }

    fn wait(&mut self, seconds: i64) {
        self.now = self
            .now
            .checked_add(SignedDuration::from_secs(seconds))
            .unwrap();
        self.machine.on_tick(self.now);
        self.settle();
    }

    fn state(&self, path: &str) -> State {
        self.task(path).state
    }

    fn task(&self, path: &str) -> &Task {
        let found = self.machine.tasks().find(|task| task.scope_path == path);
        found.unwrap_or_else(|| {
            panic!(
                "there is no task {path}; there are {:?}",
                self.machine
                    .tasks()
                    .map(|task| &task.scope_path)
                    .collect::<Vec<_>>()
            )
        })
    }

    fn run(&self) -> RunState {
        self.machine.run().state
    }
}

fn pipeline(components: &str, tasks: &str) -> String {
    format!("{HEAD}{COMPONENTS}{components}root:\n  dag:\n    tasks:\n{tasks}")
}
