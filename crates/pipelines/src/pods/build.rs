//! The pod of a step. Pure.
//!
//! Inside it: the launcher, from the artifact volume or put into an emptyDir by our own image; the artifact volume at the very path that the KFP
//! executor derives from `minio://mlpipeline/…`, read-only but for the run's own folder; a token for this API. Where artifacts lie in an object
//! store, emptyDirs stand at the paths of the buckets, and the launcher fills and empties them through this API.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};

use super::{Target, claims, marks, platform};
use crate::engine::step::{LAUNCHER_FOLDER, Step};
use crate::ir::placeholder::WORKSPACE_PATH;

/// Where the artifact volume is mounted: the local path of `minio://mlpipeline`.
pub const ARTIFACTS_MOUNT: &str = "/minio/mlpipeline";

/// Where a shared folder is mounted while it is filled.
const FILL_MOUNT: &str = "/ferroflow-shared";

/// Builds the pod; the error is what the user reads about the failed step.
pub fn build(step: &Step, target: &Target) -> Result<Pod, String> {
    let is_wrapped = !step.command.is_empty();
    let mut main = Map::new();
    main.insert("name".into(), "main".into());
    main.insert("image".into(), step.image.clone().into());
    if is_wrapped {
        let (source, place) = match &target.api {
            Some(url) => ("--api", url.clone()),
            None => ("--step", artifacts::uri::local_path(&step.launcher_uri())),
        };
        let arguments = [source.to_owned(), place, "--".to_owned()];
        let user = step
            .command
            .iter()
            .chain(&step.args)
            .map(|text| literal(text));
        main.insert(
            "command".into(),
            json!([format!("{LAUNCHER_FOLDER}/launch")]),
        );
        main.insert("args".into(), arguments.into_iter().chain(user).collect());
    } else if !step.args.is_empty() {
        main.insert(
            "args".into(),
            step.args.iter().map(|text| literal(text)).collect(),
        );
    }
    main.insert("env".into(), environment(step));
    main.insert(
        "resources".into(),
        json!({"limits": step.limits, "requests": step.requests}),
    );
    main.insert("volumeMounts".into(), json!([]));
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": step.pod_name,
            "namespace": target.namespace,
            "labels": {
                (marks::RUN): step.run_id,
                (marks::COMPONENT): "true",
                (marks::TASK): step.task_id,
                (marks::ATTEMPT): step.attempt.to_string(),
                "app.kubernetes.io/managed-by": "ferroflow",
            },
            "annotations": {
                "pipelines.kubeflow.org/run_name": step.run_name,
                "pipelines.kubeflow.org/pipeline_name": step.pipeline_name,
                "pipelines.kubeflow.org/task_name": step.task_name,
                "pipelines.kubeflow.org/task_display_name": step.display_name,
                "pipelines.kubeflow.org/task_path": step.scope_path,
                (marks::LOG): step.log_uri(),
            },
            "finalizers": [marks::FINALIZER],
        },
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": if step.service_account.is_empty() { &target.service_account } else { &step.service_account },
            "enableServiceLinks": false,
            "containers": [main],
            "volumes": [],
        },
    });
    let artifacts = artifacts_folder(step).filter(|_| target.api.is_none());
    let lies_there = target.launcher.as_deref().filter(|_| artifacts.is_some());
    let is_brought = target.api.is_some() && !step.launcher.inputs.is_empty();
    if is_wrapped {
        pod["metadata"]["annotations"][marks::REPORT] = step.report_uri().into();
    }
    if is_wrapped || is_brought {
        // Even with nothing to install the list is there: shared folders are filled by init containers, too.
        pod["spec"]["initContainers"] = match lies_there {
            Some(_) => json!([]),
            None => json!([{
                "name": "launcher",
                "image": target.image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["kfctl", "launcher", "install", LAUNCHER_FOLDER],
                "volumeMounts": [{"name": "launcher", "mountPath": LAUNCHER_FOLDER}],
            }]),
        };
        add_volume(
            &mut pod,
            json!({"name": "launcher", "emptyDir": {}}),
            &[json!({"mountPath": LAUNCHER_FOLDER})],
        );
    }
    add_artifacts(&mut pod, artifacts, target);
    if target.api.is_some() {
        add_buckets(&mut pod, step);
    }
    if let (true, Some(file)) = (is_wrapped, lies_there) {
        let mount = json!({"mountPath": format!("{LAUNCHER_FOLDER}/launch"), "subPath": file, "readOnly": true});
        add_volume(&mut pod, artifacts_volume(target), &[mount]);
    }
    let token = json!({"serviceAccountToken": {"audience": "pipelines.kubeflow.org", "expirationSeconds": 7200, "path": "token"}});
    add_volume(
        &mut pod,
        json!({"name": "pipelines-token", "projected": {"sources": [token]}}),
        &[json!({"mountPath": "/var/run/secrets/kubeflow/pipelines", "readOnly": true})],
    );
    if let (false, true, Some(url)) = (is_wrapped, is_brought, &target.api) {
        bring_first(&mut pod, step, url);
    }
    add_shared(&mut pod, step, lies_there);
    platform::apply(&mut pod, &step.platform)?;
    serde_json::from_value(pod).map_err(|problem| format!("its pod cannot be built: {problem}"))
}

