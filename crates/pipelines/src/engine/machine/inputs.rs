//! Where a task's inputs come from: the enclosing graph's inputs, constants, outputs and endings of tasks beside it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::artifact::{Artifact, Bindings};
use crate::ir::component::ParameterType;
use crate::ir::spec::{ArtifactSource, InputParameter, ParameterSource, Task as Entry};
use crate::ir::{Component, numbers, parameter, placeholder, selector};
use crate::task::{State, Task};

use super::{Machine, component_of};

/// What a task is given, before its component's declarations are looked at.
#[derive(Debug)]
pub(super) struct Given {
    /// Every parameter that has a value, declared or not.
    pub raw_parameters: BTreeMap<String, Value>,
    artifacts: BTreeMap<String, Vec<Artifact>>,
    /// Why an input has no value.
    missing: BTreeMap<String, String>,
}

impl Given {
    /// The parameters a condition sees: as declared where they fit, as they are otherwise.
    pub fn for_condition(&self, component: &Component) -> BTreeMap<String, Value> {
        let mut seen = self.raw_parameters.clone();
        for (name, spec) in &component.input_definitions.parameters {
            if let Some(value) = seen.get(name).cloned() {
                if let Ok(fitted) = parameter::fit(value, spec) {
                    seen.insert(name.clone(), fitted);
                }
            } else if let Some(default) = &spec.default_value {
                seen.insert(name.clone(), default.clone());
            }
        }
        seen
    }

    /// The inputs the component gets: declared ones only, with defaults. The loop item comes later.
    pub fn bind(&self, component: &Component, item: Option<&str>) -> Result<Bindings, String> {
        let mut bound = Bindings::default();
        let why = |name: &str| {
            self.missing
                .get(name)
                .map(|why| format!(": {why}"))
                .unwrap_or_default()
        };
        for (name, spec) in &component.input_definitions.parameters {
            if item == Some(name) {
                continue;
            }
            if let Some(value) = self
                .raw_parameters
                .get(name)
                .filter(|value| !value.is_null())
            {
                let fitted = parameter::fit(value.clone(), spec)
                    .map_err(|problem| format!("input parameter {name:?} {problem}"))?;
                bound.parameters.insert(name.clone(), fitted);
            } else if let Some(default) = spec
                .default_value
                .as_ref()
                .filter(|default| !default.is_null())
            {
                bound.parameters.insert(name.clone(), default.clone());
            } else if !spec.is_optional && spec.kind() != ParameterType::TaskConfig {
                return Err(format!(
                    "input parameter {name:?} has no value{}",
                    why(name)
                ));
            }
        }
        for (name, spec) in &component.input_definitions.artifacts {
            if item == Some(name) {
                continue;
            }
            match self.artifacts.get(name) {
                Some(artifacts) => {
                    bound.artifacts.insert(name.clone(), artifacts.clone());
                }
                None if spec.is_optional => {}
                None => return Err(format!("input artifact {name:?} has no value{}", why(name))),
            }
        }
        // A loop's list need not be an input of its component.
        for (name, artifacts) in &self.artifacts {
            bound
                .artifacts
                .entry(name.clone())
                .or_insert_with(|| artifacts.clone());
        }
        Ok(bound)
    }
}

impl Machine {
    /// The run's parameters over the pipeline's defaults.
    pub(super) fn root_inputs(&self) -> Result<Bindings, String> {
        let mut bound = Bindings::default();
        for (name, spec) in self.pipeline.parameters() {
            let given = self
                .run
                .parameters
                .get(name)
                .filter(|value| !value.is_null());
            if let Some(value) = given
                .or(spec.default_value.as_ref())
                .filter(|value| !value.is_null())
            {
                let fitted = parameter::fit(value.clone(), spec)
                    .map_err(|problem| format!("pipeline parameter {name:?} {problem}"))?;
                bound.parameters.insert(name.clone(), fitted);
            }
        }
        Ok(bound)
    }

    pub(super) fn given_inputs(
        &self,
        parent: &Task,
        key: &str,
        entry: &Entry,
    ) -> Result<Given, String> {
        let mut given = Given {
            raw_parameters: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            missing: BTreeMap::new(),
        };
        for (name, input) in &entry.inputs.parameters {
            match self.source(parent, input)? {
                Ok(value) => {
                    given.raw_parameters.insert(name.clone(), value);
                }
                Err(why) => {
                    given.missing.insert(name.clone(), why);
                }
            }
        }
        self.fill_constants(parent, key, entry, &mut given.raw_parameters);
        for (name, input) in &entry.inputs.artifacts {
            let found = match input {
                ArtifactSource::ComponentInputArtifact(outer) => parent
                    .inputs
                    .artifacts
                    .get(outer)
                    .cloned()
                    .ok_or_else(|| format!("input {outer:?} of the enclosing graph has none")),
                ArtifactSource::TaskOutputArtifact {
                    producer_task,
                    output_artifact_key,
                } => self.beside(parent, producer_task).and_then(|producer| {
                    produced(
                        producer,
                        producer.outputs.artifacts.get(output_artifact_key),
                        output_artifact_key,
                    )
                }),
            };
            match found {
                Ok(artifacts) => {
                    given.artifacts.insert(name.clone(), artifacts);
                }
                Err(why) => {
                    given.missing.insert(name.clone(), why);
                }
            }
        }
        Ok(given)
    }

