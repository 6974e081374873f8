//! Checks a typed document as a whole: names, references that lead nowhere, cycles, conditions that do not compile.
//! What passes here can be run without asking again whether something exists.

use std::collections::BTreeMap;

use super::spec::{ArtifactSource, Component, Dag, Executor, ParameterSource, Spec, Task};
use super::{Error, condition, selector};

/// The only schema version there is.
const SCHEMA_VERSION: &str = "2.1.0";

/// Checks the whole document.
pub fn validate(spec: &Spec) -> Result<(), Error> {
    if spec.schema_version != SCHEMA_VERSION {
        let found = if spec.schema_version.is_empty() {
            "missing".to_owned()
        } else {
            format!("{:?}", spec.schema_version)
        };
        return Err(Error::field(
            "pipeline_spec.schemaVersion",
            format!("must be {SCHEMA_VERSION}, is {found}"),
        ));
    }
    check_name(&spec.pipeline_info.name)?;
    if spec.root.dag.is_none() && spec.root.executor_label.is_none() {
        return Err(Error::field(
            "pipeline_spec.root",
            "is required: a graph of tasks",
        ));
    }
    for (label, executor) in &spec.deployment_spec.executors {
        let path = format!("pipeline_spec.deploymentSpec.executors.{label}");
        match executor {
            Executor::Container(container) if container.image.is_empty() => {
                return Err(Error::field(
                    format!("{path}.container.image"),
                    "is required",
                ));
            }
            Executor::Resolver(_) => {
                return Err(Error::field(
                    format!("{path}.resolver"),
                    "is not supported: use an importer",
                ));
            }
            Executor::CustomJob(_) => {
                return Err(Error::field(
                    format!("{path}.customJob"),
                    "is not supported: use a container",
                ));
            }
            Executor::Container(_) | Executor::Importer(_) => {}
        }
    }
    for (name, component) in &spec.components {
        check_component(spec, component, &format!("pipeline_spec.components.{name}"))?;
    }
    check_component(spec, &spec.root, "pipeline_spec.root")?;
    check_nesting(spec)
}

fn check_name(name: &str) -> Result<(), Error> {
    let path = "pipeline_spec.pipelineInfo.name";
    if name.is_empty() {
        return Err(Error::field(path, "is required"));
    }
    let is_edge = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    let fits = name
        .chars()
        .all(|letter| is_edge(letter) || matches!(letter, '-' | '.'))
        && name.starts_with(is_edge)
        && name.ends_with(is_edge);
    if fits {
        Ok(())
    } else {
        Err(Error::field(
            path,
            format!(
                "{name:?} may hold only lowercase letters, digits, '-' and '.', with a letter or digit at both ends"
            ),
        ))
    }
}

fn check_component(spec: &Spec, component: &Component, path: &str) -> Result<(), Error> {
    match (&component.dag, &component.executor_label) {
        (Some(_), Some(_)) => Err(Error::field(path, "has both a dag and an executorLabel")),
        (None, None) => Err(Error::field(path, "has neither a dag nor an executorLabel")),
        (None, Some(label)) if !spec.deployment_spec.executors.contains_key(label) => {
            Err(Error::field(
                format!("{path}.executorLabel"),
                format!("there is no executor {label:?} in deploymentSpec.executors"),
            ))
        }
        (None, Some(_)) => Ok(()),
        (Some(dag), None) => check_dag(spec, component, dag, &format!("{path}.dag")),
    }
}

fn check_dag(spec: &Spec, enclosing: &Component, dag: &Dag, path: &str) -> Result<(), Error> {
    for (key, task) in &dag.tasks {
        check_task(
            spec,
            enclosing,
            dag,
            key,
            task,
            &format!("{path}.tasks.{key}"),
        )?;
    }
    check_order(dag, path)?;
    let output_of = |producer: &str, place: &str| {
        let task = dag.tasks.get(producer).ok_or_else(|| {
            Error::field(
                place,
                format!("there is no task {producer:?} in this graph"),
            )
        })?;
        Ok::<_, Error>(&spec.components[&task.component_ref.name].output_definitions)
    };
    for (name, output) in &dag.outputs.parameters {
        let place = format!("{path}.outputs.parameters.{name}");
        for candidate in output.selectors() {
            if !output_of(&candidate.producer_subtask, &place)?
                .parameters
                .contains_key(&candidate.output_parameter_key)
            {
                return Err(no_output(
                    place,
                    &candidate.producer_subtask,
                    "parameter",
                    &candidate.output_parameter_key,
                ));
            }
        }
    }
    for (name, output) in &dag.outputs.artifacts {
        let place = format!("{path}.outputs.artifacts.{name}");
        for candidate in &output.artifact_selectors {
            if !output_of(&candidate.producer_subtask, &place)?
                .artifacts
                .contains_key(&candidate.output_artifact_key)
            {
                return Err(no_output(
                    place,
                    &candidate.producer_subtask,
                    "artifact",
                    &candidate.output_artifact_key,
                ));
            }
        }
    }
    Ok(())
}