fn environment(step: &Step) -> Value {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let mut variables = vec![
        field("KFP_POD_NAME", "metadata.name"),
        field("KFP_POD_UID", "metadata.uid"),
        field("NAMESPACE", "metadata.namespace"),
        json!({"name": "KFP_RUN_ID", "value": step.run_id}),
        json!({"name": "KFP_RETRY_INDEX", "value": step.retry_index.to_string()}),
    ];
    for (name, value) in &step.env {
        variables.retain(|variable| variable["name"] != name.as_str());
        variables.push(json!({"name": name, "value": literal(value)}));
    }
    variables.into()
}

/// Kubernetes turns `$$` into `$` in commands and values; user code means what it says. `$(NAME)` stays Kubernetes' own.
fn literal(text: &str) -> String {
    text.replace("$$", "$$$$")
}

/// The run's own folder on the artifact volume; none where its artifacts lie elsewhere.
fn artifacts_folder(step: &Step) -> Option<&str> {
    step.run_folder
        .strip_prefix(artifacts::uri::DEFAULT_BUCKET)?
        .strip_prefix('/')
}

fn artifacts_volume(target: &Target) -> Value {
    json!({"name": "artifacts", "persistentVolumeClaim": {"claimName": target.artifacts_claim}})
}

fn add_artifacts(pod: &mut Value, folder: Option<&str>, target: &Target) {
    let Some(folder) = folder else {
        return;
    };
    let volume = artifacts_volume(target);
    let mounts = [
        json!({"mountPath": ARTIFACTS_MOUNT, "readOnly": true}),
        json!({"mountPath": format!("{ARTIFACTS_MOUNT}/{folder}"), "subPath": folder}),
    ];
    add_volume(pod, volume, &mounts);
}

/// Empty folders at the paths of the buckets that the step reads from and writes to.
fn add_buckets(pod: &mut Value, step: &Step) {
    let read = step.launcher.inputs.iter().map(|input| input.uri.as_str());
    let mut paths: Vec<String> = Vec::new();
    for uri in std::iter::once(step.run_folder.as_str()).chain(read) {
        let Ok(uri) = artifacts::Uri::parse(uri) else {
            continue;
        };
        let path = artifacts::uri::local_path(&uri.bucket_uri());
        let path = path.trim_end_matches('/').to_owned();
        if path.starts_with('/') && !paths.contains(&path) {
            paths.push(path);
        }
    }
    for (index, path) in paths.iter().enumerate() {
        let name = match index {
            0 => "artifacts".to_owned(),
            index => format!("artifacts-{index}"),
        };
        add_volume(
            pod,
            json!({"name": name, "emptyDir": {}}),
            &[json!({"mountPath": path})],
        );
    }
}

/// An image that starts by its own entry point finds its inputs there already.
fn bring_first(pod: &mut Value, step: &Step, url: &str) {
    let mounts = pod["spec"]["containers"][0]["volumeMounts"].clone();
    if let Some(inits) = pod["spec"]["initContainers"].as_array_mut() {
        inits.push(json!({
            "name": "inputs",
            "image": step.image,
            "command": [format!("{LAUNCHER_FOLDER}/launch"), "--bring", url],
            "volumeMounts": mounts,
        }));
    }
}

