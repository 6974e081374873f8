//! One container: names, image, ports, variables, mounts.

use std::collections::HashSet;

use objects::{FieldError, names};
use serde_json::Value;

use super::super::fields::{is_empty, list, text};
use super::{Place, invalid_all, one_of, probe, resources, validate_id, validate_seccomp};

const FIELD_PATHS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// All fields of a pod that have a name here, wherever they may be used.
const KNOWN_PATHS: [&str; 14] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.phase",
    "status.podIP",
    "status.podIPs",
];

pub(super) fn validate(
    container: &Value,
    path: &str,
    place: Place,
    volumes: &HashSet<String>,
    is_host_network: bool,
    errors: &mut Vec<FieldError>,
) {
    required_name(&container["name"], &format!("{path}.name"), errors);
    image(&container["image"], &format!("{path}.image"), errors);
    one_of(
        &container["imagePullPolicy"],
        &format!("{path}.imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
        errors,
    );
    one_of(
        &container["terminationMessagePolicy"],
        &format!("{path}.terminationMessagePolicy"),
        &["File", "FallbackToLogsOnError"],
        errors,
    );
    ports(container, path, is_host_network, errors);
    env(&container["env"], &format!("{path}.env"), errors);
    env_from(&container["envFrom"], &format!("{path}.envFrom"), errors);
    mounts(container, path, volumes, errors);
    probe::validate_all(container, path, place, errors);
    resources::validate(
        &container["resources"],
        &format!("{path}.resources"),
        errors,
    );
    security(
        &container["securityContext"],
        &format!("{path}.securityContext"),
        errors,
    );
}

/// A name that must be given and be a DNS label.
pub(super) fn required_name(name: &Value, field: &str, errors: &mut Vec<FieldError>) {
    match text(name) {
        "" => errors.push(FieldError::required(field, "")),
        name => invalid_all(names::dns_label(name), field, name, errors),
    }
}

fn image(image: &Value, field: &str, errors: &mut Vec<FieldError>) {
    match text(image) {
        "" => errors.push(FieldError::required(field, "")),
        image if image.trim() != image => errors.push(FieldError::invalid(
            field,
            image,
            "must not have leading or trailing whitespace",
        )),
        _ => {}
    }
}

fn ports(container: &Value, path: &str, is_host_network: bool, errors: &mut Vec<FieldError>) {
    let mut seen = HashSet::new();
    for (index, port) in list(&container["ports"]).enumerate() {
        let path = format!("{path}.ports[{index}]");
        let name = text(&port["name"]);
        if !name.is_empty() {
            let field = format!("{path}.name");
            invalid_all(names::port_name(name), &field, name, errors);
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(field, name));
            }
        }
        let number = port["containerPort"].as_i64().unwrap_or_default();
        if number == 0 {
            errors.push(FieldError::required(format!("{path}.containerPort"), ""));
        } else {
            validate_port(number, &format!("{path}.containerPort"), errors);
        }
        let host_port = port["hostPort"].as_i64().unwrap_or_default();
        if host_port != 0 {
            let field = format!("{path}.hostPort");
            validate_port(host_port, &field, errors);
            if is_host_network && host_port != number {
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.push(FieldError::invalid(field, host_port, detail));
            }
        }
        one_of(
            &port["protocol"],
            &format!("{path}.protocol"),
            &["SCTP", "TCP", "UDP"],
            errors,
        );
    }
}

/// A number that can be a port.
pub(super) fn validate_port(number: i64, field: &str, errors: &mut Vec<FieldError>) {
    if !(1..=65535).contains(&number) {
        errors.push(FieldError::invalid(
            field,
            number,
            "must be between 1 and 65535, inclusive",
        ));
    }
}

/// Two containers of one pod cannot both have a port of the host.
pub(super) fn host_port_conflicts(
    container: &Value,
    path: &str,
    taken: &mut HashSet<String>,
    errors: &mut Vec<FieldError>,
) {
    for (index, port) in list(&container["ports"]).enumerate() {
        let Some(number) = port["hostPort"].as_i64().filter(|number| *number != 0) else {
            continue;
        };
        let key = format!(
            "{}/{}/{number}",
            text(&port["protocol"]),
            text(&port["hostIP"])
        );
        if !taken.insert(key.clone()) {
            errors.push(FieldError::duplicate(
                format!("{path}.ports[{index}].hostPort"),
                key,
            ));
        }
    }
}

fn env(env: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, variable) in list(env).enumerate() {
        let path = format!("{path}[{index}]");
        match text(&variable["name"]) {
            "" => errors.push(FieldError::required(format!("{path}.name"), "")),
            name => invalid_all(
                names::env_var_name(name),
                &format!("{path}.name"),
                name,
                errors,
            ),
        }
        if variable["valueFrom"].is_object() {
            env_source(variable, &format!("{path}.valueFrom"), errors);
        }
    }
}

