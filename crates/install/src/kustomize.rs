//! Renders a kustomize folder: resources, namespace, labels, images and patches (JSON, or of a whole object away), in that
//! order.
//! What else kustomize knows is refused by name, so that no folder means one thing here and another there.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::Error;

/// Kinds that have no namespace, among those that our manifests use.
const CLUSTER_SCOPED: &[&str] = &[
    "Namespace",
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "StorageClass",
    "PersistentVolume",
    "PriorityClass",
    "Profile",
];

/// Order in which kinds are applied: what others refer to comes first. Kinds that are not listed come last.
const ORDER: &[&str] = &[
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Service",
    "PersistentVolumeClaim",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "Deployment",
    "StatefulSet",
    "Job",
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Kustomization {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default)]
    resources: Vec<String>,
    namespace: Option<String>,
    #[serde(default)]
    labels: Vec<Labels>,
    #[serde(default)]
    images: Vec<Image>,
    #[serde(default)]
    patches: Vec<Patch>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Labels {
    pairs: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Image {
    name: String,
    new_name: Option<String>,
    new_tag: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    path: String,
    target: Target,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    kind: String,
    name: String,
}

/// The objects of `folder`, in the order of application. `read` gives a file's text by its path.
///
/// # Errors
/// [`Error::Render`] names the file and what is wrong with it.
pub fn render(folder: &str, read: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Value>, Error> {
    let mut objects = load(folder, read)?;
    sort(&mut objects);
    Ok(objects)
}

/// Puts objects into the order of application; those of one kind keep theirs.
pub fn sort(objects: &mut [Value]) {
    objects.sort_by_key(|object| {
        let kind = object["kind"].as_str().unwrap_or_default();
        ORDER
            .iter()
            .position(|known| *known == kind)
            .unwrap_or(ORDER.len())
    });
}

/// Replaces the image `name` (without a tag) by `with` in every pod template of `objects`.
pub fn set_image(objects: &mut [Value], name: &str, with: &str) {
    for object in objects {
        each_container(object, &mut |container| {
            let image = container["image"].as_str().unwrap_or_default();
            if image == name
                || image
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with(':') || rest.starts_with('@'))
            {
                container["image"] = with.into();
            }
        });
    }
}

fn load(folder: &str, read: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Value>, Error> {
    let path = join(folder, "kustomization.yaml");
    let text = read(&path).ok_or_else(|| fault(&path, "no such file"))?;
    let kustomization: Kustomization =
        serde_saphyr::from_str(&text).map_err(|error| fault(&path, &error.to_string()))?;
    let mut objects = Vec::new();
    for resource in &kustomization.resources {
        let resource = join(folder, resource);
        if resource.ends_with(".yaml") {
            let text = read(&resource)
                .ok_or_else(|| fault(&path, &format!("resource {resource} does not exist")))?;
            objects.extend(
                objects::yaml::parse_all(&text)
                    .map_err(|error| fault(&resource, &error.to_string()))?,
            );
        } else {
            objects.extend(load(&resource, read)?);
        }
    }
    for object in &mut objects {
        dress(object, &kustomization);
    }
    for patch in &kustomization.patches {
        let file = join(folder, &patch.path);
        let text =
            read(&file).ok_or_else(|| fault(&path, &format!("patch {file} does not exist")))?;
        let operations =
            objects::yaml::parse(&text).map_err(|error| fault(&file, &error.to_string()))?;
        let index = objects
            .iter()
            .position(|object| {
                object["kind"] == patch.target.kind.as_str()
                    && object["metadata"]["name"] == patch.target.name.as_str()
            })
            .ok_or_else(|| {
                fault(
                    &file,
                    &format!("no {} {} to patch", patch.target.kind, patch.target.name),
                )
            })?;
        if operations["$patch"] == "delete" {
            objects.remove(index);
            continue;
        }
        objects::patch::json(&mut objects[index], &operations)
            .map_err(|error| fault(&file, &error.to_string()))?;
    }
    Ok(objects)
}

fn dress(object: &mut Value, kustomization: &Kustomization) {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if let Some(namespace) = &kustomization.namespace
        && !CLUSTER_SCOPED.contains(&kind.as_str())
    {
        object["metadata"]["namespace"] = namespace.as_str().into();
    }
    // kustomize gives the subjects of a binding the namespace too, where they have none.
    if let (Some(namespace), Some(subjects)) = (
        &kustomization.namespace,
        object.get_mut("subjects").and_then(Value::as_array_mut),
    ) {
        for subject in subjects.iter_mut().filter(|subject| {
            subject["kind"] == "ServiceAccount" && subject.get("namespace").is_none()
        }) {
            subject["namespace"] = namespace.as_str().into();
        }
    }
    for labels in &kustomization.labels {
        for (key, value) in &labels.pairs {
            object["metadata"]["labels"][key] = value.as_str().into();
        }
    }
    for image in &kustomization.images {
        each_container(object, &mut |container| {
            let (name, tag) = split_image(container["image"].as_str().unwrap_or_default());
            if name == image.name {
                let name = image.new_name.as_deref().unwrap_or(&name);
                container["image"] = match image.new_tag.as_deref().or(tag.as_deref()) {
                    Some(tag) => format!("{name}:{tag}").into(),
                    None => name.into(),
                };
            }
        });
    }
}

fn split_image(image: &str) -> (String, Option<String>) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name.to_owned(), Some(tag.to_owned())),
        _ => (image.to_owned(), None),
    }
}