fn no_output(place: String, task: &str, kind: &str, key: &str) -> Error {
    Error::field(place, format!("task {task:?} has no output {kind} {key:?}"))
}

fn check_task(
    spec: &Spec,
    enclosing: &Component,
    dag: &Dag,
    key: &str,
    task: &Task,
    path: &str,
) -> Result<(), Error> {
    let component = spec
        .components
        .get(&task.component_ref.name)
        .ok_or_else(|| {
            Error::field(
                format!("{path}.componentRef.name"),
                format!("there is no component {:?}", task.component_ref.name),
            )
        })?;
    for dependency in &task.dependent_tasks {
        if dependency == key {
            return Err(Error::field(
                format!("{path}.dependentTasks"),
                "the task depends on itself",
            ));
        }
        if !dag.tasks.contains_key(dependency) {
            return Err(Error::field(
                format!("{path}.dependentTasks"),
                format!("there is no task {dependency:?} in this graph"),
            ));
        }
    }
    let producer = |name: &str, place: &str| {
        let task = dag.tasks.get(name).ok_or_else(|| {
            Error::field(place, format!("there is no task {name:?} in this graph"))
        })?;
        spec.components
            .get(&task.component_ref.name)
            .ok_or_else(|| Error::field(place, format!("task {name:?} has no component")))
    };
    for (name, input) in &task.inputs.parameters {
        let place = format!("{path}.inputs.parameters.{name}");
        match &input.source {
            ParameterSource::ComponentInputParameter(outer) => check_outer(
                enclosing.input_definitions.parameters.contains_key(outer),
                &place,
                "parameter",
                outer,
            )?,
            ParameterSource::RuntimeValue(value) => {
                if let Some(outer) = &value.runtime_parameter {
                    check_outer(
                        enclosing.input_definitions.parameters.contains_key(outer),
                        &place,
                        "parameter",
                        outer,
                    )?;
                }
            }
            ParameterSource::TaskOutputParameter {
                producer_task,
                output_parameter_key,
            } => {
                if !producer(producer_task, &place)?
                    .output_definitions
                    .parameters
                    .contains_key(output_parameter_key)
                {
                    return Err(no_output(
                        place,
                        producer_task,
                        "parameter",
                        output_parameter_key,
                    ));
                }
            }
            ParameterSource::TaskFinalStatus { producer_task } => {
                producer(producer_task, &place)?;
            }
        }
        if let Some(expression) = &input.parameter_expression_selector {
            selector::check(expression).map_err(|problem| {
                Error::field(format!("{place}.parameterExpressionSelector"), problem)
            })?;
        }
    }
    for (name, input) in &task.inputs.artifacts {
        let place = format!("{path}.inputs.artifacts.{name}");
        match input {
            ArtifactSource::ComponentInputArtifact(outer) => check_outer(
                enclosing.input_definitions.artifacts.contains_key(outer),
                &place,
                "artifact",
                outer,
            )?,
            ArtifactSource::TaskOutputArtifact {
                producer_task,
                output_artifact_key,
            } => {
                if !producer(producer_task, &place)?
                    .output_definitions
                    .artifacts
                    .contains_key(output_artifact_key)
                {
                    return Err(no_output(
                        place,
                        producer_task,
                        "artifact",
                        output_artifact_key,
                    ));
                }
            }
        }
    }
    if !task.trigger_policy.condition.is_empty() {
        condition::check(&task.trigger_policy.condition)
            .map_err(|problem| Error::field(format!("{path}.triggerPolicy.condition"), problem))?;
    }
    check_iterators(component, task, path)
}

/// The compiler forgets to declare channels that only an embedded placeholder of an inner graph uses; the engine finds
/// those in the graphs further out, so a missing channel is no reason to refuse a document.
fn check_outer(exists: bool, place: &str, kind: &str, name: &str) -> Result<(), Error> {
    if exists || name.starts_with("pipelinechannel--") {
        return Ok(());
    }
    Err(Error::field(
        place,
        format!("the enclosing component has no input {kind} {name:?}"),
    ))
}