/// `launcher`: where it lies on the artifact volume, if it does.
fn add_shared(pod: &mut Value, step: &Step, launcher: Option<&str>) {
    if !step.shared_paths.is_empty() {
        let mounts: Vec<Value> = step
            .shared_paths
            .iter()
            .map(|path| json!({"mountPath": path, "subPath": path.trim_start_matches('/')}))
            .collect();
        add_volume(
            pod,
            json!({"name": "shared", "persistentVolumeClaim": {"claimName": claims::shared_claim(&step.run_id)}}),
            &mounts,
        );
    }
    if step.uses_workspace {
        let volume = json!({"name": "workspace", "persistentVolumeClaim": {"claimName": claims::workspace_claim(&step.run_resource_name)}});
        add_volume(pod, volume, &[json!({"mountPath": WORKSPACE_PATH})]);
    }
    let program = format!("{LAUNCHER_FOLDER}/launch");
    let brings_launcher = match launcher {
        Some(file) => {
            json!({"name": "artifacts", "mountPath": program, "subPath": file, "readOnly": true})
        }
        None => json!({"name": "launcher", "mountPath": LAUNCHER_FOLDER, "readOnly": true}),
    };
    for path in &step.fills {
        // What the image has at a shared path would be hidden by the volume, so it is copied there before first use.
        let below = path.trim_start_matches('/');
        let target = format!("{FILL_MOUNT}/{below}");
        if let Some(inits) = pod["spec"]["initContainers"].as_array_mut() {
            inits.push(json!({
                "name": format!("fill-{}", inits.len()),
                "image": step.image,
                "command": [program, "--fill", path, target],
                "volumeMounts": [
                    brings_launcher,
                    {"name": "shared", "mountPath": target, "subPath": below},
                ],
            }));
        }
    }
    for (index, mount) in step.host_mounts.iter().enumerate() {
        let volume = json!({"name": format!("host-{index}"), "hostPath": {"path": mount.host_path, "type": ""}});
        add_volume(
            pod,
            volume,
            &[json!({"mountPath": mount.mount_path, "readOnly": mount.is_read_only})],
        );
    }
}

