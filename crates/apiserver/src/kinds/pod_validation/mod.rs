//! What must be true of a pod's spec beyond its schema, in the words of Kubernetes v1.33
//! (`pkg/apis/core/validation/validation.go`). Used for pods and for the templates of workloads.

mod container;
mod probe;
mod resources;
mod scheduling;
mod volume;

use std::collections::HashSet;

use objects::{FieldError, names};
use serde_json::Value;

use super::fields::{is_empty, list, text};

pub(super) use resources::validate_resource_list;
pub(super) use volume::validate_claim_spec;

/// Which container a rule looks at: the three lists differ in a few rules.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Init,
    Main,
}

/// What is wrong with the spec of a pod at `path`.
pub(super) fn validate_pod_spec(spec: &Value, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let volumes = volume::validate_all(&spec["volumes"], &format!("{path}.volumes"), &mut errors);
    containers(spec, path, &volumes, &mut errors);
    enumerated(spec, path, &mut errors);
    dns(spec, path, &mut errors);
    numbers(spec, path, &mut errors);
    referenced_names(spec, path, &mut errors);
    scheduling::validate(spec, path, &mut errors);
    security(spec, path, &mut errors);
    errors
}

/// Rules about a pod's annotations and names that concern its spec.
pub(super) fn validate_pod_metadata(pod: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let host_name = &pod["spec"]["hostname"];
    for (field, value) in [
        ("spec.hostname", host_name),
        ("spec.subdomain", &pod["spec"]["subdomain"]),
    ] {
        if let Some(name) = value.as_str().filter(|name| !name.is_empty()) {
            invalid_all(names::dns_label(name), field, name, &mut errors);
        }
    }
    errors
}

