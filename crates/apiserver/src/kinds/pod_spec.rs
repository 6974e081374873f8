//! Defaults of a pod's spec, wherever it stands: in a pod or in the template of a workload.
//! Mirrors Kubernetes v1.33 `pkg/apis/core/v1/defaults.go`.

use serde_json::{Value, json};

use super::fields::{
    Fields, at, at_or_new, canonical_amount, canonical_amounts, each, fill, fill_text, is_absent,
};

/// 0644, the mode of projected files.
const FILE_MODE: i64 = 0o644;

/// The three lists a pod's containers stand in.
pub(super) const CONTAINER_LISTS: [&str; 3] =
    ["initContainers", "containers", "ephemeralContainers"];

/// Fills the spec of a pod or of a template.
pub(super) fn default_pod_spec(spec: &mut Fields) {
    fill_text(spec, "dnsPolicy", "ClusterFirst");
    fill_text(spec, "restartPolicy", "Always");
    fill(spec, "securityContext", json!({}));
    fill(spec, "terminationGracePeriodSeconds", 30);
    if spec["terminationGracePeriodSeconds"]
        .as_i64()
        .is_some_and(|seconds| seconds < 0)
    {
        spec.insert("terminationGracePeriodSeconds".into(), 1.into());
    }
    fill_text(spec, "schedulerName", "default-scheduler");
    default_service_account(spec);
    for kind in CONTAINER_LISTS {
        each(spec, kind).for_each(default_container);
    }
    each(spec, "volumes").for_each(default_volume);
}

