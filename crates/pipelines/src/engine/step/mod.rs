//! A step: everything one attempt of a leaf task needs, with nothing left to resolve. Pure: the same task and attempt
//! always give the same step, so that a step can be made again after a crash.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::ir::component::ParameterType;
use crate::ir::spec::Container;
use crate::ir::{Component, Executor, Pipeline, placeholder};
use crate::run::Run;
use crate::task::Task;

mod folders;
mod resources;
mod task_config;

pub use folders::{HostMount, host_mounts};
use folders::{mentions_workspace, shared_paths};
use resources::resources;

/// Where the launcher and the step's own outputs live inside the pod: an emptyDir that anybody may write.
pub const LAUNCHER_FOLDER: &str = "/kfp-launcher";
/// Pod annotation that marks a step as a v1 ContainerOp: its absolute-path arguments name folders that the steps of a run
/// share without declaring a volume. The SDK helper writes it into the platform document:
/// `platforms.kubernetes.deploymentSpec.executors.<label>.podMetadata.annotations`.
pub const CONTAINER_OP: &str = "ferroflow.io/container-op";

/// Pseudo-images whose steps the engine does itself.
pub const CREATE_CLAIM: &str = "argostub/createpvc";
/// The same.
pub const DELETE_CLAIM: &str = "argostub/deletepvc";

/// What a step is built from.
pub struct Request<'a> {
    /// The run.
    pub run: &'a Run,
    /// Its pipeline.
    pub pipeline: &'a Pipeline,
    /// The task, with resolved inputs.
    pub task: &'a Task,
    /// Its component.
    pub component: &'a Component,
    /// Its platform settings, with resolved sources.
    pub platform: Value,
    /// Names for placeholders.
    pub names: placeholder::Names,
    /// Artifact root of the run.
    pub root: &'a str,
    /// Number of the attempt.
    pub number: u32,
}

/// One attempt of a leaf task, ready to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The run.
    pub run_id: String,
    /// Display name of the run.
    pub run_name: String,
    /// Object name of the run.
    pub run_resource_name: String,
    /// Name of the pipeline.
    pub pipeline_name: String,
    /// Given service account, or empty.
    pub service_account: String,
    /// The task.
    pub task_id: String,
    /// Its key in the graph.
    pub task_name: String,
    /// What people call it.
    pub display_name: String,
    /// `root.a.b`.
    pub scope_path: String,
    /// Its component.
    pub component_name: String,
    /// Number of the attempt.
    pub attempt: u32,
    /// How many attempts failed before this one.
    pub retry_index: u32,
    /// Follows from run, task and attempt.
    pub pod_name: String,
    /// Image, resolved.
    pub image: String,
    /// Command, resolved. Empty: the image's own entry point runs, without the launcher.
    pub command: Vec<String>,
    /// Arguments, resolved.
    pub args: Vec<String>,
    /// Command and arguments as compiled: part of the cache key.
    pub unresolved: Vec<String>,
    /// Environment, resolved, later entries win.
    pub env: Vec<(String, String)>,
    /// Kubernetes resource limits.
    pub limits: BTreeMap<String, String>,
    /// Kubernetes resource requests.
    pub requests: BTreeMap<String, String>,
    /// The ExecutorInput as the step sees it.
    pub executor_input: Value,
    /// What the launcher is told.
    pub launcher: launcher::Step,
    /// Declared output parameters with their types.
    pub output_parameters: BTreeMap<String, ParameterType>,
    /// Declared output artifacts: type and metadata, part of the cache key.
    pub output_artifacts: Value,
    /// URI of the folder that this run may write.
    pub run_folder: String,
    /// URI of this attempt's own folder.
    pub attempt_folder: String,
    /// Platform settings, resolved.
    pub platform: Value,
    /// Settings of the whole pipeline.
    pub platform_config: Value,
    /// Top folders shared by the steps of the run that this one uses.
    pub shared_paths: Vec<String>,
    /// Those of them that no step of the run has used before: filled from the image's own folder.
    pub fills: Vec<String>,
    /// Folders of the host that the run asked for.
    pub host_mounts: Vec<HostMount>,
    /// True when the step looks at the run's workspace.
    pub uses_workspace: bool,
}