fn containers(spec: &Value, path: &str, volumes: &HashSet<String>, errors: &mut Vec<FieldError>) {
    if is_empty(&spec["containers"]) {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let is_host_network = spec["hostNetwork"] == true;
    let mut seen = HashSet::new();
    let mut host_ports = HashSet::new();
    for (kind, place) in [("containers", Place::Main), ("initContainers", Place::Init)] {
        for (index, container) in list(&spec[kind]).enumerate() {
            let path = format!("{path}.{kind}[{index}]");
            let name = text(&container["name"]);
            if !name.is_empty() && !seen.insert(name.to_owned()) {
                errors.push(FieldError::duplicate(format!("{path}.name"), name));
            }
            container::validate(container, &path, place, volumes, is_host_network, errors);
            if place == Place::Main {
                container::host_port_conflicts(container, &path, &mut host_ports, errors);
            }
        }
    }
}

fn enumerated(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    one_of(
        &spec["restartPolicy"],
        &format!("{path}.restartPolicy"),
        &["Always", "OnFailure", "Never"],
        errors,
    );
    one_of(
        &spec["dnsPolicy"],
        &format!("{path}.dnsPolicy"),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        errors,
    );
    one_of(
        &spec["os"]["name"],
        &format!("{path}.os"),
        &["linux", "windows"],
        errors,
    );
    one_of(
        &spec["preemptionPolicy"],
        &format!("{path}.preemptionPolicy"),
        &["PreemptLowerPriority", "Never"],
        errors,
    );
}

fn dns(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let servers = list(&spec["dnsConfig"]["nameservers"]).count();
    let field = format!("{path}.dnsConfig.nameservers");
    if spec["dnsPolicy"] == "None" && is_empty(&spec["dnsConfig"]) {
        errors.push(FieldError::required(
            format!("{path}.dnsConfig"),
            "must provide `dnsConfig` when `dnsPolicy` is None",
        ));
    } else if spec["dnsPolicy"] == "None" && servers == 0 {
        errors.push(FieldError::required(
            field.clone(),
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        ));
    }
    if servers > 3 {
        errors.push(FieldError::invalid(
            field,
            spec["dnsConfig"]["nameservers"].clone(),
            "must not have more than 3 nameservers",
        ));
    }
    for (index, server) in list(&spec["dnsConfig"]["nameservers"]).enumerate() {
        validate_ip(
            text(server),
            &format!("{path}.dnsConfig.nameservers[{index}]"),
            errors,
        );
    }
    for (index, alias) in list(&spec["hostAliases"]).enumerate() {
        validate_ip(
            text(&alias["ip"]),
            &format!("{path}.hostAliases[{index}].ip"),
            errors,
        );
        for (at, name) in list(&alias["hostnames"]).enumerate() {
            let field = format!("{path}.hostAliases[{index}].hostnames[{at}]");
            invalid_all(names::dns_subdomain(text(name)), &field, text(name), errors);
        }
    }
}

fn numbers(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let grace = &spec["terminationGracePeriodSeconds"];
    if grace.as_i64().is_some_and(|seconds| seconds < 0) {
        let field = format!("{path}.terminationGracePeriodSeconds");
        errors.push(FieldError::invalid(field, grace.clone(), NOT_NEGATIVE));
    }
    let deadline = &spec["activeDeadlineSeconds"];
    let range = 1..=i64::from(i32::MAX);
    if deadline
        .as_i64()
        .is_some_and(|seconds| !range.contains(&seconds))
    {
        let field = format!("{path}.activeDeadlineSeconds");
        let detail = format!("must be between 1 and {}, inclusive", i32::MAX);
        errors.push(FieldError::invalid(field, deadline.clone(), detail));
    }
}

fn referenced_names(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for field in [
        "nodeName",
        "serviceAccountName",
        "priorityClassName",
        "runtimeClassName",
    ] {
        if let Some(name) = spec[field].as_str().filter(|name| !name.is_empty()) {
            invalid_all(
                names::dns_subdomain(name),
                &format!("{path}.{field}"),
                name,
                errors,
            );
        }
    }
    for (index, gate) in list(&spec["readinessGates"]).enumerate() {
        let condition = text(&gate["conditionType"]);
        let field = format!("{path}.readinessGates[{index}].conditionType");
        invalid_all(names::qualified_name(condition), &field, condition, errors);
    }
    let mut gates = HashSet::new();
    for (index, gate) in list(&spec["schedulingGates"]).enumerate() {
        let name = text(&gate["name"]);
        let field = format!("{path}.schedulingGates[{index}]");
        invalid_all(names::qualified_name(name), &field, name, errors);
        if !gates.insert(name) {
            errors.push(FieldError::duplicate(field, name));
        }
    }
    if !gates.is_empty() && !is_empty(&spec["nodeName"]) {
        errors.push(FieldError::forbidden(
            format!("{path}.nodeName"),
            "cannot be set until all schedulingGates have been cleared",
        ));
    }
}

fn security(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let context = &spec["securityContext"];
    let path = format!("{path}.securityContext");
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        validate_id(&context[field], &format!("{path}.{field}"), errors);
    }
    for (index, group) in list(&context["supplementalGroups"]).enumerate() {
        validate_id(
            group,
            &format!("{path}.supplementalGroups[{index}]"),
            errors,
        );
    }
    one_of(
        &context["fsGroupChangePolicy"],
        &format!("{path}.fsGroupChangePolicy"),
        &["Always", "OnRootMismatch"],
        errors,
    );
    validate_seccomp(
        &context["seccompProfile"],
        &format!("{path}.seccompProfile"),
        errors,
    );
    for (index, sysctl) in list(&context["sysctls"]).enumerate() {
        let name = text(&sysctl["name"]);
        if !is_sysctl(name) {
            errors.push(FieldError::invalid(
                format!("{path}.sysctls[{index}].name"),
                name,
                "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            ));
        }
    }
    if spec["hostPID"] == true && spec["shareProcessNamespace"] == true {
        errors.push(FieldError::invalid(
            format!("{path}.shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        ));
    }
}

/// Parts of lower-case letters, digits, `-` and `_` that begin and end with a letter or digit, between dots or slashes.
fn is_sysctl(name: &str) -> bool {
    let is_edge = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    name.len() <= 253
        && name.split(['.', '/']).all(|part| {
            let bytes = part.as_bytes();
            is_edge(bytes.first())
                && is_edge(bytes.last())
                && bytes
                    .iter()
                    .all(|byte| is_edge(Some(byte)) || matches!(byte, b'-' | b'_'))
        })
}

fn validate_seccomp(profile: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if !profile.is_object() {
        return;
    }
    let has_file = !is_empty(&profile["localhostProfile"]);
    let field = format!("{path}.localhostProfile");
    match text(&profile["type"]) {
        "" => errors.push(FieldError::required(
            format!("{path}.type"),
            "type is required when seccompProfile is set",
        )),
        "Localhost" if !has_file => {
            errors.push(FieldError::required(
                field,
                "must be set when seccomp type is Localhost",
            ));
        }
        "RuntimeDefault" | "Unconfined" if has_file => errors.push(FieldError::invalid(
            field,
            text(&profile["localhostProfile"]),
            "can only be set when seccomp type is Localhost",
        )),
        "Localhost" | "RuntimeDefault" | "Unconfined" => {}
        other => errors.push(FieldError::not_supported(
            format!("{path}.type"),
            other,
            &["Localhost", "RuntimeDefault", "Unconfined"],
        )),
    }
}

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

/// User and group ids are numbers of 31 bits.
fn validate_id(id: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let range = 0..=i64::from(i32::MAX);
    if id.as_i64().is_some_and(|id| !range.contains(&id)) {
        let detail = format!("must be between 0 and {}, inclusive", i32::MAX);
        errors.push(FieldError::invalid(field, id.clone(), detail));
    }
}

fn validate_ip(ip: &str, field: &str, errors: &mut Vec<FieldError>) {
    if ip.parse::<std::net::IpAddr>().is_err() {
        errors.push(FieldError::invalid(
            field,
            ip,
            "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ));
    }
}

/// A text that, where there is one, must be one of these.
fn one_of(value: &Value, field: &str, supported: &[&str], errors: &mut Vec<FieldError>) {
    if let Some(text) = value.as_str().filter(|text| !text.is_empty())
        && !supported.contains(&text)
    {
        errors.push(FieldError::not_supported(field, text, supported));
    }
}

fn invalid_all(details: Vec<String>, field: &str, value: &str, errors: &mut Vec<FieldError>) {
    errors.extend(
        details
            .into_iter()
            .map(|detail| FieldError::invalid(field, value, detail)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    pub(super) fn complaints(spec: Value) -> Vec<String> {
        let mut spec = spec;
        super::super::pod_spec::default_pod_spec(spec.as_object_mut().unwrap());
        validate_pod_spec(&spec, "spec")
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn container(extra: Value) -> Value {
        let mut container = json!({"name": "a", "image": "a:1"});
        container
            .as_object_mut()
            .unwrap()
            .append(&mut extra.as_object().unwrap().clone());
        container
    }

    /// What is wrong with a pod of one container that has this besides.
    fn of_container(extra: Value) -> Vec<String> {
        complaints(json!({"containers": [container(extra)]}))
    }

    #[test]
    fn an_ordinary_pod_is_fine() {
        let spec = json!({
            "containers": [container(json!({
                "ports": [{"name": "http", "containerPort": 80}],
                "env": [{"name": "A", "value": "b"}, {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "readinessProbe": {"httpGet": {"port": "http"}},
                "resources": {"limits": {"cpu": "1", "nvidia.com/gpu": 1}, "requests": {"cpu": "100m"}},
                "securityContext": {"runAsUser": 1000},
            }))],
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
            "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule"}],
        });
        assert_eq!(complaints(spec), Vec::<String>::new());
    }

    #[test]
    fn a_pod_needs_containers_and_each_a_name_and_an_image() {
        assert_eq!(
            complaints(json!({"containers": []})),
            ["spec.containers: Required value"]
        );
        assert_eq!(
            complaints(json!({"containers": [{}]})),
            [
                "spec.containers[0].name: Required value",
                "spec.containers[0].image: Required value",
            ]
        );
    }

    #[test]
    fn two_containers_may_not_share_a_name_even_across_lists() {
        let spec =
            json!({"containers": [container(json!({}))], "initContainers": [container(json!({}))]});
        assert_eq!(
            complaints(spec),
            [r#"spec.initContainers[0].name: Duplicate value: "a""#]
        );
    }

    #[test]
    fn a_mount_names_a_volume_and_a_path_of_its_own() {
        assert_eq!(
            of_container(json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]})),
            [r#"spec.containers[0].volumeMounts[0].name: Not found: "v""#]
        );
        let spec = json!({
            "volumes": [{"name": "v"}],
            "containers": [container(json!({"volumeMounts": [
                {"name": "v", "mountPath": "/v"},
                {"name": "v", "mountPath": "/v", "subPath": "../up"},
            ]}))],
        });
        assert_eq!(
            complaints(spec),
            [
                r#"spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/v": must be unique"#,
                r#"spec.containers[0].volumeMounts.subPath: Invalid value: "../up": must not contain '..'"#,
            ]
        );
    }

    #[test]
    fn ports_have_numbers_in_range_names_of_their_own_and_known_protocols() {
        assert_eq!(
            of_container(json!({"ports": [
                {"containerPort": 70000},
                {"containerPort": 80, "name": "a", "protocol": "ICMP"},
                {"containerPort": 81, "name": "a"},
                {"name": "b"},
            ]})),
            [
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
                r#"spec.containers[0].ports[1].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP""#,
                r#"spec.containers[0].ports[2].name: Duplicate value: "a""#,
                "spec.containers[0].ports[3].containerPort: Required value",
            ]
        );
    }

    #[test]
    fn a_variable_has_a_name_and_one_source() {
        assert_eq!(
            of_container(json!({"env": [
                {"value": "x"},
                {"name": "a=b"},
                {"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "B", "valueFrom": {}},
                {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "spec.containers"}}},
            ]})),
            [
                "spec.containers[0].env[0].name: Required value",
                r#"spec.containers[0].env[1].name: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than '='"#,
                r#"spec.containers[0].env[2].valueFrom: Invalid value: "": may not be specified when `value` is not empty"#,
                r#"spec.containers[0].env[3].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"#,
                r#"spec.containers[0].env[4].valueFrom.fieldRef.fieldPath: Invalid value: "spec.containers": error converting fieldPath: field label not supported: spec.containers"#,
            ]
        );
    }

    #[test]
    fn a_request_is_no_larger_than_its_limit_and_quantities_are_sensible() {
        assert_eq!(
            of_container(json!({"resources": {
                "limits": {"cpu": "1", "nvidia.com/gpu": "1.5", "colour": "1"},
                "requests": {"cpu": "2", "memory": "-1"},
            }})),
            [
                r#"spec.containers[0].resources.limits[colour]: Invalid value: "colour": must be a standard resource type or fully qualified"#,
                r#"spec.containers[0].resources.limits[colour]: Invalid value: "colour": must be a standard resource for containers"#,
                r#"spec.containers[0].resources.limits[nvidia.com/gpu]: Invalid value: "1500m": must be an integer"#,
                r#"spec.containers[0].resources.requests[cpu]: Invalid value: "2": must be less than or equal to cpu limit of 1"#,
                r#"spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0"#,
            ]
            .map(|text| text.replace("requests[cpu]", "requests"))
        );
    }

    #[test]
    fn a_probe_has_exactly_one_way_to_ask() {
        assert_eq!(
            of_container(json!({
                "livenessProbe": {"successThreshold": 2, "exec": {"command": ["true"]}},
                "readinessProbe": {},
                "startupProbe": {"exec": {"command": ["true"]}, "tcpSocket": {"port": 0}},
            })),
            [
                "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
                "spec.containers[0].readinessProbe: Required value: must specify a handler type",
                "spec.containers[0].startupProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
            ]
        );
    }

    #[test]
    fn only_restartable_init_containers_have_probes() {
        let init = |policy: Value| {
            json!({
                "containers": [container(json!({}))],
                "initContainers": [{"name": "i", "image": "i:1", "restartPolicy": policy, "livenessProbe": {"exec": {"command": ["true"]}}}],
            })
        };
        assert_eq!(
            complaints(init(Value::Null)),
            [
                "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"
            ]
        );
        assert_eq!(complaints(init(json!("Always"))), Vec::<String>::new());
    }

    #[test]
    fn a_volume_has_a_name_of_its_own_and_one_complete_source() {
        let spec = json!({"containers": [container(json!({}))], "volumes": [
            {"name": "A"},
            {"name": "b", "emptyDir": {}, "hostPath": {"path": "/x"}},
            {"name": "b", "secret": {}},
            {"name": "c", "configMap": {"name": "c", "defaultMode": 1000}},
            {"name": "d", "persistentVolumeClaim": {}},
        ]});
        assert_eq!(
            complaints(spec)
                .iter()
                .map(|text| text.split(": a lowercase").next().unwrap().to_owned())
                .collect::<Vec<_>>(),
            [
                r#"spec.volumes[0].name: Invalid value: "A""#,
                "spec.volumes[1].hostPath: Forbidden: may not specify more than 1 volume type",
                r#"spec.volumes[2].name: Duplicate value: "b""#,
                "spec.volumes[2].secret.secretName: Required value",
                "spec.volumes[3].configMap.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive",
                "spec.volumes[4].persistentVolumeClaim.claimName: Required value",
            ]
        );
    }

    #[test]
    fn unknown_policies_are_refused_with_the_known_ones() {
        let spec = json!({"restartPolicy": "Sometimes", "dnsPolicy": "None", "containers": [container(json!({}))]});
        assert_eq!(
            complaints(spec),
            [
                r#"spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never""#,
                "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
            ]
        );
    }

    #[test]
    fn tolerations_and_spread_constraints_are_checked() {
        let spec = json!({
            "containers": [container(json!({}))],
            "tolerations": [
                {"key": "a", "operator": "Exists", "value": "b"},
                {"operator": "Equal"},
                {"key": "a", "effect": "Never"},
            ],
            "topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "", "whenUnsatisfiable": "Cry"}],
        });
        assert_eq!(
            complaints(spec),
            [
                r#"spec.tolerations[0].operator: Invalid value: "b": value must be empty when `operator` is 'Exists'"#,
                r#"spec.tolerations[1].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys""#,
                r#"spec.tolerations[2].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute""#,
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
                "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
                r#"spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Cry": supported values: "DoNotSchedule", "ScheduleAnyway""#,
            ]
        );
    }
}