fn check_iterators(component: &Component, task: &Task, path: &str) -> Result<(), Error> {
    if task.parameter_iterator.is_some() && task.artifact_iterator.is_some() {
        return Err(Error::field(
            path,
            "has both a parameterIterator and an artifactIterator",
        ));
    }
    if let Some(iterator) = &task.parameter_iterator {
        let place = format!("{path}.parameterIterator");
        if !component
            .input_definitions
            .parameters
            .contains_key(&iterator.item_input)
        {
            return Err(Error::field(
                format!("{place}.itemInput"),
                format!(
                    "the component has no input parameter {:?}",
                    iterator.item_input
                ),
            ));
        }
        match (&iterator.items.raw, &iterator.items.input_parameter) {
            (Some(raw), None) => {
                serde_json::from_str::<Vec<serde_json::Value>>(raw).map_err(|problem| {
                    Error::field(
                        format!("{place}.items.raw"),
                        format!("is not a JSON list: {problem}"),
                    )
                })?;
            }
            (None, Some(input)) if task.inputs.parameters.contains_key(input) => {}
            (None, Some(input)) => {
                return Err(Error::field(
                    format!("{place}.items.inputParameter"),
                    format!("the task has no input parameter {input:?}"),
                ));
            }
            _ => {
                return Err(Error::field(
                    format!("{place}.items"),
                    "needs either raw or inputParameter",
                ));
            }
        }
    }
    if let Some(iterator) = &task.artifact_iterator {
        let place = format!("{path}.artifactIterator");
        if !component
            .input_definitions
            .artifacts
            .contains_key(&iterator.item_input)
        {
            return Err(Error::field(
                format!("{place}.itemInput"),
                format!(
                    "the component has no input artifact {:?}",
                    iterator.item_input
                ),
            ));
        }
        if !task
            .inputs
            .artifacts
            .contains_key(&iterator.items.input_artifact)
        {
            return Err(Error::field(
                format!("{place}.items.inputArtifact"),
                format!(
                    "the task has no input artifact {:?}",
                    iterator.items.input_artifact
                ),
            ));
        }
    }
    Ok(())
}

/// No task may wait for itself, however indirectly.
fn check_order(dag: &Dag, path: &str) -> Result<(), Error> {
    let edges = dag
        .tasks
        .iter()
        .map(|(key, task)| (key.as_str(), task.dependencies()))
        .collect();
    match find_cycle(&edges) {
        Some(cycle) => Err(Error::field(
            format!("{path}.tasks"),
            format!(
                "the tasks wait for each other in a circle: {}",
                cycle.join(" → ")
            ),
        )),
        None => Ok(()),
    }
}

/// No component may contain itself, however indirectly.
fn check_nesting(spec: &Spec) -> Result<(), Error> {
    let edges = spec
        .components
        .iter()
        .map(|(name, component)| {
            let inner = component
                .dag
                .iter()
                .flat_map(|dag| {
                    dag.tasks
                        .values()
                        .map(|task| task.component_ref.name.as_str())
                })
                .collect();
            (name.as_str(), inner)
        })
        .collect();
    match find_cycle(&edges) {
        Some(cycle) => Err(Error::field(
            "pipeline_spec.components",
            format!(
                "the components contain each other in a circle: {}",
                cycle.join(" → ")
            ),
        )),
        None => Ok(()),
    }
}

