//! What goes into tasks and comes out of them.

use serde_json::{Value, json};

use super::*;

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

#[test]
fn a_step_that_works_on_shared_folders_is_never_reused() {
    let document = format!(
        "{}---\nplatforms: {{kubernetes: {{deploymentSpec: {{executors: {{exec-a: {{podMetadata: {{annotations: {{ferroflow.io/container-op: 'true'}}}}}}}}}}}}}}\n",
        pipeline(
            "",
            "      a: {componentRef: {name: comp-a}, cachingOptions: {enableCache: true}}\n"
        )
        .replace("'{{$}}'", "/data/raw"),
    );
    let sim = Sim::new(&document);
    assert_eq!(sim.open[0].shared_paths, ["/data"]);
    assert_eq!(sim.task("root.a").fingerprint, None);
    assert_eq!(sim.machine.run().shared_paths, ["/data"]);
}
