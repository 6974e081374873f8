//! Stopped and overdue runs.

use super::*;

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
