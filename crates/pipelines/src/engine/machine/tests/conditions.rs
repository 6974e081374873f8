//! If, Elif, Else, and one output of several.

use serde_json::json;

use super::*;

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
