//! A step: everything one attempt of a leaf task needs, with nothing left to resolve. Pure: the same task and attempt
//! always give the same step, so that a step can be made again after a crash.
//! One file because a step is one value built from many small readings of the document, each a few lines.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::ir::component::ParameterType;
use crate::ir::spec::Container;
use crate::ir::{Component, Executor, Pipeline, numbers, placeholder};
use crate::run::Run;
use crate::task::Task;

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

/// Top folders that belong to the system, or to us; everything else in an argument is the user's.
const STANDARD_FOLDERS: [&str; 28] = [
    "app",
    "bin",
    "boot",
    "dev",
    "etc",
    "gcs",
    "home",
    "kfp-launcher",
    "kfp-workspace",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "media",
    "minio",
    "mnt",
    "oci",
    "opt",
    "proc",
    "root",
    "run",
    "s3",
    "sbin",
    "srv",
    "sys",
    "tmp",
    "usr",
    "var",
];

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

/// A folder of the host that a run asked for (`plugins_input."ferroflow.io/mounts"`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostMount {
    /// Absolute path on the host.
    pub host_path: String,
    /// Absolute path in the pod.
    pub mount_path: String,
    /// Steps may not write it.
    pub is_read_only: bool,
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
    let executor_input = executor_input(task, component, &attempt_folder);
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
    let mut env: Vec<(String, String)> = Vec::new();
    for variable in &container.env {
        env.retain(|(name, _)| *name != variable.name);
        env.push((
            variable.name.clone(),
            placeholder::resolve(&variable.value, scope),
        ));
    }
    let (limits, requests) = resources(container, scope);
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
        platform: platform.clone(),
        platform_config: pipeline.platform_config().clone(),
        host_mounts: host_mounts(&run.plugins_input)?,
    })
}

