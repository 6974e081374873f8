//! The rules of a run, each on the smallest document that shows it. Steps are simulated: a test says how each ends.
//! One file because every test plays the same machine with the same few words, which stand at its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::*;
use crate::ir::Pipeline;

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

#[test]
fn tasks_run_after_what_they_name_and_what_they_use() {
    let mut sim = Sim::new(&pipeline(
        "",
        r"
      first: {componentRef: {name: comp-a}}
      second: {componentRef: {name: comp-n}, dependentTasks: [first]}
      third: {componentRef: {name: comp-n}, inputs: {parameters: {x: {taskOutputParameter: {producerTask: second, outputParameterKey: Output}}}}}
",
    ));
    assert_eq!(sim.running(), ["first"]);
    sim.succeed("first", json!({}));
    assert_eq!(sim.running(), ["second"]);
    sim.succeed("second", json!({"Output": 5}));
    let third = sim.succeed("third", json!({"Output": 6}));
    assert_eq!(
        third.executor_input["inputs"]["parameterValues"],
        json!({"x": 5})
    );
    assert_eq!(sim.run(), RunState::Succeeded);
    assert_eq!(sim.state("root"), State::Succeeded);
}

#[test]
fn a_failure_stops_what_has_not_begun_and_lets_what_runs_come_to_its_end() {
    let mut sim = Sim::new(&pipeline(
        "",
        r"
      a: {componentRef: {name: comp-a}}
      b: {componentRef: {name: comp-a}}
      after-a: {componentRef: {name: comp-a}, dependentTasks: [a]}
      after-b: {componentRef: {name: comp-a}, dependentTasks: [b]}
",
    ));
    sim.fail("a");
    assert_eq!(sim.run(), RunState::Running, "b still runs");
    sim.succeed("b", json!({}));
    assert_eq!(sim.launched, ["a", "b"]);
    assert_eq!(sim.run(), RunState::Failed);
    assert_eq!(
        sim.task("root.after-a").message.as_deref(),
        Some("not run: a did not succeed")
    );
    assert_eq!(
        sim.machine.run().error.as_ref().unwrap().message,
        "step a failed: exited with code 1"
    );
}

#[test]
fn an_exit_task_runs_once_after_a_failure_and_learns_of_it() {
    let components = r"
  comp-exit:
    executorLabel: exec-a
    inputDefinitions: {parameters: {status: {parameterType: TASK_FINAL_STATUS, isOptional: true}}}
  comp-exit-handler-1: {dag: {tasks: {work: {componentRef: {name: comp-a}}, more: {componentRef: {name: comp-a}, dependentTasks: [work]}}}}
";
    let tasks = r"
      exit-handler-1: {componentRef: {name: comp-exit-handler-1}}
      bye: {componentRef: {name: comp-exit}, dependentTasks: [exit-handler-1], triggerPolicy: {strategy: ALL_UPSTREAM_TASKS_COMPLETED}, inputs: {parameters: {status: {taskFinalStatus: {producerTask: exit-handler-1}}}}}
";
    let mut sim = Sim::new(&pipeline(components, tasks));
    assert_eq!(sim.task("root.exit-handler-1").kind, Kind::ExitHandler);
    sim.fail("work");
    let bye = sim.succeed("bye", json!({}));
    let status = &bye.executor_input["inputs"]["parameterValues"]["status"];
    assert_eq!(status["state"], "FAILED");
    assert_eq!(status["pipelineTaskName"], "exit-handler-1");
    assert_eq!(status["pipelineJobResourceName"], "demo-abcde");
    assert_eq!(
        status["error"]["message"],
        "step work failed: exited with code 1"
    );
    assert_eq!(sim.run(), RunState::Failed);

    let mut well = Sim::new(&pipeline(components, tasks));
    well.succeed("work", json!({}));
    well.succeed("more", json!({}));
    let bye = well.take("bye");
    assert_eq!(
        bye.executor_input["inputs"]["parameterValues"]["status"]["state"],
        "COMPLETE"
    );
    well.end(
        &bye,
        Outcome::Failed {
            exit_code: Some(1),
            message: "no".into(),
            log: None,
        },
    );
    assert_eq!(
        well.run(),
        RunState::Failed,
        "a failed exit task fails the run"
    );
}

