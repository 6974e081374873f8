//! Task configuration: pod settings that a component asks to be handed as a parameter (of type TASK_CONFIG), so that it can
//! give them to what it starts itself. A setting that is only passed on is not applied to the step's own pod.

use serde_json::{Map, Value, json};

use super::LeafSettings;
use crate::ir::Component;
use crate::ir::component::ParameterType;
use crate::pods::apply_platform;

/// Name of a passed setting, its number on the wire, and the platform keys behind it.
const FIELDS: [(&str, i64, &[&str]); 6] = [
    ("RESOURCES", 1, &[]),
    (
        "ENV",
        2,
        &["secretAsEnv", "configMapAsEnv", "fieldPathAsEnv"],
    ),
    ("KUBERNETES_AFFINITY", 3, &["nodeAffinity", "podAffinity"]),
    ("KUBERNETES_TOLERATIONS", 4, &["tolerations"]),
    ("KUBERNETES_NODE_SELECTOR", 5, &["nodeSelector"]),
    (
        "KUBERNETES_VOLUMES",
        6,
        &[
            "pvcMount",
            "secretAsVolume",
            "configMapAsVolume",
            "emptyDirMounts",
            "genericEphemeralVolume",
            "enabledSharedMemory",
        ],
    ),
];

/// Fills the component's TASK_CONFIG input, and takes away what is passed on only.
pub fn pass_on(
    component: &Component,
    executor_input: &mut Value,
    platform: &mut Value,
    mut settings: LeafSettings,
) -> Result<LeafSettings, String> {
    let is_config = |(name, spec): (&String, &crate::ir::component::ParameterSpec)| {
        (spec.kind() == ParameterType::TaskConfig).then(|| name.clone())
    };
    let Some(input) = component
        .input_definitions
        .parameters
        .iter()
        .find_map(is_config)
    else {
        return Ok(settings);
    };
    let mut pod = json!({"metadata": {"labels": {}, "annotations": {}}, "spec": {"containers": [{"env": [], "volumeMounts": []}], "volumes": []}});
    apply_platform(&mut pod, platform)?;
    let main = &pod["spec"]["containers"][0];
    let plain = settings
        .env
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}));
    let env: Vec<Value> = plain
        .chain(main["env"].as_array().cloned().unwrap_or_default())
        .collect();
    let mut config = Map::new();
    for passthrough in &component.task_config_passthroughs {
        let known = FIELDS.iter().find(|(name, number, _)| {
            passthrough.field.as_str() == Some(name) || passthrough.field.as_i64() == Some(*number)
        });
        let Some((name, _, keys)) = known else {
            continue;
        };
        match *name {
            "RESOURCES" => {
                config.insert(
                    "resources".to_owned(),
                    json!({"limits": settings.limits, "requests": settings.requests}),
                );
            }
            "ENV" => {
                config.insert("env".to_owned(), env.clone().into());
            }
            "KUBERNETES_VOLUMES" => {
                config.insert("volumes".to_owned(), pod["spec"]["volumes"].clone());
                config.insert("volumeMounts".to_owned(), main["volumeMounts"].clone());
            }
            other => {
                let key = match other {
                    "KUBERNETES_AFFINITY" => "affinity",
                    "KUBERNETES_TOLERATIONS" => "tolerations",
                    _ => "nodeSelector",
                };
                if let Some(value) = pod["spec"].get(key) {
                    config.insert(key.to_owned(), value.clone());
                }
            }
        }
        if passthrough.apply_to_task {
            continue;
        }
        match *name {
            "RESOURCES" => {
                settings.limits.clear();
                settings.requests.clear();
            }
            "ENV" => settings.env.clear(),
            _ => {}
        }
        if let Some(platform) = platform.as_object_mut() {
            platform.retain(|key, _| !keys.contains(&key.as_str()));
        }
    }
    executor_input["inputs"]["parameterValues"][input] = config.into();
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_passed_on_is_in_the_parameter_and_not_on_the_pod() {
        let component: Component = serde_json::from_value(json!({
            "executorLabel": "e",
            "inputDefinitions": {"parameters": {"config": {"parameterType": "TASK_CONFIG", "isOptional": true}}},
            "taskConfigPassthroughs": [{"field": "RESOURCES"}, {"field": "KUBERNETES_TOLERATIONS", "applyToTask": true}, {"field": "KUBERNETES_VOLUMES"}],
        }))
        .unwrap();
        let mut input = json!({"inputs": {"parameterValues": {}}});
        let mut platform = json!({"tolerations": [{"key": "gpu"}], "pvcMount": [{"constant": "c", "mountPath": "/c"}], "nodeSelector": {"labels": {"a": "b"}}});
        let settings = LeafSettings {
            env: vec![("A".into(), "1".into())],
            limits: [("cpu".to_owned(), "2".to_owned())].into(),
            requests: [].into(),
        };
        let left = pass_on(&component, &mut input, &mut platform, settings).unwrap();
        let config = &input["inputs"]["parameterValues"]["config"];
        assert_eq!(config["resources"]["limits"]["cpu"], "2");
        assert_eq!(config["tolerations"], json!([{"key": "gpu"}]));
        assert_eq!(
            config["volumes"][0]["persistentVolumeClaim"]["claimName"],
            "c"
        );
        assert_eq!(config["volumeMounts"][0]["mountPath"], "/c");
        assert!(config.get("nodeSelector").is_none() && config.get("env").is_none());
        assert!(left.limits.is_empty() && left.env.len() == 1);
        assert_eq!(
            platform,
            json!({"tolerations": [{"key": "gpu"}], "nodeSelector": {"labels": {"a": "b"}}})
        );
    }
}
