//! The platform document's settings on a pod. Pure; unknown keys are left alone. Mirrors `KubernetesExecutorConfig` of
//! kfp-kubernetes 2.17.

use serde_json::{Map, Value, json};

use super::build::add_volume;

/// Applies resolved settings; the error is what the user reads about the failed step.
pub fn apply(pod: &mut Value, settings: &Value) -> Result<(), String> {
    if settings.is_null() {
        return Ok(());
    }
    environment(pod, settings);
    volumes(pod, settings)?;
    placement(pod, settings)?;
    let spec = &mut pod["spec"];
    if let Some(policy) = settings
        .get("imagePullPolicy")
        .and_then(Value::as_str)
        .filter(|policy| !policy.is_empty())
    {
        spec["containers"][0]["imagePullPolicy"] = policy.into();
    }
    let secrets: Vec<Value> = items(settings, "imagePullSecret")
        .filter_map(|secret| name_of(secret, "secretName"))
        .map(|name| json!({"name": name}))
        .collect();
    if !secrets.is_empty() {
        spec["imagePullSecrets"] = secrets.into();
    }
    if let Some(seconds) =
        number(settings.get("activeDeadlineSeconds")).filter(|seconds| *seconds > 0)
    {
        spec["activeDeadlineSeconds"] = seconds.into();
    }
    if let Some(context) = settings
        .get("securityContext")
        .and_then(Value::as_object)
        .filter(|context| !context.is_empty())
    {
        let mut allowed = Map::new();
        for key in ["runAsUser", "runAsGroup"] {
            allowed.extend(number(context.get(key)).map(|id| (key.to_owned(), id.into())));
        }
        allowed.extend(
            context
                .get("runAsNonRoot")
                .and_then(Value::as_bool)
                .map(|truth| ("runAsNonRoot".to_owned(), truth.into())),
        );
        spec["containers"][0]["securityContext"] = allowed.into();
    }
    for kind in ["labels", "annotations"] {
        let given = settings
            .get("podMetadata")
            .and_then(|metadata| metadata.get(kind))
            .and_then(Value::as_object);
        if let (Some(given), Some(present)) = (given, pod["metadata"][kind].as_object_mut()) {
            for (key, value) in given {
                // Ours win: the engine finds its pods by them.
                present.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    Ok(())
}

fn environment(pod: &mut Value, settings: &Value) {
    let mut variables = Vec::new();
    for (list, name_key, reference, key_key) in [
        ("secretAsEnv", "secretName", "secretKeyRef", "secretKey"),
        (
            "configMapAsEnv",
            "configMapName",
            "configMapKeyRef",
            "configMapKey",
        ),
    ] {
        for source in items(settings, list) {
            let Some(name) = name_of(source, name_key) else {
                continue;
            };
            for pair in items(source, "keyToEnv") {
                let (variable, key) = (text(pair, "envVar"), text(pair, key_key));
                variables.push(json!({"name": variable, "valueFrom": {reference: {"name": name, "key": key, "optional": is_optional(source)}}}));
            }
        }
    }
    for field in items(settings, "fieldPathAsEnv") {
        variables.push(json!({"name": text(field, "name"), "valueFrom": {"fieldRef": {"fieldPath": text(field, "fieldPath")}}}));
    }
    if let Some(all) = pod["spec"]["containers"][0]["env"].as_array_mut() {
        for variable in variables {
            all.retain(|known| known["name"] != variable["name"]);
            all.push(variable);
        }
    }
}

fn volumes(pod: &mut Value, settings: &Value) -> Result<(), String> {
    for (index, source) in items(settings, "secretAsVolume").enumerate() {
        let Some(name) = name_of(source, "secretName") else {
            continue;
        };
        let volume = json!({"name": format!("secret-{index}"), "secret": {"secretName": name, "optional": is_optional(source)}});
        add_volume(
            pod,
            volume,
            &[json!({"mountPath": text(source, "mountPath")})],
        );
    }
    for (index, source) in items(settings, "configMapAsVolume").enumerate() {
        let Some(name) = name_of(source, "configMapName") else {
            continue;
        };
        let volume = json!({"name": format!("config-map-{index}"), "configMap": {"name": name, "optional": is_optional(source)}});
        add_volume(
            pod,
            volume,
            &[json!({"mountPath": text(source, "mountPath")})],
        );
    }
    let mut claims: Vec<String> = Vec::new();
    for source in items(settings, "pvcMount") {
        let Some(name) = source
            .get("pvcNameParameter")
            .or_else(|| source.get("constant"))
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty())
        else {
            return Err(
                "a volume claim to mount has no name: the parameter that names it is empty"
                    .to_owned(),
            );
        };
        let index = claims
            .iter()
            .position(|known| known == name)
            .unwrap_or_else(|| {
                claims.push(name.to_owned());
                claims.len() - 1
            });
        let mut mount = json!({"mountPath": text(source, "mountPath")});
        let below = text(source, "subPath");
        if !below.is_empty() {
            mount["subPath"] = below.into();
        }
        add_volume(
            pod,
            json!({"name": format!("claim-{index}"), "persistentVolumeClaim": {"claimName": name}}),
            &[mount],
        );
    }
    for source in items(settings, "emptyDirMounts") {
        let mut folder = Map::new();
        for key in ["medium", "sizeLimit"] {
            let value = text(source, key);
            if !value.is_empty() {
                folder.insert(key.to_owned(), value.into());
            }
        }
        add_volume(
            pod,
            json!({"name": text(source, "volumeName"), "emptyDir": folder}),
            &[json!({"mountPath": text(source, "mountPath")})],
        );
    }
    if let Some(shared) = settings
        .get("enabledSharedMemory")
        .filter(|shared| shared.is_object())
    {
        let name = Some(text(shared, "volumeName"))
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "shm".to_owned());
        let mut folder = json!({"medium": "Memory"});
        if !text(shared, "size").is_empty() {
            folder["sizeLimit"] = text(shared, "size").into();
        }
        add_volume(
            pod,
            json!({"name": name, "emptyDir": folder}),
            &[json!({"mountPath": "/dev/shm"})],
        );
    }
    for source in items(settings, "genericEphemeralVolume") {
        let mut claim = json!({"accessModes": source.get("accessModes").cloned().unwrap_or_else(|| json!(["ReadWriteOnce"])), "resources": {"requests": {"storage": text(source, "size")}}});
        let class = text(source, "storageClassName");
        if !class.is_empty() {
            claim["storageClassName"] = class.into();
        }
        let template = json!({"metadata": source.get("metadata").cloned().unwrap_or_else(|| json!({})), "spec": claim});
        add_volume(
            pod,
            json!({"name": text(source, "volumeName"), "ephemeral": {"volumeClaimTemplate": template}}),
            &[json!({"mountPath": text(source, "mountPath")})],
        );
    }
    Ok(())
}

fn placement(pod: &mut Value, settings: &Value) -> Result<(), String> {
    let selector = settings.get("nodeSelector");
    let labels = selector
        .and_then(|selector| selector.get("nodeSelectorJson"))
        .filter(|labels| !labels.is_null())
        .or_else(|| selector.and_then(|selector| selector.get("labels")));
    if let Some(labels) = labels {
        let labels = structured(labels)?;
        if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
            pod["spec"]["nodeSelector"] = labels;
        }
    }
    let mut tolerations = Vec::new();
    for toleration in items(settings, "tolerations") {
        match toleration
            .get("tolerationJson")
            .map(structured)
            .transpose()?
        {
            Some(Value::Array(several)) => tolerations.extend(several),
            Some(Value::Null) => {}
            Some(one) => tolerations.push(one),
            None => {
                let mut plain = Map::new();
                for key in ["key", "operator", "value", "effect"] {
                    plain.extend(
                        Some(text(toleration, key))
                            .filter(|value| !value.is_empty())
                            .map(|value| (key.to_owned(), value.into())),
                    );
                }
                plain.extend(
                    number(toleration.get("tolerationSeconds"))
                        .map(|seconds| ("tolerationSeconds".to_owned(), seconds.into())),
                );
                tolerations.push(plain.into());
            }
        }
    }
    if !tolerations.is_empty() {
        pod["spec"]["tolerations"] = tolerations.into();
    }
    let mut affinity = Map::new();
    for term in items(settings, "nodeAffinity") {
        node_affinity(&mut affinity, term)?;
    }
    for term in items(settings, "podAffinity") {
        pod_affinity(&mut affinity, term);
    }
    if !affinity.is_empty() {
        pod["spec"]["affinity"] = affinity.into();
    }
    Ok(())
}