#[test]
fn what_follows_a_task_that_ignores_failures_still_runs() {
    let mut sim = Sim::new(&pipeline(
        "",
        r"
      a: {componentRef: {name: comp-a}}
      clean: {componentRef: {name: comp-a}, dependentTasks: [a], triggerPolicy: {strategy: ALL_UPSTREAM_TASKS_COMPLETED}}
      report: {componentRef: {name: comp-a}, dependentTasks: [clean]}
",
    ));
    sim.fail("a");
    sim.succeed("clean", json!({}));
    sim.succeed("report", json!({}));
    assert_eq!(sim.run(), RunState::Failed);
}

fn branches(value: &str) -> Sim {
    let components = r#"
  comp-branch:
    dag:
      outputs: {parameters: {a: {valueFromParameter: {producerSubtask: n, outputParameterKey: Output}}}}
      tasks: {n: {componentRef: {name: comp-n}}}
    inputDefinitions: {parameters: {pipelinechannel--x: {parameterType: STRING}}}
    outputDefinitions: {parameters: {a: {parameterType: NUMBER_INTEGER}}}
  comp-condition-branches-1:
    dag:
      outputs: {parameters: {out: {valueFromOneof: {parameterSelectors: [{producerSubtask: condition-2, outputParameterKey: a}, {producerSubtask: condition-3, outputParameterKey: a}]}}}}
      tasks:
        condition-2: {componentRef: {name: comp-branch}, inputs: {parameters: {pipelinechannel--x: {componentInputParameter: pipelinechannel--x}}}, triggerPolicy: {condition: "inputs.parameter_values['pipelinechannel--x'] == 'A'"}}
        condition-3: {componentRef: {name: comp-branch}, inputs: {parameters: {pipelinechannel--x: {componentInputParameter: pipelinechannel--x}}}, triggerPolicy: {condition: "!(inputs.parameter_values['pipelinechannel--x'] == 'A') && inputs.parameter_values['pipelinechannel--x'] == 'B'"}}
    inputDefinitions: {parameters: {pipelinechannel--x: {parameterType: STRING}}}
    outputDefinitions: {parameters: {out: {parameterType: NUMBER_INTEGER}}}
"#;
    let tasks = r"
      condition-branches-1: {componentRef: {name: comp-condition-branches-1}, inputs: {parameters: {pipelinechannel--x: {componentInputParameter: x}}}}
      use: {componentRef: {name: comp-n}, inputs: {parameters: {x: {taskOutputParameter: {producerTask: condition-branches-1, outputParameterKey: out}}}}}
";
    let document = format!(
        "{}  inputDefinitions: {{parameters: {{x: {{parameterType: STRING}}}}}}\n",
        pipeline(components, tasks)
    );
    Sim::with(&document, json!({"x": value}))
}

#[test]
fn one_of_takes_the_branch_that_ran() {
    let mut sim = branches("B");
    assert_eq!(
        sim.state("root.condition-branches-1.condition-2"),
        State::Skipped
    );
    assert_eq!(sim.task("root.condition-branches-1").kind, Kind::Condition);
    assert_eq!(
        sim.task("root.condition-branches-1.condition-3").kind,
        Kind::ConditionBranch
    );
    sim.succeed("n", json!({"Output": 9}));
    assert_eq!(sim.state("root.condition-branches-1"), State::Succeeded);
    let used = sim.succeed("use", json!({"Output": 0}));
    assert_eq!(used.executor_input["inputs"]["parameterValues"]["x"], 9);
}

#[test]
fn an_output_that_no_branch_made_leaves_the_default_of_its_consumer() {
    let mut sim = branches("C");
    let used = sim.succeed("use", json!({"Output": 0}));
    assert_eq!(used.executor_input["inputs"]["parameterValues"]["x"], 7);
    assert_eq!(sim.run(), RunState::Succeeded);
}

#[test]
fn what_follows_a_skipped_task_is_skipped_and_the_run_succeeds() {
    let components =
        "  comp-condition-1: {dag: {tasks: {inner: {componentRef: {name: comp-a}}}}}\n";
    let sim = Sim::new(&pipeline(
        components,
        r"
      condition-1: {componentRef: {name: comp-condition-1}, triggerPolicy: {condition: '1 == 2'}}
      after: {componentRef: {name: comp-a}, dependentTasks: [condition-1]}
",
    ));
    assert_eq!(sim.state("root.condition-1"), State::Skipped);
    assert_eq!(sim.state("root.after"), State::Skipped);
    assert_eq!(sim.run(), RunState::Succeeded);
}

