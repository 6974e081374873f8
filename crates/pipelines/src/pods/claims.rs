//! Volume claims: those a pipeline makes and deletes by pseudo-images, and
//! those the engine makes for a run (shared folders, workspace).

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use super::{Settings, marks};
use crate::engine::Outcome;
use crate::engine::step::{CREATE_CLAIM, DELETE_CLAIM, Step};

/// True for steps that are done by the engine itself.
pub fn is_claim_step(step: &Step) -> bool {
    matches!(step.image.as_str(), CREATE_CLAIM | DELETE_CLAIM)
}

/// Name of the claim for the folders that the steps of a run share.
pub fn shared_claim(run_id: &str) -> String {
    format!("run-{}-shared", short(run_id))
}

/// Name of a run's workspace claim.
pub fn workspace_claim(run_resource_name: &str) -> String {
    let name: String = run_resource_name
        .chars()
        .map(|letter| if letter == '.' { '-' } else { letter })
        .collect();
    let start = name.len().saturating_sub(45);
    format!("{}-kfp-workspace", name[start..].trim_start_matches('-'))
}

fn short(run_id: &str) -> String {
    run_id
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(12)
        .collect()
}

/// Makes the claims a step's pod will mount, unless they are there.
pub async fn ensure_for(settings: &Settings, step: &Step) -> Result<(), String> {
    if !step.shared_paths.is_empty() {
        let name = shared_claim(&step.run_id);
        // The first step of a run makes it; the others need to know no more.
        if find(settings, &name).await?.is_none() {
            let artifacts = find(settings, &settings.target.artifacts_claim).await?;
            let spec = shared_spec(
                artifacts.as_ref(),
                settings.storage_class.as_deref(),
                &settings.shared_size,
            );
            ensure(settings, step, &name, spec).await?;
        }
    }
    if step.uses_workspace {
        let workspace = step
            .platform_config
            .get("workspace")
            .cloned()
            .unwrap_or_default();
        let size = workspace
            .get("size")
            .and_then(Value::as_str)
            .unwrap_or("10Gi");
        let mut spec = claim_spec(
            settings.storage_class.as_deref(),
            &json!(["ReadWriteOnce"]),
            size,
        );
        if let Some(patch) = workspace
            .pointer("/kubernetes/pvcSpecPatch")
            .and_then(Value::as_object)
        {
            for (key, value) in patch {
                spec[key] = value.clone();
            }
        }
        ensure(
            settings,
            step,
            &workspace_claim(&step.run_resource_name),
            spec,
        )
        .await?;
    }
    Ok(())
}

async fn find(settings: &Settings, name: &str) -> Result<Option<PersistentVolumeClaim>, String> {
    api(settings)
        .get_opt(name)
        .await
        .map_err(|problem| format!("the volume claim {name} could not be read: {problem}"))
}

/// A run's shared folders lie where the artifacts do, for as many nodes at once: nothing else tells what a class offers.
/// Without a claim of artifacts they are for one node at a time, which every class offers.
fn shared_spec(
    artifacts: Option<&PersistentVolumeClaim>,
    class: Option<&str>,
    size: &str,
) -> Value {
    let artifacts = artifacts.and_then(|claim| claim.spec.as_ref());
    let modes = artifacts.and_then(|spec| spec.access_modes.as_ref());
    let class = class.or_else(|| artifacts?.storage_class_name.as_deref());
    match modes {
        Some(modes) => claim_spec(class, &json!(modes), size),
        None => claim_spec(class, &json!(["ReadWriteOnce"]), size),
    }
}

async fn ensure(settings: &Settings, step: &Step, name: &str, spec: Value) -> Result<(), String> {
    match create(settings, step, name, spec, &Value::Null).await {
        Ok(()) | Err(Refusal::Exists) => Ok(()),
        Err(Refusal::Other(problem)) => Err(format!(
            "its volume claim {name} could not be made: {problem}"
        )),
    }
}

enum Refusal {
    Exists,
    Other(String),
}

async fn create(
    settings: &Settings,
    step: &Step,
    name: &str,
    spec: Value,
    annotations: &Value,
) -> Result<(), Refusal> {
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "labels": {(marks::RUN): step.run_id, (marks::TASK): step.task_id}, "annotations": annotations},
        "spec": spec,
    });
    let claim: PersistentVolumeClaim =
        serde_json::from_value(claim).map_err(|problem| Refusal::Other(problem.to_string()))?;
    match api(settings).create(&PostParams::default(), &claim).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Err(Refusal::Exists),
        Err(kube::Error::Api(status)) => Err(Refusal::Other(status.message)),
        Err(problem) => Err(Refusal::Other(problem.to_string())),
    }
}

fn claim_spec(class: Option<&str>, access_modes: &Value, size: &str) -> Value {
    let mut spec =
        json!({"accessModes": access_modes, "resources": {"requests": {"storage": size}}});
    if let Some(class) = class {
        spec["storageClassName"] = class.into();
    }
    spec
}

fn api(settings: &Settings) -> Api<PersistentVolumeClaim> {
    Api::namespaced(settings.client.clone(), &settings.target.namespace)
}

/// Does what a claim step says.
pub async fn perform(settings: &Settings, step: &Step) -> Outcome {
    let done = if step.image == CREATE_CLAIM {
        create_claim(settings, step).await
    } else {
        delete_claim(settings, step).await
    };
    match done {
        Ok(report) => Outcome::Succeeded {
            report: Box::new(report),
            log: None,
        },
        Err(message) => Outcome::Failed {
            exit_code: None,
            message,
            log: None,
        },
    }
}