    /// One parameter source in the scope of a graph: a value, or why there is none. The outer error fails the task.
    pub(super) fn source(
        &self,
        parent: &Task,
        input: &InputParameter,
    ) -> Result<Result<Value, String>, String> {
        let from_outer = |outer: &String| {
            self.outer_parameter(parent, outer)
                .cloned()
                .ok_or_else(|| format!("input {outer:?} of the enclosing graph has none"))
        };
        let found = match &input.source {
            ParameterSource::ComponentInputParameter(outer) => from_outer(outer),
            ParameterSource::RuntimeValue(value) => match (&value.runtime_parameter, value.value())
            {
                (_, Some(constant)) => Ok(constant),
                (Some(outer), None) => from_outer(outer),
                (None, None) => Err("its constant is empty".to_owned()),
            },
            ParameterSource::TaskOutputParameter {
                producer_task,
                output_parameter_key,
            } => self.beside(parent, producer_task).and_then(|producer| {
                produced(
                    producer,
                    producer.outputs.parameters.get(output_parameter_key),
                    output_parameter_key,
                )
            }),
            ParameterSource::TaskFinalStatus { producer_task } => self
                .beside(parent, producer_task)
                .map(|producer| self.final_status(producer)),
        };
        match (&input.parameter_expression_selector, found) {
            (Some(expression), Ok(value)) => selector::select(expression, &value).map(Ok),
            (_, found) => Ok(found),
        }
    }

    /// An input of the enclosing graph; channels that the compiler forgot to hand down are looked for further out.
    fn outer_parameter<'a>(&'a self, graph: &'a Task, name: &str) -> Option<&'a Value> {
        let mut scope = Some(graph);
        while let Some(graph) = scope {
            if let Some(value) = graph.inputs.parameters.get(name) {
                return Some(value);
            }
            scope = graph.parent_id.as_ref().and_then(|id| self.tasks.get(id));
            if !name.starts_with("pipelinechannel--") {
                break;
            }
        }
        None
    }

    /// Constants may embed other inputs of the same task.
    fn fill_constants(
        &self,
        parent: &Task,
        key: &str,
        entry: &Entry,
        parameters: &mut BTreeMap<String, Value>,
    ) {
        let is_constant = |name: &String| {
            entry
                .inputs
                .parameters
                .get(name)
                .is_some_and(|input| matches!(input.source, ParameterSource::RuntimeValue(_)))
        };
        let input = json!({"inputs": {"parameterValues": parameters}});
        let mut names = self.names(parent);
        key.clone_into(&mut names.task_name);
        let scope = placeholder::Scope {
            executor_input: &input,
            names: &names,
        };
        for (_, value) in parameters.iter_mut().filter(|(name, _)| is_constant(name)) {
            *value = placeholder::resolve_value(value, scope);
        }
    }

    fn beside(&self, parent: &Task, name: &str) -> Result<&Task, String> {
        self.children_of(&parent.id)
            .find(|task| task.name == name)
            .ok_or_else(|| format!("there is no task {name:?}"))
    }

    /// What an exit task learns of the task it waits for.
    fn final_status(&self, task: &Task) -> Value {
        let state = match task.state {
            State::Succeeded => self.policy.success_word.as_str(),
            State::Cached => "CACHED",
            State::Failed => "FAILED",
            State::Canceled => "CANCELED",
            State::Skipped => "SKIPPED",
            State::Pending | State::Running => "RUNNING",
        };
        let mut error = Map::new();
        if task.state.is_failure() {
            let code = if task.state == State::Failed { 13 } else { 1 };
            error.insert("code".to_owned(), code.into());
            error.insert(
                "message".to_owned(),
                task.message.clone().unwrap_or_default().into(),
            );
        }
        json!({
            "state": state,
            "pipelineJobResourceName": self.run.resource_name,
            "pipelineTaskName": task.name,
            "error": error,
        })
    }