/// Builds a step; the error is what the user reads about the failed task.
pub fn build(request: &Request<'_>) -> Result<Step, String> {
    let Request {
        run,
        pipeline,
        task,
        component,
        platform,
        names,
        root,
        number,
    } = request;
    let label = component.executor_label.as_deref().unwrap_or_default();
    let Some(Executor::Container(container)) = pipeline.executor(label) else {
        return Err(format!("executor {label:?} is not a container"));
    };
    let pipeline_name = artifacts::key::component(&pipeline.spec.pipeline_info.name);
    let execution = uuid::Uuid::new_v5(
        &uuid::Uuid::NAMESPACE_OID,
        format!("{}/{number}", task.id).as_bytes(),
    );
    let run_folder = format!("{root}/{pipeline_name}/{}", run.id);
    let attempt_folder = format!(
        "{run_folder}/{}/{execution}",
        artifacts::key::component(&task.name)
    );
    let mut executor_input = executor_input(task, component, &attempt_folder);
    let mut platform = platform.clone();
    let settings = leaf_settings(container, &executor_input, names);
    let settings = task_config::pass_on(component, &mut executor_input, &mut platform, settings)?;
    let scope = placeholder::Scope {
        executor_input: &executor_input,
        names,
    };
    let image = placeholder::resolve(&container.image, scope);
    if image.is_empty() {
        return Err("the image name is empty".to_owned());
    }
    let command = placeholder::expand(&container.command, scope);
    let args = placeholder::expand(&container.args, scope);
    let outputs = &component.output_definitions;
    let is_claim = matches!(image.as_str(), CREATE_CLAIM | DELETE_CLAIM);
    if command.is_empty()
        && !is_claim
        && !(outputs.parameters.is_empty() && outputs.artifacts.is_empty())
    {
        return Err(format!(
            "the step has outputs but no command: the launcher has to start the command itself to collect them, and cannot know the entry point of {image}; give the command in the ContainerSpec"
        ));
    }
    let is_container_op = platform
        .pointer("/podMetadata/annotations")
        .and_then(|annotations| annotations.get(CONTAINER_OP))
        .is_some_and(|mark| mark == "true");
    let shared = if is_container_op {
        shared_paths(&args)
    } else {
        Vec::new()
    };
    let LeafSettings {
        env,
        limits,
        requests,
    } = settings;
    let step_folder = format!("{attempt_folder}/.step");
    let paths = |uri: &str| artifacts::uri::local_path(uri);
    let launcher = launcher::Step {
        directories: Vec::new(),
        parameters: outputs
            .parameters
            .keys()
            .map(|key| (key.clone(), parameter_file(key)))
            .collect(),
        executor_output: executor_output_file(),
        artifacts: outputs
            .artifacts
            .keys()
            .map(|key| (key.clone(), paths(&format!("{attempt_folder}/{key}"))))
            .collect(),
        report: paths(&format!("{step_folder}/report.json")),
        ..launcher::Step::default()
    };
    Ok(Step {
        run_id: run.id.clone(),
        run_name: run.display_name.clone(),
        run_resource_name: run.resource_name.clone(),
        pipeline_name: pipeline.spec.pipeline_info.name.clone(),
        service_account: run.service_account.clone(),
        task_id: task.id.clone(),
        task_name: task.name.clone(),
        display_name: task.display_name.clone(),
        scope_path: task.scope_path.clone(),
        component_name: task.component.clone(),
        attempt: *number,
        retry_index: task.retries,
        pod_name: pod_name(&run.id, &task.id, &task.name, *number),
        image,
        unresolved: container.command.iter().chain(&container.args).cloned().collect(),
        fills: shared.iter().filter(|path| !run.shared_paths.contains(path)).cloned().collect(),
        shared_paths: shared,
        uses_workspace: mentions_workspace(&command, &args, &env, &executor_input, pipeline),
        command,
        args,
        env,
        limits,
        requests,
        launcher,
        output_parameters: outputs.parameters.iter().map(|(key, spec)| (key.clone(), spec.kind())).collect(),
        output_artifacts: outputs.artifacts.iter().map(|(key, spec)| (key.clone(), json!({"type": spec.artifact_type, "metadata": spec.metadata, "list": spec.is_artifact_list}))).collect::<Map<_, _>>().into(),
        run_folder,
        attempt_folder,
        executor_input,
        platform,
        platform_config: pipeline.platform_config().clone(),
        host_mounts: host_mounts(&run.plugins_input)?,
    })
}

