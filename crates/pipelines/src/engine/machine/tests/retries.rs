//! Further attempts, of steps and of whole runs, and taking up again after a crash.

use serde_json::json;

use super::*;

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