fn node_affinity(affinity: &mut Map<String, Value>, term: &Value) -> Result<(), String> {
    if let Some(given) = term
        .get("nodeAffinityJson")
        .filter(|given| !given.is_null())
    {
        affinity.insert("nodeAffinity".to_owned(), structured(given)?);
        return Ok(());
    }
    let mut wanted = Map::new();
    for key in ["matchExpressions", "matchFields"] {
        if let Some(list) = term
            .get(key)
            .filter(|list| list.as_array().is_some_and(|list| !list.is_empty()))
        {
            wanted.insert(key.to_owned(), list.clone());
        }
    }
    let node = affinity.entry("nodeAffinity").or_insert_with(|| json!({}));
    match number(term.get("weight")).filter(|weight| *weight > 0) {
        Some(weight) => push(
            node,
            "preferredDuringSchedulingIgnoredDuringExecution",
            json!({"weight": weight, "preference": wanted}),
        ),
        None => {
            if node
                .get("requiredDuringSchedulingIgnoredDuringExecution")
                .is_none()
            {
                node["requiredDuringSchedulingIgnoredDuringExecution"] =
                    json!({"nodeSelectorTerms": []});
            }
            push(
                &mut node["requiredDuringSchedulingIgnoredDuringExecution"],
                "nodeSelectorTerms",
                wanted.into(),
            );
        }
    }
    Ok(())
}