#[test]
fn a_condition_that_cannot_be_decided_fails_the_run() {
    let sim = Sim::new(&pipeline(
        "",
        "      a: {componentRef: {name: comp-a}, triggerPolicy: {condition: \"inputs.parameter_values['none'] == 1\"}}\n",
    ));
    assert_eq!(sim.run(), RunState::Failed);
    assert!(
        sim.task("root.a")
            .message
            .as_ref()
            .unwrap()
            .contains("cannot be decided")
    );
}

const LOOP: &str = r"
  comp-make:
    executorLabel: exec-a
    outputDefinitions: {parameters: {Output: {parameterType: LIST}}}
  comp-sum:
    executorLabel: exec-a
    inputDefinitions: {parameters: {xs: {parameterType: LIST}}}
  comp-for-loop-1:
    dag:
      outputs: {parameters: {pipelinechannel--step-Output: {valueFromParameter: {producerSubtask: step, outputParameterKey: Output}}}}
      tasks:
        step: {componentRef: {name: comp-n}, inputs: {parameters: {x: {componentInputParameter: item, parameterExpressionSelector: 'parseJson(string_value)[''a'']'}}}}
    inputDefinitions: {parameters: {item: {parameterType: STRUCT}, list: {parameterType: LIST}}}
    outputDefinitions: {parameters: {pipelinechannel--step-Output: {parameterType: LIST}}}
";

fn looped(limit: usize) -> Sim {
    Sim::new(&pipeline(
        LOOP,
        &format!(
            r"
      make: {{componentRef: {{name: comp-make}}}}
      for-loop-1:
        componentRef: {{name: comp-for-loop-1}}
        inputs: {{parameters: {{list: {{taskOutputParameter: {{producerTask: make, outputParameterKey: Output}}}}}}}}
        iteratorPolicy: {{parallelismLimit: {limit}.0}}
        parameterIterator: {{itemInput: item, items: {{inputParameter: list}}}}
      join: {{componentRef: {{name: comp-sum}}, dependentTasks: [for-loop-1], inputs: {{parameters: {{xs: {{taskOutputParameter: {{producerTask: for-loop-1, outputParameterKey: pipelinechannel--step-Output}}}}}}}}}}
"
        ),
    ))
}

#[test]
fn a_loop_over_a_produced_list_keeps_its_limit_and_its_order() {
    let mut sim = looped(2);
    sim.succeed(
        "make",
        json!({"Output": [{"a": 10.0}, {"a": 20}, {"a": 30}]}),
    );
    assert_eq!(sim.running(), ["step", "step"], "two at a time");
    let second = sim.open.remove(1);
    assert_eq!(second.executor_input["inputs"]["parameterValues"]["x"], 20);
    let outcome = |value: i32| Outcome::Succeeded {
        report: Box::new(launcher::Report {
            parameters: [("Output".to_owned(), value.to_string())].into(),
            ..Default::default()
        }),
        log: None,
    };
    sim.end(&second, outcome(2));
    assert_eq!(
        sim.running(),
        ["step", "step"],
        "the third takes the free place"
    );
    let third = sim.open.remove(1);
    sim.end(&third, outcome(3));
    let first = sim.open.remove(0);
    assert_eq!(first.executor_input["inputs"]["parameterValues"]["x"], 10);
    sim.end(&first, outcome(1));
    let join = sim.succeed("join", json!({}));
    assert_eq!(
        join.executor_input["inputs"]["parameterValues"]["xs"],
        json!([1, 2, 3])
    );
    assert_eq!(sim.task("root.for-loop-1").kind, Kind::Loop);
    assert_eq!(
        sim.task("root.for-loop-1.iteration-1").iteration_index,
        Some(1)
    );
    assert_eq!(sim.run(), RunState::Succeeded);
}