/// Adds a volume and its mounts in the main container.
pub(super) fn add_volume(pod: &mut Value, volume: Value, mounts: &[Value]) {
    let name = volume["name"].clone();
    if let Some(volumes) = pod["spec"]["volumes"].as_array_mut()
        && !volumes.iter().any(|known| known["name"] == name)
    {
        volumes.push(volume);
    }
    if let Some(all) = pod["spec"]["containers"][0]["volumeMounts"].as_array_mut() {
        for mount in mounts {
            let mut mount = mount.clone();
            mount["name"] = name.clone();
            all.push(mount);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn target() -> Target {
        Target {
            namespace: "kubeflow".into(),
            image: "ferroflow/kfctl:1".into(),
            service_account: "pipeline-runner".into(),
            artifacts_claim: "ferroflow-artifacts".into(),
            launcher: None,
            api: None,
        }
    }

    pub fn step() -> Step {
        Step {
            run_id: "r1".into(),
            run_name: "my run".into(),
            run_resource_name: "demo-abcde".into(),
            pipeline_name: "demo".into(),
            service_account: String::new(),
            task_id: "t1".into(),
            task_name: "train".into(),
            display_name: "Train".into(),
            scope_path: "root.train".into(),
            component_name: "comp-train".into(),
            attempt: 1,
            retry_index: 1,
            pod_name: "train-0123456789ab".into(),
            image: "train:latest".into(),
            command: vec!["python".into(), "train.py".into()],
            args: vec!["--cost".into(), "$$5 $(HOME)".into()],
            unresolved: vec![],
            env: vec![
                ("MODE".into(), "fast".into()),
                ("KFP_RUN_ID".into(), "mine".into()),
            ],
            limits: [
                ("memory".into(), "1Gi".into()),
                ("nvidia.com/gpu".into(), "1".into()),
            ]
            .into(),
            requests: [("memory".into(), "1Gi".into())].into(),
            executor_input: json!({}),
            launcher: launcher::Step::default(),
            output_parameters: Default::default(),
            output_artifacts: json!({}),
            run_folder: "minio://mlpipeline/v2/artifacts/demo/r1".into(),
            attempt_folder: "minio://mlpipeline/v2/artifacts/demo/r1/train/e1".into(),
            platform: json!({}),
            platform_config: json!({}),
            shared_paths: vec!["/data".into(), "/models".into()],
            fills: vec!["/models".into()],
            host_mounts: vec![],
            uses_workspace: false,
        }
    }

    #[test]
    fn the_pod_of_a_step_is_what_the_contract_says() {
        let pod = serde_json::to_value(build(&step(), &target()).unwrap()).unwrap();
        insta::assert_json_snapshot!(pod);
    }

    #[test]
    fn a_launcher_that_lies_on_the_artifact_volume_needs_no_init_container() {
        let target = Target {
            launcher: Some(".launcher/0123/launch".into()),
            ..target()
        };
        let pod = serde_json::to_value(build(&step(), &target).unwrap()).unwrap();
        let mount = json!({"name": "artifacts", "mountPath": "/kfp-launcher/launch", "subPath": ".launcher/0123/launch", "readOnly": true});
        let has_it = |container: &Value| {
            container["command"][0] == "/kfp-launcher/launch"
                && container["volumeMounts"]
                    .as_array()
                    .unwrap()
                    .contains(&mount)
        };
        assert!(has_it(&pod["spec"]["containers"][0]), "{pod:#}");
        let inits = pod["spec"]["initContainers"].as_array().unwrap();
        assert_eq!(inits.len(), 1, "only the one that fills /models");
        assert!(has_it(&inits[0]), "{pod:#}");
    }

    #[test]
    fn a_run_whose_artifacts_lie_elsewhere_has_the_launcher_installed() {
        let target = Target {
            launcher: Some(".launcher/0123/launch".into()),
            ..target()
        };
        let mut step = step();
        step.run_folder = "s3://bucket/r1".into();
        let pod = serde_json::to_value(build(&step, &target).unwrap()).unwrap();
        assert_eq!(pod["spec"]["initContainers"][0]["name"], "launcher");
    }

    fn through_the_api() -> (Step, Target) {
        let target = Target {
            launcher: Some(".launcher/0123/launch".into()),
            api: Some("http://10.0.0.7:8888".into()),
            ..target()
        };
        let mut step = step();
        step.run_folder = "s3://bucket/team/v2/artifacts/demo/r1".into();
        step.launcher.inputs = vec![
            launcher::Input {
                uri: "s3://bucket/team/v2/x".into(),
                path: "/s3/bucket/team/v2/x".into(),
            },
            launcher::Input {
                uri: "minio://mlpipeline/old".into(),
                path: "/minio/mlpipeline/old".into(),
            },
        ];
        (step, target)
    }

    #[test]
    fn where_artifacts_lie_in_a_bucket_the_pod_mounts_no_claim_of_them() {
        let (step, target) = through_the_api();
        let pod = serde_json::to_value(build(&step, &target).unwrap()).unwrap();
        let main = &pod["spec"]["containers"][0];
        assert_eq!(
            main["args"].as_array().unwrap()[..3],
            ["--api", "http://10.0.0.7:8888", "--"]
        );
        let mounts: Vec<(&str, &str)> = main["volumeMounts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|mount| {
                (
                    mount["name"].as_str().unwrap(),
                    mount["mountPath"].as_str().unwrap(),
                )
            })
            .collect();
        assert!(mounts.contains(&("artifacts", "/s3/bucket")), "{mounts:?}");
        assert!(mounts.contains(&("artifacts-1", "/minio/mlpipeline")));
        assert!(mounts.contains(&("shared", "/data")), "{mounts:?}");
        let text = pod.to_string();
        assert!(!text.contains("ferroflow-artifacts"), "{pod:#}");
        assert!(!text.contains("secretKeyRef"), "{pod:#}");
        assert_eq!(pod["spec"]["initContainers"][0]["name"], "launcher");
    }

    #[test]
    fn an_image_with_its_own_entry_point_has_its_inputs_brought_before() {
        let (mut step, target) = through_the_api();
        step.command.clear();
        step.shared_paths.clear();
        step.fills.clear();
        let pod = serde_json::to_value(build(&step, &target).unwrap()).unwrap();
        let inits = pod["spec"]["initContainers"].as_array().unwrap();
        assert_eq!(inits.len(), 2, "{pod:#}");
        assert_eq!(inits[1]["command"][1], "--bring");
        assert_eq!(inits[1]["image"], step.image);
        assert!(pod["spec"]["containers"][0].get("command").is_none());
        assert!(pod["metadata"]["annotations"].get(marks::REPORT).is_none());
    }

    #[test]
    fn an_image_without_a_command_keeps_its_entry_point() {
        let mut step = step();
        step.command.clear();
        let pod = serde_json::to_value(build(&step, &target()).unwrap()).unwrap();
        assert!(pod["spec"]["containers"][0].get("command").is_none());
        assert!(pod["spec"].get("initContainers").is_none());
        assert!(pod["metadata"]["annotations"].get(marks::REPORT).is_none());
    }
}