fn pod_affinity(affinity: &mut Map<String, Value>, term: &Value) {
    let mut wanted = json!({"topologyKey": text(term, "topologyKey"), "labelSelector": {}});
    for (from, to) in [
        ("matchPodExpressions", "matchExpressions"),
        ("matchPodLabels", "matchLabels"),
    ] {
        if let Some(given) = term.get(from) {
            wanted["labelSelector"][to] = given.clone();
        }
    }
    if let Some(namespaces) = term.get("namespaces") {
        wanted["namespaces"] = namespaces.clone();
    }
    if let Some(labels) = term.get("matchNamespaceLabels") {
        wanted["namespaceSelector"] = json!({"matchLabels": labels});
    }
    let kind = if term.get("anti").and_then(Value::as_bool) == Some(true) {
        "podAntiAffinity"
    } else {
        "podAffinity"
    };
    let group = affinity.entry(kind).or_insert_with(|| json!({}));
    match number(term.get("weight")).filter(|weight| *weight > 0) {
        Some(weight) => push(
            group,
            "preferredDuringSchedulingIgnoredDuringExecution",
            json!({"weight": weight, "podAffinityTerm": wanted}),
        ),
        None => push(
            group,
            "requiredDuringSchedulingIgnoredDuringExecution",
            wanted,
        ),
    }
}

fn push(object: &mut Value, key: &str, item: Value) {
    match object.get_mut(key).and_then(Value::as_array_mut) {
        Some(list) => list.push(item),
        None => object[key] = json!([item]),
    }
}

fn items<'a>(object: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    object
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// The name of a secret or config map: given by a resolved parameter, or plainly. An absent one skips the setting.
fn name_of(source: &Value, key: &str) -> Option<String> {
    let by_parameter = source.get(format!("{key}Parameter"));
    let name = match by_parameter {
        Some(Value::Null) => return None,
        Some(Value::String(name)) => name.clone(),
        _ => text(source, key),
    };
    (!name.is_empty()).then_some(name)
}

