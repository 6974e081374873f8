//! Typed view of a PipelineSpec document, schemaVersion 2.1.0. Mirrors `PipelineSpec` of kfp-pipeline-spec 2.17.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

pub use super::component::{ArtifactSpec, ArtifactType, Definitions, ParameterSpec, ParameterType};

/// The document.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    /// Names.
    pub pipeline_info: PipelineInfo,
    /// Must be 2.1.0.
    pub schema_version: String,
    /// The compiler.
    pub sdk_version: String,
    /// Artifact root of runs that name none.
    pub default_pipeline_root: String,
    /// What runs.
    pub deployment_spec: DeploymentSpec,
    /// By name.
    pub components: BTreeMap<String, Component>,
    /// The pipeline itself.
    pub root: Component,
}

/// Names of the pipeline.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PipelineInfo {
    /// Lowercase alphanumerics, `-` and `.`.
    pub name: String,
    /// For people.
    pub display_name: String,
    /// For people.
    pub description: String,
}

/// Executors by label.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentSpec {
    /// By label.
    pub executors: BTreeMap<String, Executor>,
}

/// One component: an interface, and either a graph or an executor.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Component {
    /// What goes in.
    pub input_definitions: Definitions,
    /// What comes out.
    pub output_definitions: Definitions,
    /// The executor, when this is a leaf.
    pub executor_label: Option<String>,
    /// The graph, when this is not.
    pub dag: Option<Dag>,
    /// Pod settings handed to the task as a parameter.
    pub task_config_passthroughs: Vec<TaskConfigPassthrough>,
}

/// One pod setting that is handed to the task.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskConfigPassthrough {
    /// Which setting.
    pub field: Value,
    /// Also applied to the task's own pod.
    #[serde(default)]
    pub apply_to_task: bool,
}

/// Tasks and what the graph gives out.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Dag {
    /// The key identifies the task.
    pub tasks: BTreeMap<String, Task>,
    /// Outputs of the graph.
    pub outputs: DagOutputs,
}

/// Where a graph's outputs come from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DagOutputs {
    /// By output name.
    pub parameters: BTreeMap<String, DagOutputParameter>,
    /// By output name.
    pub artifacts: BTreeMap<String, DagOutputArtifact>,
}

/// One parameter output of a graph.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DagOutputParameter {
    /// From one task.
    ValueFromParameter(ParameterSelector),
    /// From the first task that ran.
    ValueFromOneof(OneOf),
}

impl DagOutputParameter {
    /// The candidates in order.
    pub fn selectors(&self) -> &[ParameterSelector] {
        match self {
            Self::ValueFromParameter(one) => std::slice::from_ref(one),
            Self::ValueFromOneof(many) => &many.parameter_selectors,
        }
    }
}

/// Several candidates.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OneOf {
    /// In order of preference.
    pub parameter_selectors: Vec<ParameterSelector>,
}

/// One candidate for a parameter output.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParameterSelector {
    /// The task inside the graph.
    pub producer_subtask: String,
    /// Its output.
    pub output_parameter_key: String,
}

/// One artifact output of a graph; several selectors mean the first that ran.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DagOutputArtifact {
    /// In order of preference.
    pub artifact_selectors: Vec<ArtifactSelector>,
}

/// One candidate for an artifact output.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtifactSelector {
    /// The task inside the graph.
    pub producer_subtask: String,
    /// Its output.
    pub output_artifact_key: String,
}

/// One task of a graph.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Task {
    /// Display name.
    pub task_info: TaskInfo,
    /// What it runs.
    pub component_ref: ComponentRef,
    /// What goes in.
    pub inputs: TaskInputs,
    /// Tasks to wait for besides the producers of the inputs.
    pub dependent_tasks: Vec<String>,
    /// Reuse of earlier results.
    pub caching_options: CachingOptions,
    /// When it runs.
    pub trigger_policy: TriggerPolicy,
    /// Once per item of a list.
    pub parameter_iterator: Option<ParameterIterator>,
    /// Once per artifact of a list.
    pub artifact_iterator: Option<ArtifactIterator>,
    /// How many iterations at a time.
    pub iterator_policy: IteratorPolicy,
    /// Further attempts.
    pub retry_policy: Option<RetryPolicy>,
}

impl Task {
    /// What people call it.
    pub fn display_name<'a>(&'a self, key: &'a str) -> &'a str {
        if self.task_info.name.is_empty() {
            key
        } else {
            &self.task_info.name
        }
    }

    /// True for tasks that run whatever became of those they wait for.
    pub fn runs_after_failure(&self) -> bool {
        self.trigger_policy.strategy == Strategy::AllUpstreamTasksCompleted
    }

    /// Everything it waits for: named tasks and producers of its inputs, each once.
    pub fn dependencies(&self) -> Vec<&str> {
        let parameters = self
            .inputs
            .parameters
            .values()
            .filter_map(|input| match &input.source {
                ParameterSource::TaskOutputParameter { producer_task, .. }
                | ParameterSource::TaskFinalStatus { producer_task } => {
                    Some(producer_task.as_str())
                }
                _ => None,
            });
        let artifacts = self
            .inputs
            .artifacts
            .values()
            .filter_map(|input| match input {
                ArtifactSource::TaskOutputArtifact { producer_task, .. } => {
                    Some(producer_task.as_str())
                }
                ArtifactSource::ComponentInputArtifact(_) => None,
            });
        let mut all: Vec<&str> = self
            .dependent_tasks
            .iter()
            .map(String::as_str)
            .chain(parameters)
            .chain(artifacts)
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Display name of a task.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskInfo {
    /// May differ from the key.
    pub name: String,
}

/// Reference to a component.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ComponentRef {
    /// Key in `components`.
    pub name: String,
}

/// What goes into a task.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskInputs {
    /// By input name.
    pub parameters: BTreeMap<String, InputParameter>,
    /// By input name.
    pub artifacts: BTreeMap<String, ArtifactSource>,
}