#[test]
fn an_empty_loop_succeeds_with_empty_outputs() {
    let mut sim = looped(0);
    sim.succeed("make", json!({"Output": []}));
    let join = sim.succeed("join", json!({}));
    assert_eq!(
        join.executor_input["inputs"]["parameterValues"]["xs"],
        json!([])
    );
}

#[test]
fn a_failed_iteration_fails_the_loop_after_the_others_ended() {
    let mut sim = looped(2);
    sim.succeed("make", json!({"Output": [{"a": 1}, {"a": 2}, {"a": 3}]}));
    sim.fail("step");
    assert_eq!(sim.state("root.for-loop-1"), State::Running);
    sim.succeed("step", json!({"Output": 1}));
    assert_eq!(sim.state("root.for-loop-1"), State::Failed);
    assert_eq!(sim.run(), RunState::Failed);
    assert_eq!(
        sim.machine.run().error.as_ref().unwrap().message,
        "iteration 0: step step failed: exited with code 1"
    );
}

#[test]
fn a_loop_over_something_else_than_a_list_fails_in_words() {
    let mut sim = looped(0);
    let step = sim.take("make");
    sim.end(
        &step,
        Outcome::Succeeded {
            report: Box::new(launcher::Report {
                parameters: [("Output".to_owned(), "3".to_owned())].into(),
                ..Default::default()
            }),
            log: None,
        },
    );
    assert_eq!(
        sim.task("root.make").message.as_deref(),
        Some("output parameter \"Output\" must be a list, is a number (3)")
    );
}

#[test]
fn outputs_collected_over_nested_loops_are_one_flat_list() {
    let components = r"
  comp-sum:
    executorLabel: exec-a
    inputDefinitions: {parameters: {xs: {parameterType: LIST}}}
  comp-for-loop-2:
    dag:
      outputs: {parameters: {o: {valueFromParameter: {producerSubtask: n, outputParameterKey: Output}}}}
      tasks: {n: {componentRef: {name: comp-n}, inputs: {parameters: {x: {componentInputParameter: j}}}}}
    inputDefinitions: {parameters: {j: {parameterType: NUMBER_INTEGER}}}
    outputDefinitions: {parameters: {o: {parameterType: LIST}}}
  comp-for-loop-1:
    dag:
      outputs: {parameters: {o: {valueFromParameter: {producerSubtask: for-loop-2, outputParameterKey: o}}}}
      tasks: {for-loop-2: {componentRef: {name: comp-for-loop-2}, parameterIterator: {itemInput: j, items: {raw: '[1, 2]'}}}}
    inputDefinitions: {parameters: {i: {parameterType: STRING}}}
    outputDefinitions: {parameters: {o: {parameterType: LIST}}}
";
    let mut sim = Sim::new(&pipeline(
        components,
        r#"
      for-loop-1: {componentRef: {name: comp-for-loop-1}, parameterIterator: {itemInput: i, items: {raw: '["a", "b"]'}}}
      join: {componentRef: {name: comp-sum}, inputs: {parameters: {xs: {taskOutputParameter: {producerTask: for-loop-1, outputParameterKey: o}}}}}
"#,
    ));
    assert_eq!(sim.running().len(), 4);
    for value in 1..=4 {
        sim.succeed("n", json!({"Output": value}));
    }
    let join = sim.succeed("join", json!({}));
    assert_eq!(
        join.executor_input["inputs"]["parameterValues"]["xs"],
        json!([1, 2, 3, 4])
    );
}

#[test]
fn a_failed_step_is_tried_again_after_its_delay_with_the_index_of_the_attempt() {
    let mut sim = Sim::new(&pipeline(
        "",
        "      a: {componentRef: {name: comp-a}, retryPolicy: {maxRetryCount: 2.0, backoffDuration: 10s, backoffFactor: 2.0}}\n",
    ));
    let first = sim.open[0].clone();
    sim.fail("a");
    assert!(sim.open.is_empty());
    sim.wait(9);
    assert!(sim.open.is_empty(), "not before its time");
    sim.wait(1);
    let second = sim.open[0].clone();
    assert_eq!((second.attempt, second.retry_index), (1, 1));
    assert_ne!(first.pod_name, second.pod_name);
    sim.fail("a");
    sim.wait(20);
    sim.fail("a");
    assert_eq!(sim.run(), RunState::Failed);
    assert_eq!(sim.task("root.a").attempts.len(), 3);
}