fn each_container(object: &mut Value, change: &mut dyn FnMut(&mut Value)) {
    let pod = match object["kind"].as_str() {
        Some("Pod") => object.pointer_mut("/spec"),
        Some("CronJob") => object.pointer_mut("/spec/jobTemplate/spec/template/spec"),
        _ => object.pointer_mut("/spec/template/spec"),
    };
    let Some(pod) = pod else { return };
    for list in ["initContainers", "containers"] {
        for container in pod
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            change(container);
        }
    }
}

/// `folder` + `relative`, with `..` resolved.
fn join(folder: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn fault(path: &str, cause: &str) -> Error {
    Error::Render {
        path: path.to_owned(),
        cause: cause.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources;

    fn one_machine() -> Vec<Value> {
        render("one-machine", &sources::read).expect("what we ship can be rendered")
    }

    #[test]
    fn with_artifacts_in_a_bucket_there_is_no_claim_of_them_and_the_secret_is_needed() {
        let objects = render("s3", &sources::read).unwrap();
        let named = |name: &str| {
            objects
                .iter()
                .filter(|object| object["metadata"]["name"] == name)
                .collect::<Vec<_>>()
        };
        assert!(named("ferroflow-artifacts").is_empty());
        assert_eq!(named("ml-pipeline-data").len(), 1);
        let deployment = named("ml-pipeline")
            .into_iter()
            .find(|object| object["kind"] == "Deployment")
            .unwrap();
        let pod = &deployment["spec"]["template"]["spec"];
        let needed: Vec<&str> = pod["containers"][0]["env"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|variable| variable["valueFrom"]["secretKeyRef"]["optional"] == false)
            .map(|variable| variable["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            needed,
            [
                "FERROFLOW_OBJECT_STORE",
                "AWS_ACCESS_KEY_ID",
                "AWS_SECRET_ACCESS_KEY"
            ]
        );
        assert_eq!(
            pod["volumes"][2],
            serde_json::json!({"name": "artifacts", "emptyDir": {"sizeLimit": "64Mi"}})
        );
    }

    fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
        objects
            .iter()
            .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
            .unwrap_or_else(|| panic!("{kind} {name} is shipped"))
    }

    #[test]
    fn every_namespaced_object_is_in_a_namespace_of_the_platform() {
        for object in one_machine() {
            let kind = object["kind"].as_str().expect("every object has a kind");
            let is_gateways =
                object["metadata"]["labels"]["app.kubernetes.io/component"] == "gateway";
            let expected = match (CLUSTER_SCOPED.contains(&kind), is_gateways) {
                (true, _) => Value::Null,
                (false, true) => "istio-system".into(),
                (false, false) => "kubeflow".into(),
            };
            assert_eq!(
                object["metadata"]["namespace"], expected,
                "{kind} {}",
                object["metadata"]["name"]
            );
        }
    }

    #[test]
    fn the_console_is_on_the_hosts_loopback_address_on_one_machine_only() {
        let port = |folder| {
            let objects = render(folder, &sources::read).expect("what we ship can be rendered");
            find(&objects, "Deployment", "dashboard")["spec"]["template"]["spec"]["containers"][0]["ports"][0]["hostPort"].clone()
        };
        assert_eq!(port("one-machine"), 7878);
        assert_eq!(port("kubeflow"), Value::Null);
    }

    #[test]
    fn what_is_referred_to_comes_first() {
        let objects = one_machine();
        let place = |kind: &str| {
            objects
                .iter()
                .position(|object| object["kind"] == kind)
                .expect("the kind is shipped")
        };
        assert!(place("Namespace") < place("ServiceAccount"));
        assert!(place("ServiceAccount") < place("RoleBinding"));
        assert!(place("PersistentVolumeClaim") < place("Deployment"));
    }

    #[test]
    fn the_image_is_set_everywhere_and_nowhere_else() {
        let mut objects = one_machine();
        set_image(&mut objects, "ferroflow/kfctl", "ferroflow/kfctl:9");
        for name in ["ml-pipeline", "dashboard", "istio-ingressgateway"] {
            let deployment = find(&objects, "Deployment", name);
            assert_eq!(
                deployment["spec"]["template"]["spec"]["containers"][0]["image"],
                "ferroflow/kfctl:9"
            );
        }
        let mut other = vec![
            serde_json::json!({"kind": "Pod", "spec": {"containers": [{"image": "ferroflow/kfctl-extra:1"}]}}),
        ];
        set_image(&mut other, "ferroflow/kfctl", "x");
        assert_eq!(
            other[0]["spec"]["containers"][0]["image"],
            "ferroflow/kfctl-extra:1"
        );
    }

    #[test]
    fn what_this_renderer_does_not_know_is_refused_by_name() {
        let read = |path: &str| {
            (path == "a/kustomization.yaml")
                .then(|| "apiVersion: v\nkind: Kustomization\nhelmCharts: []\n".to_owned())
        };
        let error = render("a", &read).expect_err("helmCharts is not rendered here");
        assert!(error.to_string().contains("helmCharts"), "{error}");
    }

    #[test]
    fn a_missing_resource_names_the_file_that_wants_it() {
        let read = |path: &str| {
            (path == "a/kustomization.yaml")
                .then(|| "apiVersion: v\nkind: Kustomization\nresources: [b.yaml]\n".to_owned())
        };
        let error = render("a", &read).expect_err("b.yaml does not exist");
        assert!(
            error.to_string().contains("a/kustomization.yaml")
                && error.to_string().contains("a/b.yaml"),
            "{error}"
        );
    }
}