async fn create_claim(settings: &Settings, step: &Step) -> Result<launcher::Report, String> {
    let inputs = &step.executor_input["inputs"]["parameterValues"];
    let text = |key: &str| {
        inputs
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let name = claim_name(&step.task_id, text("pvc_name"), text("pvc_name_suffix"))?;
    let modes = inputs
        .get("access_modes")
        .cloned()
        .unwrap_or_else(|| json!(["ReadWriteOnce"]));
    let mut spec = claim_spec(
        text("storage_class_name").or(settings.storage_class.as_deref()),
        &modes,
        text("size").ok_or("CreatePVC needs a size")?,
    );
    if let Some(volume) = text("volume_name") {
        spec["volumeName"] = volume.into();
    }
    if let Some(source) = inputs
        .get("data_source")
        .filter(|source| source.as_object().is_some_and(|source| !source.is_empty()))
    {
        spec["dataSource"] = source.clone();
    }
    let annotations = inputs.get("annotations").cloned().unwrap_or_default();
    match create(settings, step, &name, spec, &annotations).await {
        Ok(()) => {}
        Err(Refusal::Exists) => {
            let claim = api(settings)
                .get(&name)
                .await
                .map_err(|problem| format!("could not read the volume claim {name}: {problem}"))?;
            if claim.labels().get(marks::TASK) != Some(&step.task_id) {
                return Err(format!("a volume claim named {name} exists already"));
            }
        }
        Err(Refusal::Other(problem)) => {
            return Err(format!("could not make the volume claim {name}: {problem}"));
        }
    }
    Ok(launcher::Report {
        parameters: [("name".to_owned(), name)].into(),
        ..launcher::Report::default()
    })
}

/// The name follows from the task, so that doing it twice makes one claim.
fn claim_name(task_id: &str, name: Option<&str>, suffix: Option<&str>) -> Result<String, String> {
    match (name, suffix) {
        (Some(_), Some(_)) => {
            Err("CreatePVC takes pvc_name or pvc_name_suffix, not both".to_owned())
        }
        (None, None) => Err("CreatePVC needs pvc_name or pvc_name_suffix".to_owned()),
        (Some(name), None) => Ok(name.to_owned()),
        (None, Some(suffix)) => Ok(format!("{task_id}{suffix}")),
    }
}

async fn delete_claim(settings: &Settings, step: &Step) -> Result<launcher::Report, String> {
    let name = step.executor_input["inputs"]["parameterValues"]["pvc_name"]
        .as_str()
        .filter(|name| !name.is_empty())
        .ok_or("DeletePVC needs pvc_name")?;
    match api(settings).delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(launcher::Report::default()),
        // Deleting what is gone has the wished-for end; it happens when the step runs twice.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(launcher::Report::default()),
        Err(problem) => Err(format!(
            "could not delete the volume claim {name}: {problem}"
        )),
    }
}

/// Deletes the claims that were made for a run; those its pipeline made by itself are the pipeline's affair.
pub async fn remove_all(settings: &Settings, run_id: &str) {
    let of_run = ListParams::default().labels(&format!("{}={run_id}", marks::RUN));
    let Ok(claims) = api(settings).list(&of_run).await else {
        return;
    };
    for claim in claims {
        let name = claim.name_any();
        if name == shared_claim(run_id) || name.ends_with("-kfp-workspace") {
            let _ = api(settings).delete(&name, &DeleteParams::default()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claims_name_follows_from_its_task() {
        assert_eq!(claim_name("t1", None, Some("-data")), Ok("t1-data".into()));
        assert_eq!(claim_name("t1", Some("mine"), None), Ok("mine".into()));
        assert!(claim_name("t1", Some("a"), Some("b")).is_err());
        assert!(claim_name("t1", None, None).is_err());
    }

    #[test]
    fn names_of_a_runs_claims_are_valid_however_long_the_pipelines_name() {
        let name = workspace_claim(&format!("{}-x1y2z", "very.long".repeat(20)));
        assert!(
            name.len() <= 63 && name.ends_with("-x1y2z-kfp-workspace") && !name.contains('.'),
            "{name}"
        );
        assert_eq!(
            shared_claim("0f3e7a52-9a1b-4c5d-8e6f-000000000000"),
            "run-0f3e7a529a1b-shared"
        );
    }

    fn artifacts(modes: &[&str], class: Option<&str>) -> PersistentVolumeClaim {
        serde_json::from_value(json!({"spec": {"accessModes": modes, "storageClassName": class}}))
            .expect("a claim")
    }

    #[test]
    fn shared_folders_lie_where_the_artifacts_do_for_as_many_nodes() {
        let claim = artifacts(&["ReadWriteMany"], Some("nfs"));
        let spec = shared_spec(Some(&claim), None, "1Gi");
        assert_eq!(spec["accessModes"], json!(["ReadWriteMany"]));
        assert_eq!(spec["storageClassName"], "nfs");
        let spec = shared_spec(Some(&claim), Some("fast"), "1Gi");
        assert_eq!(spec["storageClassName"], "fast");
    }

    #[test]
    fn without_a_claim_of_artifacts_they_are_for_one_node_at_a_time() {
        let spec = shared_spec(None, None, "1Gi");
        assert_eq!(spec["accessModes"], json!(["ReadWriteOnce"]));
        assert_eq!(spec.get("storageClassName"), None);
    }
}