#[test]
fn a_retry_on_a_graph_applies_to_its_steps() {
    let components = "  comp-inner: {dag: {tasks: {step: {componentRef: {name: comp-a}}}}}\n";
    let mut sim = Sim::new(&pipeline(
        components,
        "      inner: {componentRef: {name: comp-inner}, retryPolicy: {maxRetryCount: 1.0, backoffDuration: 0s}}\n",
    ));
    sim.fail("step");
    assert_eq!(sim.running(), ["step"]);
    sim.succeed("step", json!({}));
    assert_eq!(sim.run(), RunState::Succeeded);
}

#[test]
fn an_interrupted_step_runs_again_without_using_up_a_retry() {
    let mut sim = Sim::new(&pipeline("", "      a: {componentRef: {name: comp-a}}\n"));
    let step = sim.take("a");
    sim.end(
        &step,
        Outcome::Interrupted {
            message: "the node went down".into(),
        },
    );
    assert_eq!((sim.open[0].attempt, sim.open[0].retry_index), (1, 0));
    sim.succeed("a", json!({}));
    assert_eq!(sim.run(), RunState::Succeeded);
}

#[test]
fn hearing_twice_how_a_step_ended_changes_nothing() {
    let mut sim = Sim::new(&pipeline(
        "",
        "      a: {componentRef: {name: comp-a}}\n      b: {componentRef: {name: comp-a}, dependentTasks: [a]}\n",
    ));
    let step = sim.succeed("a", json!({}));
    sim.end(
        &step,
        Outcome::Failed {
            exit_code: Some(1),
            message: "late".into(),
            log: None,
        },
    );
    assert_eq!(sim.state("root.a"), State::Succeeded);
    assert_eq!(sim.launched, ["a", "b"]);
}

#[test]
fn a_stopped_run_shows_canceling_for_a_while_and_then_failed() {
    let mut sim = Sim::new(&pipeline(
        "",
        "      a: {componentRef: {name: comp-a}}\n      b: {componentRef: {name: comp-a}, dependentTasks: [a]}\n",
    ));
    sim.machine.terminate(sim.now);
    sim.settle();
    assert_eq!(sim.stopped, ["a"]);
    assert_eq!(sim.state("root.b"), State::Canceled);
    let step = sim.take("a");
    sim.end(
        &step,
        Outcome::Failed {
            exit_code: Some(143),
            message: "killed".into(),
            log: None,
        },
    );
    assert_eq!(sim.run(), RunState::Canceling);
    assert!(sim.machine.next_wake().is_some());
    sim.wait(3);
    assert_eq!(sim.run(), RunState::Failed);
    assert_eq!(
        sim.machine.run().error.as_ref().unwrap().message,
        "cancelled by user"
    );
    let states: Vec<RunState> = sim
        .machine
        .run()
        .state_history
        .iter()
        .map(|change| change.state)
        .collect();
    assert_eq!(
        states,
        [RunState::Running, RunState::Canceling, RunState::Failed]
    );
}

#[test]
fn a_run_past_its_deadline_is_stopped_and_says_so() {
    let document = format!(
        "{}---\nplatforms: {{kubernetes: {{pipelineConfig: {{activeDeadlineSeconds: 60.0}}}}}}\n",
        pipeline("", "      a: {componentRef: {name: comp-a}}\n")
    );
    let mut sim = Sim::new(&document);
    sim.wait(60);
    assert_eq!(sim.stopped, ["a"]);
    let step = sim.take("a");
    sim.end(
        &step,
        Outcome::Failed {
            exit_code: Some(143),
            message: "killed".into(),
            log: None,
        },
    );
    sim.wait(5);
    assert!(
        sim.machine
            .run()
            .error
            .as_ref()
            .unwrap()
            .message
            .contains("activeDeadlineSeconds")
    );
}