impl Step {
    /// False when the step works on folders that its outputs do not name: the run's own shared ones and workspace, which
    /// a later run would miss, and the host's, which may have changed.
    pub fn is_reusable(&self) -> bool {
        self.shared_paths.is_empty() && self.host_mounts.is_empty() && !self.uses_workspace
    }

    /// Key under which this step's result may be reused: everything that decides what it produces, nothing that does not
    /// (environment, resources, labels).
    pub fn fingerprint(&self, cache_key: &str) -> String {
        let identity = if cache_key.is_empty() {
            let inputs = self
                .executor_input
                .get("inputs")
                .cloned()
                .unwrap_or_default();
            let artifacts: Map<String, Value> = inputs
                .get("artifacts")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
                .map(|(key, list)| {
                    let names = list
                        .get("artifacts")
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                        .map(|artifact| artifact["name"].clone());
                    (key.clone(), names.collect())
                })
                .collect();
            let mut claims: Vec<String> = self.claim_names();
            claims.sort();
            json!({
                "artifacts": artifacts,
                "parameters": inputs.get("parameterValues"),
                "outputArtifacts": self.output_artifacts,
                "outputParameters": self.output_parameters,
                "image": self.image,
                "command": self.unresolved,
                "claims": claims,
            })
        } else {
            json!({"component": self.component_name, "key": cache_key})
        };
        hex::encode(Sha256::digest(identity.to_string()))
    }

    /// Claims that the platform settings mount.
    pub fn claim_names(&self) -> Vec<String> {
        let mounts = self
            .platform
            .get("pvcMount")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        mounts
            .filter_map(|mount| {
                mount
                    .get("pvcNameParameter")
                    .or_else(|| mount.get("constant"))
            })
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    /// Artifacts that the step reads, with the paths it looks for them at. What lies in the run's workspace is there.
    pub fn inputs(&self) -> Vec<launcher::Input> {
        let lists = self
            .executor_input
            .pointer("/inputs/artifacts")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|artifacts| artifacts.values());
        let artifacts = lists
            .filter_map(|list| list.get("artifacts")?.as_array())
            .flatten();
        let mut inputs: Vec<launcher::Input> = Vec::new();
        for artifact in artifacts {
            let is_in_workspace = artifact
                .pointer("/metadata/_kfp_workspace")
                .is_some_and(|mark| mark == true);
            let uri = artifact["uri"].as_str().unwrap_or_default();
            if !is_in_workspace && !inputs.iter().any(|known| known.uri == uri) {
                inputs.push(launcher::Input {
                    uri: uri.to_owned(),
                    path: artifacts::uri::local_path(uri),
                });
            }
        }
        inputs
    }

    /// URI of the report.
    pub fn report_uri(&self) -> String {
        format!("{}/.step/report.json", self.attempt_folder)
    }

    /// URI of the file the launcher reads.
    pub fn launcher_uri(&self) -> String {
        format!("{}/.step/step.json", self.attempt_folder)
    }

