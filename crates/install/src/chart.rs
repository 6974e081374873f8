//! The Helm chart: the very objects that kustomize renders, with holes where `values.yaml` has a switch. Only what is
//! no object (values, their schema, notes, the test pod) is written by hand, below `manifests/chart`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{Error, kustomize, sources};

/// Name of the chart.
pub const NAME: &str = "kubeflow";
/// Name of our image in the manifests.
const IMAGE: &str = "ferroflow/kfctl";

/// A template expression in the place of a scalar.
const INLINE: char = '\u{1}';
/// A value of `values.yaml` in the place of a map or a list.
const BLOCK: char = '\u{2}';
/// The same, left out together with its key where it is empty.
const OPTIONAL: char = '\u{3}';

/// Every file of the chart, by its path below the chart's folder.
///
/// # Errors
/// [`Error::Render`] when a manifest that we ship cannot be rendered.
pub fn files(version: &str) -> Result<BTreeMap<String, String>, Error> {
    let mut files = BTreeMap::new();
    for path in sources::below("chart/") {
        let text = sources::read(&path).unwrap_or_default();
        files.insert(path["chart/".len()..].to_owned(), text);
    }
    files.insert("Chart.yaml".to_owned(), description(version));
    let mut objects = kustomize::render("kubeflow", &sources::read)?;
    objects.extend(kustomize::render("ingress", &sources::read)?);
    objects.extend(kustomize::render("local-provisioner", &sources::read)?);
    for object in objects {
        let kind = text(&object["kind"]);
        let name = text(&object["metadata"]["name"]);
        if kind == "Namespace" && name == NAME {
            // The release's own namespace: `--create-namespace` makes it.
            continue;
        }
        let component = text(&object["metadata"]["labels"]["app.kubernetes.io/component"]);
        let folder = match kind.as_str() {
            "Namespace" => "namespaces".to_owned(),
            _ => component.clone(),
        };
        let path = format!("templates/{folder}/{}-{name}.yaml", kind.to_lowercase());
        let document = template(&object, &kind, &component);
        // One name may be a Role's in two namespaces; nothing is lost where that happens.
        let file = files.entry(path).or_default();
        if !file.is_empty() {
            file.push_str("---\n");
        }
        file.push_str(&document);
    }
    Ok(files)
}

/// `Chart.yaml`.
fn description(version: &str) -> String {
    emit_document(&json!({
        "apiVersion": "v2",
        "name": NAME,
        "description": "A whole Kubeflow in one binary: pipelines and their console",
        "type": "application",
        "version": version,
        "appVersion": version,
        "kubeVersion": ">=1.28.0-0",
    }))
}