#[test]
fn retrying_a_failed_run_keeps_what_went_well_and_repeats_the_rest() {
    let mut sim = Sim::new(&pipeline(
        "",
        r"
      a: {componentRef: {name: comp-n}}
      b: {componentRef: {name: comp-n}, inputs: {parameters: {x: {taskOutputParameter: {producerTask: a, outputParameterKey: Output}}}}}
      c: {componentRef: {name: comp-a}, dependentTasks: [b]}
      done: {componentRef: {name: comp-a}, dependentTasks: [b], triggerPolicy: {strategy: ALL_UPSTREAM_TASKS_COMPLETED}}
",
    ));
    sim.succeed("a", json!({"Output": 4}));
    let pod = sim.open[0].pod_name.clone();
    sim.fail("b");
    sim.finish_all();
    assert_eq!(sim.run(), RunState::Failed);
    assert_eq!(sim.launched, ["a", "b", "done"]);
    sim.machine.rerun(sim.now);
    sim.settle();
    assert_eq!(sim.run(), RunState::Running);
    assert_eq!(sim.running(), ["b"]);
    assert_ne!(sim.open[0].pod_name, pod);
    let again = sim.succeed("b", json!({"Output": 1}));
    assert_eq!(again.executor_input["inputs"]["parameterValues"]["x"], 4);
    sim.finish_all();
    assert_eq!(sim.launched, ["a", "b", "done", "b", "c", "done"]);
    assert_eq!(sim.run(), RunState::Succeeded);
    assert!(sim.machine.run().error.is_none());
}

#[test]
fn retrying_repeats_only_the_failed_iterations_of_a_loop() {
    let mut sim = looped(0);
    sim.succeed("make", json!({"Output": [{"a": 1}, {"a": 2}, {"a": 3}]}));
    sim.succeed("step", json!({"Output": 1}));
    sim.fail("step");
    sim.succeed("step", json!({"Output": 3}));
    assert_eq!(sim.run(), RunState::Failed);
    sim.machine.rerun(sim.now);
    sim.settle();
    assert_eq!(sim.running(), ["step"]);
    let again = sim.succeed("step", json!({"Output": 2}));
    assert_eq!(again.executor_input["inputs"]["parameterValues"]["x"], 2);
    let join = sim.succeed("join", json!({}));
    assert_eq!(
        join.executor_input["inputs"]["parameterValues"]["xs"],
        json!([1, 2, 3])
    );
}

#[test]
fn a_machine_made_from_stored_tasks_goes_on_where_it_was() {
    let document = pipeline(
        "",
        "      a: {componentRef: {name: comp-n}}\n      b: {componentRef: {name: comp-n}, inputs: {parameters: {x: {taskOutputParameter: {producerTask: a, outputParameterKey: Output}}}}}\n",
    );
    let mut sim = Sim::new(&document);
    sim.succeed("a", json!({"Output": 4}));
    let before = sim.open.remove(0);
    let tasks: Vec<Task> = sim.machine.tasks().cloned().collect();
    sim.machine = Machine::new(
        sim.machine.run().clone(),
        Arc::clone(sim.machine.pipeline()),
        tasks,
        Policy::default(),
    );
    sim.machine.start(sim.now);
    sim.settle();
    assert_eq!(
        sim.open,
        [before],
        "the very same step is launched once more"
    );
    sim.succeed("b", json!({"Output": 1}));
    assert_eq!(sim.run(), RunState::Succeeded);
}

#[test]
fn constants_embed_other_inputs_of_the_task_which_the_component_never_sees() {
    let components = "  comp-s:\n    executorLabel: exec-a\n    inputDefinitions: {parameters: {text: {parameterType: STRING}}}\n";
    let document = format!(
        "{}  inputDefinitions: {{parameters: {{who: {{parameterType: STRING}}}}}}\n",
        pipeline(
            components,
            r"
      a:
        componentRef: {name: comp-s}
        inputs:
          parameters:
            pipelinechannel--who: {componentInputParameter: who}
            text: {runtimeValue: {constant: 'hi {{$.inputs.parameters[''pipelinechannel--who'']}} from {{$.pipeline_job_name}}'}}
"
        )
    );
    let sim = Sim::with(&document, json!({"who": "you"}));
    assert_eq!(
        sim.open[0].executor_input["inputs"]["parameterValues"],
        json!({"text": "hi you from my run"})
    );
}

