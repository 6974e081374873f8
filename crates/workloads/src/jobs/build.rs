//! The pods of a job.

use control::owners;
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::manage::NewPod;
use super::{INDEX, INDEX_FAILURES, TRACKING};
use crate::pods::template::pod_from_template;
use crate::templated::Templated;

/// The environment variable by which a container learns its completion index.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// Room for the suffix of a generated name.
const LONGEST_BASE: usize = 58;

/// The body of a new pod.
pub fn pod(job: &Templated<Job>, new: NewPod) -> Value {
    let owner = owners::controller_reference(job, "batch/v1", "Job");
    let mut pod = pod_from_template(&job.template, &owner);
    let metadata = &mut pod["metadata"];
    match metadata["finalizers"].as_array_mut() {
        Some(finalizers) => finalizers.push(TRACKING.into()),
        None => metadata["finalizers"] = json!([TRACKING]),
    }
    let Some(index) = new.index else { return pod };
    let number = index.to_string();
    metadata["annotations"][INDEX] = number.clone().into();
    metadata["labels"][INDEX] = number.clone().into();
    if let Some(failures) = new.failures {
        metadata["annotations"][INDEX_FAILURES] = failures.to_string().into();
    }
    let mut base = format!("{}-{index}-", job.name_any());
    if base.len() > LONGEST_BASE {
        let room = LONGEST_BASE - number.len() - 2;
        let name = job.name_any();
        base = format!(
            "{}-{index}-",
            &name[..name.floor_char_boundary(room.min(name.len()))]
        );
    }
    metadata["generateName"] = base.into();
    pod["spec"]["hostname"] = format!("{}-{index}", job.name_any()).into();
    for field in ["initContainers", "containers"] {
        for container in pod["spec"][field].as_array_mut().into_iter().flatten() {
            add_variable(container);
        }
    }
    pod
}

fn add_variable(container: &mut Value) {
    let field = format!("metadata.labels['{INDEX}']");
    let variable = json!({"name": INDEX_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": field}}});
    match container["env"].as_array_mut() {
        Some(held)
            if held
                .iter()
                .any(|variable| variable["name"] == INDEX_VARIABLE) => {}
        Some(held) => held.push(variable),
        None => container["env"] = json!([variable]),
    }
}