fn env_source(variable: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let from = &variable["valueFrom"];
    let sources = [
        "fieldRef",
        "resourceFieldRef",
        "configMapKeyRef",
        "secretKeyRef",
    ]
    .iter()
    .filter(|source| !from[**source].is_null())
    .count();
    if sources == 0 {
        let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
        errors.push(FieldError::invalid(path, "", detail));
    } else if !is_empty(&variable["value"]) {
        errors.push(FieldError::invalid(
            path,
            "",
            "may not be specified when `value` is not empty",
        ));
    } else if sources > 1 {
        let detail = "may not have more than one field specified at a time";
        errors.push(FieldError::invalid(path, "", detail));
    }
    if from["fieldRef"].is_object() {
        field_path(
            &from["fieldRef"]["fieldPath"],
            &format!("{path}.fieldRef.fieldPath"),
            &FIELD_PATHS,
            errors,
        );
    }
    for source in ["configMapKeyRef", "secretKeyRef"] {
        if from[source].is_object() {
            let name = text(&from[source]["name"]);
            invalid_all(
                names::dns_subdomain(name),
                &format!("{path}.{source}.name"),
                name,
                errors,
            );
            let field = format!("{path}.{source}.key");
            match text(&from[source]["key"]) {
                "" => errors.push(FieldError::required(field, "")),
                key => invalid_all(names::config_key(key), &field, key, errors),
            }
        }
    }
    if from["resourceFieldRef"].is_object() && is_empty(&from["resourceFieldRef"]["resource"]) {
        let field = format!("{path}.resourceFieldRef.resource");
        errors.push(FieldError::required(field, ""));
    }
}

/// A field of the pod that may be read: one of `supported`, or one label or annotation.
pub(super) fn field_path(
    value: &Value,
    field: &str,
    supported: &[&str],
    errors: &mut Vec<FieldError>,
) {
    let path = text(value);
    let is_of_map = ["metadata.labels['", "metadata.annotations['"]
        .iter()
        .any(|prefix| path.starts_with(prefix) && path.ends_with("']"));
    if path.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else if is_of_map || supported.contains(&path) {
    } else if KNOWN_PATHS.contains(&path) {
        errors.push(FieldError::not_supported(field, path, supported));
    } else {
        let detail = format!("error converting fieldPath: field label not supported: {path}");
        errors.push(FieldError::invalid(field, path, detail));
    }
}

fn env_from(env: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, from) in list(env).enumerate() {
        let sources: Vec<&str> = ["configMapRef", "secretRef"]
            .into_iter()
            .filter(|source| !from[*source].is_null())
            .collect();
        match sources.as_slice() {
            [] => errors.push(FieldError::invalid(
                path,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            )),
            [source] if is_empty(&from[*source]["name"]) => {
                errors.push(FieldError::required(
                    format!("{path}[{index}].{source}.name"),
                    "",
                ));
            }
            [_] => {}
            _ => errors.push(FieldError::invalid(
                path,
                "",
                "may not have more than one field specified at a time",
            )),
        }
    }
}

fn mounts(container: &Value, path: &str, volumes: &HashSet<String>, errors: &mut Vec<FieldError>) {
    let mut paths = HashSet::new();
    let of_all = format!("{path}.volumeMounts");
    for (index, mount) in list(&container["volumeMounts"]).enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        if is_empty(&mount["name"]) {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        }
        match text(&mount["name"]) {
            name if !volumes.contains(name) => {
                errors.push(FieldError::not_found(format!("{path}.name"), name));
            }
            _ => {}
        }
        match text(&mount["mountPath"]) {
            "" => errors.push(FieldError::required(format!("{path}.mountPath"), "")),
            at if !paths.insert(at) => errors.push(FieldError::invalid(
                format!("{path}.mountPath"),
                at,
                "must be unique",
            )),
            _ => {}
        }
        // Of these, Kubernetes does not say in which mount they are.
        relative_path(&mount["subPath"], &format!("{of_all}.subPath"), errors);
        relative_path(
            &mount["subPathExpr"],
            &format!("{of_all}.subPathExpr"),
            errors,
        );
        one_of(
            &mount["mountPropagation"],
            &format!("{of_all}.mountPropagation"),
            &["Bidirectional", "HostToContainer", "None"],
            errors,
        );
        let is_recursive = matches!(text(&mount["recursiveReadOnly"]), "Enabled" | "IfPossible");
        if is_recursive && mount["readOnly"] != true {
            errors.push(FieldError::forbidden(
                format!("{of_all}.recursiveReadOnly"),
                "may only be specified when readOnly is true",
            ));
        }
        if !is_empty(&mount["subPath"]) && !is_empty(&mount["subPathExpr"]) {
            errors.push(FieldError::invalid(
                format!("{path}.subPathExpr"),
                text(&mount["subPathExpr"]),
                "subPathExpr and subPath are mutually exclusive",
            ));
        }
    }
    for (index, device) in list(&container["volumeDevices"]).enumerate() {
        let name = text(&device["name"]);
        if !volumes.contains(name) {
            errors.push(FieldError::not_found(
                format!("{path}.volumeDevices[{index}].name"),
                name,
            ));
        }
    }
}

/// A path that stays below where it starts.
pub(super) fn relative_path(value: &Value, field: &str, errors: &mut Vec<FieldError>) {
    let path = text(value);
    if path.starts_with('/') {
        errors.push(FieldError::invalid(field, path, "must be a relative path"));
    }
    if path.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(field, path, "must not contain '..'"));
    }
}

fn security(context: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for field in ["runAsUser", "runAsGroup"] {
        validate_id(&context[field], &format!("{path}.{field}"), errors);
    }
    validate_seccomp(
        &context["seccompProfile"],
        &format!("{path}.seccompProfile"),
        errors,
    );
    one_of(
        &context["procMount"],
        &format!("{path}.procMount"),
        &["Default", "Unmasked"],
        errors,
    );
    if context["privileged"] == true && context["allowPrivilegeEscalation"] == false {
        errors.push(FieldError::invalid(
            path,
            context.clone(),
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ));
    }
}