/// `index.yaml` of a chart repository with this one archive in it.
pub fn index(version: &str, archive: &[u8], created: &str) -> String {
    emit_document(&json!({
        "apiVersion": "v1",
        "entries": { NAME: [{
            "apiVersion": "v2",
            "name": NAME,
            "version": version,
            "appVersion": version,
            "created": created,
            "digest": format!("{:x}", Hex(&Sha256::digest(archive))),
            "urls": [format!("{NAME}-{version}.tgz")],
        }] },
        "generated": created,
    }))
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::LowerHex for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn template(object: &Value, kind: &str, component: &str) -> String {
    let mut object = object.clone();
    let values = format!(".Values.components.{component}");
    match kind {
        "Deployment" | "DaemonSet" => open_workload(&mut object, component, &values),
        "PersistentVolumeClaim" => open_claim(&mut object),
        "Ingress" => open_ingress(&mut object),
        _ => {}
    }
    let document = emit_document(&object);
    let condition = match kind {
        "Namespace" => return namespace(&object, component, &document),
        "Ingress" => format!("and {values}.enabled .Values.ingress.enabled"),
        "PersistentVolumeClaim" if object["metadata"]["name"] == ARTIFACTS => {
            format!("and {values}.enabled (empty {BUCKET})")
        }
        "NetworkPolicy" => format!("and {values}.enabled .Values.networkPolicies"),
        "PodDisruptionBudget" => format!("and {values}.enabled .Values.podDisruptionBudgets"),
        _ => format!("{values}.enabled"),
    };
    format!("{{{{- if {condition} }}}}\n{document}{{{{- end }}}}\n")
}

/// Made where it does not exist, kept where it does: it may be somebody else's, and outlives the release. One that this
/// release made stays part of it whatever is switched off, for Helm cannot roll back to an object that it kept.
fn namespace(object: &Value, component: &str, document: &str) -> String {
    let name = text(&object["metadata"]["name"]);
    let component = if component.is_empty() {
        "gateway"
    } else {
        component
    };
    format!(
        "{{{{- $there := lookup \"v1\" \"Namespace\" \"\" \"{name}\" }}}}\n\
         {{{{- $owner := \"\" }}}}\n\
         {{{{- if $there }}}}{{{{ $owner = dig \"metadata\" \"annotations\" \"meta.helm.sh/release-name\" \"\" $there }}}}{{{{ end }}}}\n\
         {{{{- if or (and .Values.components.{component}.enabled (not $there)) (eq $owner .Release.Name) }}}}\n\
         {document}{{{{- end }}}}\n"
    )
}

fn open_workload(object: &mut Value, component: &str, values: &str) {
    if component == "gateway" {
        object["spec"]["replicas"] = inline("{{ .Values.components.gateway.replicas }}");
    }
    if component == "pipelines" {
        open_database(object);
        open_object_store(object);
    }
    let pod = &mut object["spec"]["template"]["spec"];
    for (key, value) in [
        ("nodeSelector", "nodeSelector"),
        ("tolerations", "tolerations"),
        ("affinity", "affinity"),
    ] {
        pod[key] = optional(&format!("{values}.{value}"));
    }
    pod["imagePullSecrets"] = optional(".Values.image.pullSecrets");
    for container in pod["containers"].as_array_mut().into_iter().flatten() {
        if text(&container["image"]).split(':').next() == Some(IMAGE) {
            container["image"] = inline("{{ include \"kubeflow.image\" . | quote }}");
            container["imagePullPolicy"] = inline("{{ .Values.image.pullPolicy }}");
            container["resources"] = block(&format!("{values}.resources"));
        }
    }
}

/// The claim of artifacts, and the value that puts a bucket in its place.
const ARTIFACTS: &str = "ferroflow-artifacts";
const BUCKET: &str = ".Values.objectStore.secretName";

/// A file or a server. With a server there may be replicas, and no volume that ties them to a node.
fn open_database(object: &mut Value) {
    const SECRET: &str = ".Values.database.secretName";
    object["spec"]["replicas"] = inline("{{ include \"kubeflow.pipelines.replicas\" . }}");
    object["spec"]["strategy"]["type"] = inline(&format!(
        "{{{{ ternary \"Recreate\" \"RollingUpdate\" (empty {SECRET}) }}}}"
    ));
    let pod = &mut object["spec"]["template"]["spec"];
    open_secret(pod, "ferroflow-database", SECRET);
    for volume in pod["volumes"].as_array_mut().into_iter().flatten() {
        if volume["name"] == "data" {
            let claim = text(&volume["persistentVolumeClaim"]["claimName"]);
            volume["persistentVolumeClaim"] = optional(&format!(
                "(ternary (dict \"claimName\" \"{claim}\") (dict) (empty {SECRET}))"
            ));
            volume["emptyDir"] = optional(&format!(
                "(ternary (dict) (dict \"sizeLimit\" \"64Mi\") (empty {SECRET}))"
            ));
        }
    }
}

/// A volume or a bucket. With a bucket there is no claim of artifacts.
fn open_object_store(object: &mut Value) {
    let pod = &mut object["spec"]["template"]["spec"];
    open_secret(pod, "ferroflow-object-store", BUCKET);
    for volume in pod["volumes"].as_array_mut().into_iter().flatten() {
        if volume["name"] == "artifacts" {
            volume["persistentVolumeClaim"] = optional(&format!(
                "(ternary (dict \"claimName\" \"{ARTIFACTS}\") (dict) (empty {BUCKET}))"
            ));
            volume["emptyDir"] = optional(&format!(
                "(ternary (dict) (dict \"sizeLimit\" \"64Mi\") (empty {BUCKET}))"
            ));
        }
    }
}

/// Variables from a Secret: from the one that the values name, which must be there then. What is a matter of taste in it
/// stays so.
fn open_secret(pod: &mut Value, default: &str, value: &str) {
    for variable in pod["containers"][0]["env"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        let Some(secret) = variable.pointer_mut("/valueFrom/secretKeyRef") else {
            continue;
        };
        if secret["name"] != default {
            continue;
        }
        secret["name"] = inline(&format!("{{{{ {value} | default \"{default}\" }}}}"));
        if secret["key"] != "session-token" {
            secret["optional"] = inline(&format!("{{{{ empty {value} }}}}"));
        }
    }
}

fn open_claim(object: &mut Value) {
    let key = match text(&object["metadata"]["name"]).as_str() {
        ARTIFACTS => "artifacts",
        _ => "data",
    };
    let values = format!(".Values.persistence.{key}");
    object["spec"]["accessModes"] = block(&format!("{values}.accessModes"));
    object["spec"]["resources"]["requests"]["storage"] =
        inline(&format!("{{{{ {values}.size | quote }}}}"));
    object["spec"]["storageClassName"] = optional(".Values.persistence.storageClass");
}

fn open_ingress(object: &mut Value) {
    object["metadata"]["annotations"] = optional(".Values.ingress.annotations");
    object["spec"]["ingressClassName"] = optional(".Values.ingress.className");
    object["spec"]["rules"][0]["host"] = inline("{{ .Values.ingress.host | quote }}");
    object["spec"]["tls"] = optional(".Values.ingress.tls");
}

fn inline(expression: &str) -> Value {
    format!("{INLINE}{expression}").into()
}

fn block(value: &str) -> Value {
    format!("{BLOCK}{value}").into()
}

fn optional(value: &str) -> Value {
    format!("{OPTIONAL}{value}").into()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn emit_document(value: &Value) -> String {
    let mut out = String::new();
    emit_map(value, 0, &mut out);
    out
}

/// The entries of a map, each on lines of its own, indented by `depth`.
fn emit_map(value: &Value, depth: usize, out: &mut String) {
    for (key, value) in value.as_object().into_iter().flatten() {
        emit_entry(key, value, depth, out);
    }
}

fn emit_entry(key: &str, value: &Value, depth: usize, out: &mut String) {
    let pad = " ".repeat(depth);
    let below = depth + 2;
    if let Some(source) = value.as_str().and_then(|text| text.strip_prefix(OPTIONAL)) {
        out.push_str(&format!(
            "{pad}{{{{- with {source} }}}}\n{pad}{}:\n{{{{ toYaml . | indent {below} }}}}\n{pad}{{{{- end }}}}\n",
            scalar(key)
        ));
        return;
    }
    if let Some(source) = value.as_str().and_then(|text| text.strip_prefix(BLOCK)) {
        out.push_str(&format!(
            "{pad}{}:\n{{{{ toYaml {source} | indent {below} }}}}\n",
            scalar(key)
        ));
        return;
    }
    out.push_str(&format!("{pad}{}:", scalar(key)));
    emit_value(value, below, out);
}

/// What follows `key:` or `-`.
fn emit_value(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            emit_map(value, depth, out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            for item in items {
                emit_item(item, depth, out);
            }
        }
        Value::Object(_) => out.push_str(" {}\n"),
        Value::Array(_) => out.push_str(" []\n"),
        Value::String(text) => out.push_str(&format!(" {}\n", scalar(text))),
        other => out.push_str(&format!(" {other}\n")),
    }
}

fn emit_item(item: &Value, depth: usize, out: &mut String) {
    let pad = " ".repeat(depth);
    if item.as_object().is_some_and(|map| !map.is_empty()) {
        let mut inner = String::new();
        emit_map(item, depth + 2, &mut inner);
        // The first entry stands beside the dash.
        out.push_str(&format!("{pad}- {}", &inner[depth + 2..]));
    } else {
        out.push_str(&format!("{pad}-"));
        emit_value(item, depth + 2, out);
    }
}

/// A string as YAML: plain where nobody can misread it, else in JSON's quotes. Template expressions stand as they are.
fn scalar(text: &str) -> String {
    if let Some(expression) = text.strip_prefix(INLINE) {
        return expression.to_owned();
    }
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
            .contains(&text.to_ascii_lowercase().as_str());
    if is_plain {
        text.to_owned()
    } else {
        // Braces would be read as a template's.
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_without_holes_reads_as_what_it_was() {
        let object = json!({
            "kind": "X", "empty": {}, "none": [], "n": 3, "flag": true, "text": "yes", "number": "1",
            "list": [{"a": {"b": ["c", {"d": "e: f"}]}, "z": "0.5"}, [], "plain"],
            "app.kubernetes.io/part-of": "kubeflow", "*": "#",
        });
        let text = emit_document(&object);
        assert_eq!(
            objects::yaml::parse(&text).expect("valid YAML"),
            object,
            "{text}"
        );
    }

    #[test]
    fn every_switchable_object_is_behind_its_switch() {
        let files = files("9.9.9").expect("what we ship can be rendered");
        for (path, text) in &files {
            if path.starts_with("templates/")
                && path.ends_with(".yaml")
                && !path.contains("/tests/")
            {
                assert!(text.starts_with("{{- "), "{path}");
                assert!(!text.contains(IMAGE), "{path} names the image by itself");
            }
        }
        assert!(files["Chart.yaml"].contains("9.9.9"));
        assert!(
            files.contains_key("values.schema.json") && files.contains_key("templates/NOTES.txt")
        );
    }
}
