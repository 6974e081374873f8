//! Exit tasks.

use serde_json::json;

use super::*;

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