/// Fills the spec of the template that stands in the spec of a workload.
pub(super) fn default_template(workload_spec: &mut Fields) {
    let Some(template) = at(workload_spec, "template") else {
        return;
    };
    if let Some(spec) = at_or_new(template, "spec") {
        default_pod_spec(spec);
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`: both always say the same, the new one wins.
fn default_service_account(spec: &mut Fields) {
    let name = ["serviceAccountName", "serviceAccount"]
        .into_iter()
        .filter_map(|key| spec.get(key)?.as_str())
        .find(|name| !name.is_empty())
        .map(ToOwned::to_owned);
    if let Some(name) = name {
        spec.insert("serviceAccountName".into(), name.as_str().into());
        spec.insert("serviceAccount".into(), name.into());
    }
}

fn default_container(container: &mut Fields) {
    let image = container
        .get("image")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    fill_text(container, "imagePullPolicy", pull_policy(&image));
    if let Some(resources) = at_or_new(container, "resources") {
        canonical_amounts(resources, "limits");
        canonical_amounts(resources, "requests");
    }
    fill_text(container, "terminationMessagePath", "/dev/termination-log");
    fill_text(container, "terminationMessagePolicy", "File");
    for port in each(container, "ports") {
        fill_text(port, "protocol", "TCP");
    }
    for env in each(container, "env") {
        if let Some(reference) = at(env, "valueFrom").and_then(|from| at(from, "fieldRef")) {
            fill_text(reference, "apiVersion", "v1");
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = at(container, probe) {
            default_probe(probe);
        }
    }
    if let Some(lifecycle) = at(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(http) = at(lifecycle, hook).and_then(|hook| at(hook, "httpGet")) {
                default_http_get(http);
            }
        }
    }
}

/// An image without a tag, or with `latest`, may be another one tomorrow.
fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        None | Some((_, "latest")) => "Always",
        Some(_) => "IfNotPresent",
    }
}

fn default_probe(probe: &mut Fields) {
    fill_number(probe, "timeoutSeconds", 1);
    fill_number(probe, "periodSeconds", 10);
    fill_number(probe, "successThreshold", 1);
    fill_number(probe, "failureThreshold", 3);
    if let Some(http) = at(probe, "httpGet") {
        default_http_get(http);
    }
    if let Some(grpc) = at(probe, "grpc") {
        fill(grpc, "service", "");
    }
}

/// Plain numbers of Kubernetes know no difference between absent and zero.
fn fill_number(fields: &mut Fields, key: &str, value: i64) {
    if is_absent(fields, key) || fields[key] == 0 {
        fields.insert(key.into(), value.into());
    }
}

fn default_http_get(http: &mut Fields) {
    fill_text(http, "path", "/");
    fill_text(http, "scheme", "HTTP");
}

/// A volume that names no source is an empty folder.
fn default_volume(volume: &mut Fields) {
    let has_source = volume
        .iter()
        .any(|(key, value)| key != "name" && !value.is_null());
    if !has_source {
        volume.insert("emptyDir".into(), json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = at(volume, source) {
            fill(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(downward) = at(volume, "downwardAPI") {
        default_downward_items(downward);
    }
    if let Some(projected) = at(volume, "projected") {
        for source in each(projected, "sources") {
            if let Some(downward) = at(source, "downwardAPI") {
                default_downward_items(downward);
            }
            if let Some(token) = at(source, "serviceAccountToken") {
                fill(token, "expirationSeconds", 3600);
            }
        }
    }
    if let Some(limit) = at(volume, "emptyDir").and_then(|empty| empty.get_mut("sizeLimit")) {
        canonical_amount(limit);
    }
    if let Some(host_path) = at(volume, "hostPath") {
        fill(host_path, "type", "");
    }
    if let Some(claim) = at(volume, "ephemeral")
        .and_then(|ephemeral| at(ephemeral, "volumeClaimTemplate"))
        .and_then(|template| at(template, "spec"))
    {
        fill_text(claim, "volumeMode", "Filesystem");
    }
    if let Some(iscsi) = at(volume, "iscsi") {
        fill_text(iscsi, "iscsiInterface", "default");
    }
}

fn default_downward_items(downward: &mut Fields) {
    for item in each(downward, "items") {
        if let Some(reference) = at(item, "fieldRef") {
            fill_text(reference, "apiVersion", "v1");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaulted(mut spec: Value) -> Value {
        default_pod_spec(spec.as_object_mut().unwrap());
        spec
    }

    #[test]
    fn a_bare_container_gets_everything_kubectl_shows() {
        assert_eq!(
            defaulted(json!({"containers": [{"name": "a", "image": "busybox"}]})),
            json!({
                "containers": [{
                    "name": "a", "image": "busybox", "imagePullPolicy": "Always", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                }],
                "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                "securityContext": {}, "terminationGracePeriodSeconds": 30,
            })
        );
    }

    #[test]
    fn only_images_that_may_change_are_always_pulled() {
        for (image, policy) in [
            ("busybox", "Always"),
            ("busybox:latest", "Always"),
            ("busybox:1.36", "IfNotPresent"),
            ("localhost:5000/busybox", "Always"),
            ("localhost:5000/busybox:1", "IfNotPresent"),
            ("busybox@sha256:aa", "IfNotPresent"),
            ("busybox:latest@sha256:aa", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn probes_and_hooks_are_completed() {
        let spec = defaulted(json!({"containers": [{
            "name": "a", "image": "a:1",
            "ports": [{"containerPort": 80}],
            "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 0},
            "livenessProbe": {"grpc": {"port": 1}, "failureThreshold": 9},
            "lifecycle": {"preStop": {"httpGet": {"port": 80}}},
        }]}));
        let container = &spec["containers"][0];
        assert_eq!(container["ports"][0]["protocol"], "TCP");
        assert_eq!(
            container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"],
            "v1"
        );
        assert_eq!(
            container["readinessProbe"],
            json!({
                "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
                "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
            })
        );
        assert_eq!(container["livenessProbe"]["grpc"]["service"], "");
        assert_eq!(container["livenessProbe"]["failureThreshold"], 9);
        assert_eq!(container["lifecycle"]["preStop"]["httpGet"]["path"], "/");
    }

    #[test]
    fn volumes_get_their_modes_and_a_volume_without_source_is_an_empty_folder() {
        let spec = defaulted(json!({"containers": [], "volumes": [
            {"name": "a"},
            {"name": "b", "secret": {"secretName": "s"}},
            {"name": "c", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token"}},
                {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            ]}},
            {"name": "d", "hostPath": {"path": "/x"}},
            {"name": "e", "configMap": {"name": "c", "defaultMode": 256}},
        ]}));
        let volumes = &spec["volumes"];
        assert_eq!(volumes[0]["emptyDir"], json!({}));
        assert_eq!(volumes[1]["secret"]["defaultMode"], 420);
        let sources = &volumes[2]["projected"]["sources"];
        assert_eq!(sources[0]["serviceAccountToken"]["expirationSeconds"], 3600);
        assert_eq!(
            sources[1]["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"],
            "v1"
        );
        assert_eq!(volumes[3]["hostPath"]["type"], "");
        assert_eq!(volumes[4]["configMap"]["defaultMode"], 256);
    }

    #[test]
    fn both_names_of_the_service_account_agree() {
        let spec = defaulted(json!({"containers": [], "serviceAccount": "old"}));
        assert_eq!(spec["serviceAccountName"], "old");
        let spec = defaulted(
            json!({"containers": [], "serviceAccountName": "new", "serviceAccount": "old"}),
        );
        assert_eq!(spec["serviceAccount"], "new");
    }

    #[test]
    fn defaulting_twice_changes_nothing_and_odd_shapes_survive() {
        let once = defaulted(
            json!({"containers": [{"name": "a", "image": "a"}], "volumes": [{"name": "v"}]}),
        );
        assert_eq!(defaulted(once.clone()), once);
        let odd = json!({"containers": "no", "volumes": [1, null], "securityContext": 3, "initContainers": [{"ports": 1}]});
        defaulted(odd);
    }
}
