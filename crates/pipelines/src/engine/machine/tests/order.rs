//! What runs after what, and what does not.

use serde_json::json;

use super::*;

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
fn a_task_counts_as_created_when_its_turn_comes() {
    let mut sim = Sim::new(&pipeline(
        "",
        r"
      first: {componentRef: {name: comp-a}}
      second: {componentRef: {name: comp-a}, dependentTasks: [first]}
      third: {componentRef: {name: comp-a}, dependentTasks: [second]}
",
    ));
    let begun = sim.now;
    assert_eq!(sim.task("root.first").ready_at, Some(begun));
    assert_eq!(sim.task("root.second").ready_at, None, "it waits");
    sim.wait(5);
    let turn = sim.now;
    sim.succeed("first", json!({}));
    assert_eq!(sim.task("root.second").ready_at, Some(turn));
    sim.wait(5);
    sim.fail("second");
    assert_eq!(sim.task("root.second").ready_at, Some(turn));
    assert_eq!(
        sim.task("root.third").ready_at,
        Some(sim.now),
        "it was decided that it never runs"
    );
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
