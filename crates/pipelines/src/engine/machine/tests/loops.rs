//! Loops: limits, order, nesting, failures.

use serde_json::json;

use super::*;

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