fn is_optional(source: &Value) -> bool {
    source
        .get("optional")
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

fn text(object: &Value, key: &str) -> String {
    object
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn number(value: Option<&Value>) -> Option<i64> {
    let value = value?;
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// Parameters of a structured type may arrive as JSON text.
fn structured(value: &Value) -> Result<Value, String> {
    match value {
        Value::String(text) => serde_json::from_str(text)
            .map_err(|problem| format!("a placement setting is not JSON: {problem}")),
        other => Ok(other.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::build::build;
    use crate::pods::build::tests::{step, target};

    fn pod(platform: Value) -> Value {
        let mut step = step();
        step.platform = platform;
        serde_json::to_value(build(&step, &target()).unwrap()).unwrap()
    }

    #[test]
    fn every_setting_of_the_platform_document_reaches_the_pod() {
        let pod = pod(json!({
            "secretAsEnv": [{"secretNameParameter": "creds", "secretName": "old", "keyToEnv": [{"secretKey": "k", "envVar": "E"}], "optional": true}],
            "configMapAsEnv": [{"configMapName": "cm", "keyToEnv": [{"configMapKey": "k", "envVar": "F"}]}],
            "secretAsVolume": [{"secretName": "s", "mountPath": "/s"}],
            "configMapAsVolume": [{"configMapName": "c", "mountPath": "/c", "optional": false}],
            "pvcMount": [{"pvcNameParameter": "claim", "mountPath": "/p"}, {"constant": "claim", "mountPath": "/q", "subPath": "x"}],
            "nodeSelector": {"labels": {"disk": "fast"}},
            "tolerations": [{"key": "gpu", "operator": "Exists"}, {"tolerationJson": [{"key": "a"}, {"key": "b"}]}],
            "podMetadata": {"labels": {"team": "a", "pipeline/runid": "forged"}, "annotations": {"n": "v"}},
            "imagePullSecret": [{"secretName": "pull"}],
            "imagePullPolicy": "Always",
            "fieldPathAsEnv": [{"name": "POD", "fieldPath": "metadata.name"}],
            "activeDeadlineSeconds": "600",
            "genericEphemeralVolume": [{"volumeName": "e", "mountPath": "/e", "accessModes": ["ReadWriteOnce"], "size": "1Gi", "defaultStorageClass": true}],
            "emptyDirMounts": [{"volumeName": "d", "mountPath": "/d", "medium": "Memory", "sizeLimit": "1Mi"}],
            "enabledSharedMemory": {"volumeName": "shm", "size": "64Mi"},
            "nodeAffinity": [{"matchExpressions": [{"key": "z", "operator": "In", "values": ["a"]}]}, {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}], "weight": 5}],
            "podAffinity": [{"matchPodLabels": {"app": "x"}, "topologyKey": "host", "anti": true}],
            "securityContext": {"runAsUser": "1000", "runAsNonRoot": true},
            "somethingNew": {"x": 1},
        }));
        insta::assert_json_snapshot!(pod["spec"]);
        assert_eq!(
            pod["metadata"]["labels"]["pipeline/runid"], "r1",
            "a user's label never hides a pod from the engine"
        );
        assert_eq!(pod["metadata"]["labels"]["team"], "a");
    }

    #[test]
    fn a_setting_whose_optional_parameter_is_absent_is_skipped() {
        let pod =
            pod(json!({"secretAsVolume": [{"secretNameParameter": null, "mountPath": "/s"}]}));
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        assert!(!volumes.iter().any(|volume| volume.get("secret").is_some()));
    }

    #[test]
    fn a_claim_without_a_name_fails_in_words() {
        let mut step = step();
        step.platform = json!({"pvcMount": [{"pvcNameParameter": null, "mountPath": "/p"}]});
        assert!(build(&step, &target()).unwrap_err().contains("has no name"));
    }
}