/// A circle in a graph given as node → neighbours, closed by repeating its first node. Iterative, so that no document
/// can exhaust the stack.
fn find_cycle<'a>(edges: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Vec<&'a str>> {
    let mut done = std::collections::BTreeSet::new();
    for start in edges.keys() {
        let mut path: Vec<(&str, usize)> = vec![(start, 0)];
        while let Some((node, next)) = path.last_mut() {
            let neighbours = edges.get(node).map_or(&[][..], Vec::as_slice);
            let Some(&neighbour) = neighbours.get(*next) else {
                done.insert(*node);
                path.pop();
                continue;
            };
            *next += 1;
            if let Some(at) = path.iter().position(|(seen, _)| *seen == neighbour) {
                let mut cycle: Vec<&str> = path[at..].iter().map(|(seen, _)| *seen).collect();
                cycle.push(neighbour);
                return Some(cycle);
            }
            if !done.contains(neighbour) {
                path.push((neighbour, 0));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::ir::{Document, Pipeline};

    /// A valid document; tests change one thing in it.
    const VALID: &str = r"
pipelineInfo: {name: demo}
schemaVersion: 2.1.0
deploymentSpec: {executors: {exec-a: {container: {image: busybox}}}}
components:
  comp-a:
    executorLabel: exec-a
    inputDefinitions: {parameters: {x: {parameterType: NUMBER_INTEGER}}}
    outputDefinitions: {parameters: {Output: {parameterType: NUMBER_INTEGER}}}
root:
  dag:
    tasks:
      first: {componentRef: {name: comp-a}, inputs: {parameters: {x: {runtimeValue: {constant: 1.0}}}}}
      second: {componentRef: {name: comp-a}, inputs: {parameters: {x: {taskOutputParameter: {producerTask: first, outputParameterKey: Output}}}}}
";

    fn complaint(from: &str, to: &str) -> String {
        assert!(VALID.contains(from), "the example has no {from:?}");
        Pipeline::parse(&VALID.replace(from, to))
            .expect_err("the document was accepted")
            .to_string()
    }

    #[test]
    fn a_valid_document_is_accepted() {
        let pipeline = Pipeline::parse(VALID).unwrap();
        assert_eq!(
            pipeline.spec.root.dag.unwrap().tasks["second"].dependencies(),
            ["first"]
        );
    }

    #[test]
    fn every_dangling_reference_is_named_with_its_path() {
        for (from, to, expected) in [
            (
                "{executors: {exec-a: ",
                "{executors: {exec-b: ",
                "pipeline_spec.components.comp-a.executorLabel: there is no executor \"exec-a\"",
            ),
            (
                "first: {componentRef: {name: comp-a}",
                "first: {componentRef: {name: comp-z}",
                "pipeline_spec.root.dag.tasks.first.componentRef.name: there is no component \"comp-z\"",
            ),
            (
                "producerTask: first",
                "producerTask: third",
                "pipeline_spec.root.dag.tasks.second.inputs.parameters.x: there is no task \"third\"",
            ),
            (
                "outputParameterKey: Output",
                "outputParameterKey: out",
                "task \"first\" has no output parameter \"out\"",
            ),
            (
                "{runtimeValue: {constant: 1.0}}",
                "{componentInputParameter: n}",
                "the enclosing component has no input parameter \"n\"",
            ),
        ] {
            let text = complaint(from, to);
            assert!(text.contains(expected), "{text}");
        }
    }

    #[test]
    fn tasks_that_wait_for_each_other_are_shown_as_a_circle() {
        let text = complaint(
            "inputs: {parameters: {x: {runtimeValue: {constant: 1.0}}}}",
            "dependentTasks: [second], inputs: {parameters: {x: {runtimeValue: {constant: 1.0}}}}",
        );
        assert_eq!(
            text,
            "pipeline_spec.root.dag.tasks: the tasks wait for each other in a circle: first → second → first"
        );
    }

    #[test]
    fn a_component_that_contains_itself_is_refused() {
        let text = complaint(
            "components:\n",
            "components:\n  comp-r: {dag: {tasks: {again: {componentRef: {name: comp-r}}}}}\n",
        );
        assert!(text.contains("comp-r → comp-r"), "{text}");
    }

    #[test]
    fn names_and_versions_are_checked() {
        assert!(
            complaint("name: demo", "name: Demo")
                .contains("pipelineInfo.name: \"Demo\" may hold only")
        );
        assert!(
            complaint("pipelineInfo: {name: demo}", "").contains("pipelineInfo.name: is required")
        );
        assert!(
            complaint("schemaVersion: 2.1.0", "schemaVersion: 2.0.0")
                .contains("must be 2.1.0, is \"2.0.0\"")
        );
        assert!(
            complaint("container: {image: busybox}", "container: {}")
                .contains("container.image: is required")
        );
    }

    #[test]
    fn a_condition_that_does_not_compile_is_refused() {
        let text = complaint(
            "second: {",
            "second: {triggerPolicy: {condition: \"1 ==\"}, ",
        );
        assert!(text.contains("second.triggerPolicy.condition"), "{text}");
    }

    #[test]
    fn the_first_schema_versions_spelling_of_types_is_understood() {
        Pipeline::parse(&VALID.replace("x: {parameterType: NUMBER_INTEGER}", "x: {type: INT}"))
            .unwrap();
    }

    #[test]
    fn integral_constants_are_given_back_without_fraction() {
        let document = Document::parse(VALID).unwrap();
        assert_eq!(document.pipeline["root"]["dag"]["tasks"]["first"]["inputs"]["parameters"]["x"]["runtimeValue"]["constant"].to_string(), "1");
    }
}