/// Where one parameter comes from, and what part of it is meant.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputParameter {
    /// The source.
    #[serde(flatten)]
    pub source: ParameterSource,
    /// `parseJson(string_value)["key"]`.
    #[serde(default)]
    pub parameter_expression_selector: Option<String>,
}

/// Where a parameter comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ParameterSource {
    /// An input of the enclosing component.
    ComponentInputParameter(String),
    /// A constant.
    RuntimeValue(RuntimeValue),
    /// An output of a task beside this one.
    TaskOutputParameter {
        /// The task.
        producer_task: String,
        /// Its output.
        output_parameter_key: String,
    },
    /// How a task beside this one ended.
    TaskFinalStatus {
        /// The task.
        producer_task: String,
    },
}

/// A constant, or the name of a runtime parameter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuntimeValue {
    /// The constant; text may embed placeholders.
    pub constant: Option<Value>,
    /// An input of the enclosing component.
    pub runtime_parameter: Option<String>,
    /// The spelling of the first schema versions: `{"stringValue": …}`.
    pub constant_value: Option<Map<String, Value>>,
}

impl RuntimeValue {
    /// The constant, whichever way it is spelled.
    pub fn value(&self) -> Option<Value> {
        self.constant
            .clone()
            .or_else(|| self.constant_value.as_ref()?.values().next().cloned())
    }
}

/// Where an artifact comes from.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ArtifactSource {
    /// An input of the enclosing component.
    ComponentInputArtifact(String),
    /// An output of a task beside this one.
    TaskOutputArtifact {
        /// The task.
        producer_task: String,
        /// Its output.
        output_artifact_key: String,
    },
}

/// Reuse of earlier results.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CachingOptions {
    /// Off unless said.
    pub enable_cache: bool,
    /// Stands for the inputs in the key.
    pub cache_key: String,
}

/// When a task runs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TriggerPolicy {
    /// A CEL expression; empty means always.
    pub condition: String,
    /// Which endings of the dependencies it accepts.
    pub strategy: Strategy,
}

/// Which endings of the dependencies a task accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Strategy {
    /// The same as the next.
    #[default]
    TriggerStrategyUnspecified,
    /// All succeeded.
    AllUpstreamTasksSucceeded,
    /// All ended, in whatever way.
    AllUpstreamTasksCompleted,
}

/// Once per item of a list of values.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParameterIterator {
    /// The list.
    pub items: ParameterItems,
    /// The component input that takes the item.
    pub item_input: String,
}

/// A list of values.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParameterItems {
    /// JSON text.
    pub raw: Option<String>,
    /// An input of the same task.
    pub input_parameter: Option<String>,
}

/// Once per artifact of a list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtifactIterator {
    /// The list.
    pub items: ArtifactItems,
    /// The component input that takes the artifact.
    pub item_input: String,
}

/// A list of artifacts.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtifactItems {
    /// An input of the same task.
    pub input_artifact: String,
}

/// How many iterations at a time.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IteratorPolicy {
    /// 0 means no limit.
    #[serde(deserialize_with = "number")]
    pub parallelism_limit: f64,
}

/// Further attempts after a failure.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetryPolicy {
    /// Further attempts.
    #[serde(deserialize_with = "number")]
    pub max_retry_count: f64,
    /// Delay before the first, `"1s"`.
    pub backoff_duration: Option<String>,
    /// Growth of the delay.
    #[serde(deserialize_with = "number")]
    pub backoff_factor: f64,
    /// Longest delay.
    pub backoff_max_duration: Option<String>,
}

/// What runs for a leaf component.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Executor {
    /// A container.
    Container(Box<Container>),
    /// Registers an existing object as an artifact.
    Importer(Box<Importer>),
    /// Not offered by any open-source server.
    Resolver(Value),
    /// Not offered by any open-source server.
    CustomJob(Value),
}

/// A container, before placeholders are resolved.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Container {
    /// Image name.
    pub image: String,
    /// Replaces the image's entry point.
    pub command: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// Environment, later entries win.
    pub env: Vec<EnvVar>,
    /// Requests and limits.
    pub resources: Map<String, Value>,
    /// Only written by the oldest compilers.
    pub image_pull_policy: Option<Value>,
}

/// One environment variable.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVar {
    /// Name.
    pub name: String,
    /// Value, possibly with placeholders.
    pub value: String,
}

/// Registers an existing object as an artifact.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Importer {
    /// Where the object is.
    pub artifact_uri: RuntimeValue,
    /// What it is.
    pub type_schema: ArtifactType,
    /// Make a new artifact even when the same one is known.
    pub reimport: bool,
    /// Metadata, possibly with placeholders.
    pub metadata: Map<String, Value>,
    /// Copy the object to the workspace.
    pub download_to_workspace: bool,
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Number(number) => Ok(number.as_f64().unwrap_or_default()),
        Value::String(text) => text
            .parse()
            .map_err(|_| serde::de::Error::custom(format!("{text:?} is not a number"))),
        other => Err(serde::de::Error::custom(format!("{other} is not a number"))),
    }
}