impl Step {
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

fn resources(
    container: &Container,
    scope: placeholder::Scope<'_>,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let settings = &container.resources;
    let text = |key: &str| {
        settings
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(|text| placeholder::resolve(text, scope))
            .filter(|text| !text.is_empty())
    };
    let number = |key: &str| {
        settings
            .get(key)
            .and_then(Value::as_f64)
            .filter(|number| *number > 0.0)
    };
    // The deprecated doubles count cores and gigabytes.
    let cores = |key: &str| {
        number(key)
            .and_then(serde_json::Number::from_f64)
            .map(|cores| numbers::plain(&cores))
    };
    let bytes = |key: &str| {
        number(key)
            .and_then(|gigabytes| serde_json::Number::from_f64((gigabytes * 1e9).round()))
            .map(|bytes| numbers::plain(&bytes))
    };
    let mut limits = BTreeMap::new();
    let mut requests = BTreeMap::new();
    for (name, limit, request) in [
        (
            "cpu",
            text("resourceCpuLimit").or_else(|| cores("cpuLimit")),
            text("resourceCpuRequest").or_else(|| cores("cpuRequest")),
        ),
        (
            "memory",
            text("resourceMemoryLimit").or_else(|| bytes("memoryLimit")),
            text("resourceMemoryRequest").or_else(|| bytes("memoryRequest")),
        ),
    ] {
        limits.extend(limit.map(|limit| (name.to_owned(), limit)));
        requests.extend(request.map(|request| (name.to_owned(), request)));
    }
    if let Some(accelerator) = settings.get("accelerator") {
        let field = |new: &str, old: &str| {
            let found = accelerator
                .get(new)
                .filter(|value| !value.is_null() && *value != "")
                .or_else(|| accelerator.get(old))?;
            let text = placeholder::resolve(&crate::ir::parameter::text(found), scope);
            (!text.is_empty()).then_some(text)
        };
        if let Some(count) = field("resourceCount", "count").filter(|count| count != "0") {
            let kind = field("resourceType", "type").unwrap_or_else(|| "nvidia.com/gpu".to_owned());
            // Names of card models are not names of resources.
            let kind = if kind.contains('/') {
                kind
            } else {
                "nvidia.com/gpu".to_owned()
            };
            limits.insert(kind, count);
        }
    }
    (limits, requests)
}

/// The first component of every absolute path in the arguments, unless it is a folder of the system.
fn shared_paths(args: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for argument in args {
        let path = argument
            .split_once('=')
            .map_or(argument.as_str(), |(_, value)| value);
        let Some(below) = path.strip_prefix('/') else {
            continue;
        };
        let top = below.split('/').next().unwrap_or_default();
        let is_plain = !top.is_empty()
            && top
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.'))
            && !top.starts_with('.');
        let path = format!("/{top}");
        if is_plain && !STANDARD_FOLDERS.contains(&top) && !found.contains(&path) {
            found.push(path);
        }
    }
    found
}

fn mentions_workspace(
    command: &[String],
    args: &[String],
    env: &[(String, String)],
    executor_input: &Value,
    pipeline: &Pipeline,
) -> bool {
    if pipeline
        .platform_config()
        .get("workspace")
        .is_none_or(Value::is_null)
    {
        return false;
    }
    let has =
        |text: &str| text.contains(placeholder::WORKSPACE_PATH) || text.contains("_kfp_workspace");
    command.iter().chain(args).any(|text| has(text))
        || env.iter().any(|(_, text)| has(text))
        || has(&executor_input.to_string())
}

/// Reads `plugins_input."ferroflow.io/mounts"`: `{"mounts": [{"hostPath": "/home/me/data", "mountPath": "/data/raw", "readOnly": true}]}`.
pub fn host_mounts(plugins: &Map<String, Value>) -> Result<Vec<HostMount>, String> {
    let mounts = plugins
        .get("ferroflow.io/mounts")
        .and_then(|plugin| plugin.get("mounts"))
        .and_then(Value::as_array);
    mounts
        .into_iter()
        .flatten()
        .map(|mount| {
            let path = |field: &str| {
                let text = mount.get(field).and_then(Value::as_str).unwrap_or_default();
                let is_clean = text.starts_with('/') && text.len() > 1 && !text.split('/').any(|part| part == "..");
                if is_clean { Ok(text.to_owned()) } else { Err(format!("plugins_input.ferroflow.io/mounts: {field} must be an absolute path, is {text:?}")) }
            };
            Ok(HostMount { host_path: path("hostPath")?, mount_path: path("mountPath")?, is_read_only: mount.get("readOnly").and_then(Value::as_bool).unwrap_or(true) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_paths_are_the_top_folders_that_are_not_the_systems() {
        let args = [
            "--input",
            "/data/raw",
            "--out=/models/llm",
            "/usr/share/x",
            "/data/processed",
            "relative/x",
            "/",
            "/tmp/x",
            "--n",
            "3",
        ]
        .map(str::to_owned);
        assert_eq!(shared_paths(&args), ["/data", "/models"]);
    }

    #[test]
    fn pod_names_follow_from_run_task_and_attempt_and_are_valid() {
        let name = pod_name("r", "t", "Train_Model on GPU", 0);
        assert!(name.starts_with("train-model-on-gpu-"), "{name}");
        assert_eq!(name, pod_name("r", "t", "Train_Model on GPU", 0));
        assert_ne!(name, pod_name("r", "t", "Train_Model on GPU", 1));
        assert!(pod_name("r", "t", "模型", 0).starts_with("step-"));
        assert!(pod_name("r", "t", &"x".repeat(200), 0).len() <= 63);
    }

    #[test]
    fn host_mounts_must_be_absolute_and_stay_where_they_point() {
        let plugins = |mount: Value| {
            json!({"ferroflow.io/mounts": {"mounts": [mount]}})
                .as_object()
                .unwrap()
                .clone()
        };
        let read = host_mounts(&plugins(
            json!({"hostPath": "/d", "mountPath": "/data/raw"}),
        ))
        .unwrap();
        assert_eq!(
            read,
            [HostMount {
                host_path: "/d".into(),
                mount_path: "/data/raw".into(),
                is_read_only: true
            }]
        );
        for bad in [
            json!({"hostPath": "d", "mountPath": "/x"}),
            json!({"hostPath": "/d/../etc", "mountPath": "/x"}),
            json!({"hostPath": "/d"}),
        ] {
            assert!(host_mounts(&plugins(bad)).is_err());
        }
    }
}