    /// Names for the placeholders of a task.
    pub(super) fn names(&self, task: &Task) -> placeholder::Names {
        placeholder::Names {
            job_name: self.run.display_name.clone(),
            job_resource_name: self.run.resource_name.clone(),
            job_id: self.run.id.clone(),
            task_name: task.name.clone(),
            task_id: task.id.clone(),
            create_time: seconds(self.run.created_at),
            schedule_time: seconds(self.run.scheduled_at),
            pipeline_root: self.pipeline_root(),
        }
    }

    /// Where this run's artifacts go.
    pub(super) fn pipeline_root(&self) -> String {
        let compiled = &self.pipeline.spec.default_pipeline_root;
        let chosen = [&self.run.pipeline_root, compiled]
            .into_iter()
            .find(|root| !root.is_empty())
            .unwrap_or(&self.policy.default_root);
        chosen
            .split('?')
            .next()
            .unwrap_or(chosen)
            .trim_end_matches('/')
            .to_owned()
    }

    /// The platform settings of a leaf task, with every parameter source in them resolved.
    pub(super) fn platform_of(&self, task: &Task) -> Result<Value, String> {
        let component = component_of(&self.pipeline, task);
        let platform = self
            .pipeline
            .platform_of(component.executor_label.as_deref().unwrap_or_default());
        let scope = task.parent_id.as_ref().and_then(|id| self.tasks.get(id));
        let Some(parent) = scope else {
            return Ok(platform.clone());
        };
        self.resolve_platform(platform, parent, task)
    }

    fn resolve_platform(&self, value: &Value, parent: &Task, task: &Task) -> Result<Value, String> {
        const SOURCES: [&str; 6] = [
            "secretNameParameter",
            "configMapNameParameter",
            "pvcNameParameter",
            "nodeSelectorJson",
            "tolerationJson",
            "nodeAffinityJson",
        ];
        Ok(match value {
            Value::Array(items) => items
                .iter()
                .map(|item| self.resolve_platform(item, parent, task))
                .collect::<Result<_, _>>()?,
            Value::Object(fields) => {
                let mut resolved = Map::new();
                for (key, field) in fields {
                    if SOURCES.contains(&key.as_str()) {
                        resolved.insert(
                            key.clone(),
                            self.platform_source(field, parent, task)
                                .map_err(|problem| format!("platform setting {key}: {problem}"))?,
                        );
                    } else {
                        resolved.insert(key.clone(), self.resolve_platform(field, parent, task)?);
                    }
                }
                // The first compilers wrote the claim's source without a name of its own.
                if fields.contains_key("mountPath")
                    && !fields.contains_key("pvcNameParameter")
                    && (fields.contains_key("taskOutputParameter")
                        || fields.contains_key("componentInputParameter"))
                {
                    let source: Map<String, Value> = fields
                        .iter()
                        .filter(|(key, _)| {
                            matches!(
                                key.as_str(),
                                "taskOutputParameter" | "componentInputParameter"
                            )
                        })
                        .map(|(key, field)| (key.clone(), field.clone()))
                        .collect();
                    resolved.insert(
                        "pvcNameParameter".to_owned(),
                        self.platform_source(&Value::Object(source), parent, task)?,
                    );
                }
                Value::Object(resolved)
            }
            other => other.clone(),
        })
    }

    /// Absent optional values give null, which skips the setting.
    fn platform_source(&self, source: &Value, parent: &Task, task: &Task) -> Result<Value, String> {
        let mut source = source.clone();
        crate::ir::schema::conform(&mut source, crate::ir::schema::INPUT_PARAMETER, "source")
            .map_err(|problem| problem.to_string())?;
        let input: InputParameter =
            serde_json::from_value(source).map_err(|problem| problem.to_string())?;
        // Inputs of the task itself come first: the compiler routes pipeline parameters through them.
        if let ParameterSource::ComponentInputParameter(name) = &input.source
            && let Some(value) = task.inputs.parameters.get(name)
        {
            return Ok(value.clone());
        }
        let mut value = self.source(parent, &input)?.unwrap_or_default();
        numbers::normalise(&mut value);
        Ok(value)
    }
}

fn produced<T: Clone>(producer: &Task, output: Option<&T>, key: &str) -> Result<T, String> {
    match output {
        Some(output) if producer.state.is_success() => Ok(output.clone()),
        _ => Err(match producer.state {
            State::Skipped => format!("task {:?} was skipped", producer.name),
            State::Failed | State::Canceled => format!("task {:?} did not succeed", producer.name),
            _ => format!("task {:?} made no output {key:?}", producer.name),
        }),
    }
}

/// RFC 3339 with second precision.
pub(super) fn seconds(at: jiff::Timestamp) -> String {
    let whole = jiff::Timestamp::from_second(at.as_second()).unwrap_or(at);
    whole.to_string()
}