#[test]
fn a_required_input_without_value_fails_the_task_in_words() {
    let components = "  comp-s:\n    executorLabel: exec-a\n    inputDefinitions: {parameters: {x: {parameterType: NUMBER_INTEGER}}}\n";
    let mut sim = Sim::new(&pipeline(
        components,
        r"
      a: {componentRef: {name: comp-n}}
      b: {componentRef: {name: comp-s}, triggerPolicy: {strategy: ALL_UPSTREAM_TASKS_COMPLETED}, inputs: {parameters: {x: {taskOutputParameter: {producerTask: a, outputParameterKey: Output}}}}}
",
    ));
    sim.fail("a");
    assert_eq!(
        sim.task("root.b").message.as_deref(),
        Some("input parameter \"x\" has no value: task \"a\" did not succeed")
    );
}

#[test]
fn an_importer_makes_an_artifact_without_a_container() {
    let document = r"
pipelineInfo: {name: demo}
schemaVersion: 2.1.0
deploymentSpec:
  executors:
    exec-a: {container: {image: busybox, command: [run]}}
    exec-i: {importer: {artifactUri: {runtimeParameter: uri}, typeSchema: {schemaTitle: system.Dataset}, metadata: {n: '{{$.inputs.parameters[''m'']}}', s: 'v{{$.inputs.parameters[''m'']}}'}}}
components:
  comp-i:
    executorLabel: exec-i
    inputDefinitions: {parameters: {uri: {parameterType: STRING}, m: {parameterType: NUMBER_INTEGER}}}
    outputDefinitions: {artifacts: {artifact: {artifactType: {schemaTitle: system.Dataset}}}}
  comp-use:
    executorLabel: exec-a
    inputDefinitions: {artifacts: {d: {artifactType: {schemaTitle: system.Dataset}}}}
root:
  dag:
    tasks:
      importer: {componentRef: {name: comp-i}, inputs: {parameters: {uri: {runtimeValue: {constant: 's3://b/k'}}, m: {runtimeValue: {constant: 3.0}}}}}
      use: {componentRef: {name: comp-use}, inputs: {artifacts: {d: {taskOutputArtifact: {producerTask: importer, outputArtifactKey: artifact}}}}}
";
    let mut sim = Sim::new(document);
    assert_eq!(sim.task("root.importer").kind, Kind::Importer);
    let used = sim.succeed("use", json!({}));
    let artifact = &used.executor_input["inputs"]["artifacts"]["d"]["artifacts"][0];
    assert_eq!(
        (artifact["uri"].as_str(), &artifact["metadata"]),
        (Some("s3://b/k"), &json!({"n": 3, "s": "v3"}))
    );
}

#[test]
fn output_artifacts_take_uri_and_metadata_from_the_executors_account() {
    let components = "  comp-m:\n    executorLabel: exec-a\n    outputDefinitions: {artifacts: {model: {artifactType: {schemaTitle: system.Model}, metadata: {a: 1.0}}}}\n";
    let mut sim = Sim::new(&pipeline(
        components,
        "      train: {componentRef: {name: comp-m}}\n",
    ));
    let step = sim.take("train");
    let planned = step.executor_input["outputs"]["artifacts"]["model"]["artifacts"][0]["uri"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        planned.starts_with("minio://mlpipeline/v2/artifacts/demo/r1/train/"),
        "{planned}"
    );
    let account = json!({"artifacts": {"model": {"artifacts": [{"name": "m", "uri": planned, "metadata": {"accuracy": 0.5, "epochs": 3.0}}]}}});
    sim.end(
        &step,
        Outcome::Succeeded {
            report: Box::new(launcher::Report {
                executor_output: Some(account),
                ..Default::default()
            }),
            log: None,
        },
    );
    let artifact = &sim.task("root.train").outputs.artifacts["model"][0];
    assert_eq!(
        (
            artifact.uri.as_str(),
            artifact.name.as_str(),
            artifact.api_type()
        ),
        (planned.as_str(), "m", "Model")
    );
    assert_eq!(
        Value::Object(artifact.metadata.clone()),
        json!({"accuracy": 0.5, "epochs": 3})
    );
}

#[test]
fn a_step_with_outputs_but_no_command_fails_in_words() {
    let document =
        pipeline("", "      a: {componentRef: {name: comp-n}}\n").replace("command: [run], ", "");
    let sim = Sim::new(&document);
    assert!(
        sim.task("root.a")
            .message
            .as_ref()
            .unwrap()
            .contains("outputs but no command")
    );
}