    /// URI of the stored log.
    pub fn log_uri(&self) -> String {
        let suffix = if self.retry_index == 0 {
            String::new()
        } else {
            format!("-{}", self.retry_index)
        };
        format!("{}/executor-logs{suffix}", self.attempt_folder)
    }
}

/// Pod names follow from what they stand for, so that making one twice is noticed.
pub fn pod_name(run_id: &str, task_id: &str, task_name: &str, attempt: u32) -> String {
    let digest = hex::encode(Sha256::digest(format!("{run_id}/{task_id}/{attempt}")));
    let readable: String = task_name
        .to_ascii_lowercase()
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() {
                letter
            } else {
                '-'
            }
        })
        .take(40)
        .collect();
    let readable = readable.trim_matches('-');
    if readable.is_empty() {
        format!("step-{}", &digest[..12])
    } else {
        format!("{readable}-{}", &digest[..12])
    }
}

fn parameter_file(key: &str) -> String {
    format!(
        "{LAUNCHER_FOLDER}/outputs/parameters/{}",
        artifacts::key::component(key)
    )
}

fn executor_output_file() -> String {
    format!("{LAUNCHER_FOLDER}/outputs/executor_output.json")
}

/// What a container asks of its pod by itself.
struct LeafSettings {
    env: Vec<(String, String)>,
    limits: BTreeMap<String, String>,
    requests: BTreeMap<String, String>,
}

fn leaf_settings(
    container: &Container,
    executor_input: &Value,
    names: &placeholder::Names,
) -> LeafSettings {
    let scope = placeholder::Scope {
        executor_input,
        names,
    };
    let mut env: Vec<(String, String)> = Vec::new();
    for variable in &container.env {
        env.retain(|(name, _)| *name != variable.name);
        env.push((
            variable.name.clone(),
            placeholder::resolve(&variable.value, scope),
        ));
    }
    let (limits, requests) = resources(container, scope);
    LeafSettings {
        env,
        limits,
        requests,
    }
}

fn executor_input(task: &Task, component: &Component, folder: &str) -> Value {
    let declared = &component.input_definitions;
    let runtime = |list: &[crate::artifact::Artifact]| json!({"artifacts": list.iter().map(crate::artifact::Artifact::to_runtime).collect::<Vec<_>>()});
    let parameters: Map<String, Value> = task
        .inputs
        .parameters
        .iter()
        .filter(|(key, _)| declared.parameters.contains_key(*key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let inputs: Map<String, Value> = task
        .inputs
        .artifacts
        .iter()
        .filter(|(key, _)| declared.artifacts.contains_key(*key))
        .map(|(key, list)| (key.clone(), runtime(list)))
        .collect();
    let outputs = &component.output_definitions;
    let output_parameters: Map<String, Value> = outputs
        .parameters
        .keys()
        .map(|key| (key.clone(), json!({"outputFile": parameter_file(key)})))
        .collect();
    let output_artifacts: Map<String, Value> = outputs
        .artifacts
        .iter()
        .map(|(key, spec)| {
            let planned = json!({"name": "", "type": spec.artifact_type, "uri": format!("{folder}/{key}"), "metadata": spec.metadata});
            (key.clone(), json!({"artifacts": [planned]}))
        })
        .collect();
    json!({
        "inputs": {"parameterValues": parameters, "artifacts": inputs},
        "outputs": {"parameters": output_parameters, "artifacts": output_artifacts, "outputFile": executor_output_file()},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pod_names_follow_from_run_task_and_attempt_and_are_valid() {
        let name = pod_name("r", "t", "Train_Model on GPU", 0);
        assert!(name.starts_with("train-model-on-gpu-"), "{name}");
        assert_eq!(name, pod_name("r", "t", "Train_Model on GPU", 0));
        assert_ne!(name, pod_name("r", "t", "Train_Model on GPU", 1));
        assert!(pod_name("r", "t", "模型", 0).starts_with("step-"));
        assert!(pod_name("r", "t", &"x".repeat(200), 0).len() <= 63);
    }
}
