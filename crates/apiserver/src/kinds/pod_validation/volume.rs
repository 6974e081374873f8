//! Volumes: a name of its own and exactly one complete source each.

use std::collections::HashSet;

use objects::FieldError;
use objects::quantity::Quantity;
use serde_json::Value;

use super::super::fields::{is_empty, list, text};
use super::container::{field_path, relative_path, required_name};
use super::{invalid_all, one_of};

/// Checks all volumes of a pod; gives their names, which mounts may use.
pub(super) fn validate_all(
    volumes: &Value,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> HashSet<String> {
    let mut names = HashSet::new();
    for (index, volume) in list(volumes).enumerate() {
        let path = format!("{path}[{index}]");
        let field = format!("{path}.name");
        required_name(&volume["name"], &field, errors);
        let name = text(&volume["name"]);
        if !name.is_empty() && !names.insert(name.to_owned()) {
            errors.push(FieldError::duplicate(field, name));
        }
        source(volume, &path, errors);
    }
    names
}

fn source(volume: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let mut sources = volume
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, value)| *key != "name" && !value.is_null());
    let Some((kind, source)) = sources.next() else {
        errors.push(FieldError::required(path, "must specify a volume type"));
        return;
    };
    for (other, _) in sources {
        errors.push(FieldError::forbidden(
            format!("{path}.{other}"),
            "may not specify more than 1 volume type",
        ));
    }
    let path = format!("{path}.{kind}");
    let required = match kind.as_str() {
        "secret" => Some("secretName"),
        "configMap" => Some("name"),
        "hostPath" => Some("path"),
        "persistentVolumeClaim" => Some("claimName"),
        "csi" => Some("driver"),
        _ => None,
    };
    if let Some(key) = required.filter(|key| is_empty(&source[*key])) {
        errors.push(FieldError::required(format!("{path}.{key}"), ""));
    }
    match kind.as_str() {
        "secret" | "configMap" => {
            mode(
                &source["defaultMode"],
                &format!("{path}.defaultMode"),
                errors,
            );
            items(&source["items"], &format!("{path}.items"), errors);
        }
        "downwardAPI" => {
            mode(
                &source["defaultMode"],
                &format!("{path}.defaultMode"),
                errors,
            );
            downward(&source["items"], &path, errors);
        }
        "projected" => projected(source, &path, errors),
        "hostPath" => host_path(source, &path, errors),
        "emptyDir" => size_limit(&source["sizeLimit"], &format!("{path}.sizeLimit"), errors),
        "ephemeral" => {
            let path = format!("{path}.volumeClaimTemplate");
            if source["volumeClaimTemplate"].is_object() {
                validate_claim_spec(
                    &source["volumeClaimTemplate"]["spec"],
                    &format!("{path}.spec"),
                    errors,
                );
            } else {
                errors.push(FieldError::required(path, ""));
            }
        }
        _ => {}
    }
}

/// The spec of a claim: an access mode and a size.
pub(in super::super) fn validate_claim_spec(
    spec: &Value,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    let modes = format!("{path}.accessModes");
    if is_empty(&spec["accessModes"]) {
        errors.push(FieldError::required(
            modes.clone(),
            "at least 1 access mode is required",
        ));
    }
    for mode in list(&spec["accessModes"]) {
        one_of(
            mode,
            &modes,
            &[
                "ReadOnlyMany",
                "ReadWriteMany",
                "ReadWriteOnce",
                "ReadWriteOncePod",
            ],
            errors,
        );
    }
    if list(&spec["accessModes"]).count() > 1
        && list(&spec["accessModes"]).any(|mode| mode == "ReadWriteOncePod")
    {
        errors.push(FieldError::forbidden(
            modes,
            "may not use ReadWriteOncePod with other access modes",
        ));
    }
    let class = text(&spec["storageClassName"]);
    if !class.is_empty() {
        let details = objects::names::dns_subdomain(class);
        invalid_all(details, &format!("{path}.storageClassName"), class, errors);
    }
    let storage = &spec["resources"]["requests"]["storage"];
    let field = format!("{path}.resources[storage]");
    match Quantity::from_json(storage) {
        _ if storage.is_null() => errors.push(FieldError::required(field, "")),
        Ok(size) if size.signum() <= 0 => errors.push(FieldError::invalid(
            field,
            size.canonical(),
            "must be greater than zero",
        )),
        Ok(_) => {}
        Err(err) => errors.push(FieldError::invalid(field, storage.clone(), err.to_string())),
    }
    one_of(
        &spec["volumeMode"],
        &format!("{path}.volumeMode"),
        &["Block", "Filesystem"],
        errors,
    );
}

fn mode(value: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if value
        .as_i64()
        .is_some_and(|mode| !(0..=0o777).contains(&mode))
    {
        errors.push(FieldError::invalid(
            field,
            value.clone(),
            "must be a number between 0 and 0777 (octal), both inclusive",
        ));
    }
}

/// Files of a volume: each at a path of its own that stays inside.
fn items(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (index, item) in list(value).enumerate() {
        let path = format!("{path}[{index}]");
        if is_empty(&item["key"]) {
            errors.push(FieldError::required(format!("{path}.key"), ""));
        }
        if is_empty(&item["path"]) {
            errors.push(FieldError::required(format!("{path}.path"), ""));
        }
        relative_path(&item["path"], &format!("{path}.path"), errors);
        mode(&item["mode"], &format!("{path}.mode"), errors);
    }
}

/// Files that show fields of the pod; of their sources Kubernetes does not say which file's they are.
fn downward(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    const FIELD_PATHS: [&str; 5] = [
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
    ];
    for item in list(value) {
        if is_empty(&item["path"]) {
            errors.push(FieldError::required(format!("{path}.path"), ""));
        }
        relative_path(&item["path"], &format!("{path}.path"), errors);
        mode(&item["mode"], &format!("{path}.mode"), errors);
        match (
            item["fieldRef"].is_object(),
            item["resourceFieldRef"].is_object(),
        ) {
            (true, true) => errors.push(FieldError::invalid(
                path,
                "resource",
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            )),
            (false, false) => errors.push(FieldError::required(
                path,
                "one of fieldRef and resourceFieldRef is required",
            )),
            (true, false) => field_path(
                &item["fieldRef"]["fieldPath"],
                &format!("{path}.fieldRef.fieldPath"),
                &FIELD_PATHS,
                errors,
            ),
            (false, true) => {
                let reference = &item["resourceFieldRef"];
                for key in ["containerName", "resource"] {
                    if is_empty(&reference[key]) {
                        errors.push(FieldError::required(
                            format!("{path}.resourceFieldRef.{key}"),
                            "",
                        ));
                    }
                }
            }
        }
    }
}

fn projected(source: &Value, path: &str, errors: &mut Vec<FieldError>) {
    mode(
        &source["defaultMode"],
        &format!("{path}.defaultMode"),
        errors,
    );
    let of_all = path;
    for (index, source) in list(&source["sources"]).enumerate() {
        let path = format!("{path}.sources[{index}]");
        downward(
            &source["downwardAPI"]["items"],
            &format!("{path}.downwardAPI"),
            errors,
        );
        for kind in ["secret", "configMap"] {
            let part = &source[kind];
            if part.is_object() && is_empty(&part["name"]) {
                errors.push(FieldError::required(format!("{path}.{kind}.name"), ""));
            }
            items(&part["items"], &format!("{path}.{kind}.items"), errors);
        }
        let token = &source["serviceAccountToken"];
        if token.is_object() {
            let path = format!("{path}.serviceAccountToken");
            if token["expirationSeconds"]
                .as_i64()
                .is_some_and(|seconds| seconds < 600)
            {
                errors.push(FieldError::invalid(
                    format!("{path}.expirationSeconds"),
                    token["expirationSeconds"].clone(),
                    "may not specify a duration less than 10 minutes",
                ));
            }
            if is_empty(&token["path"]) {
                errors.push(FieldError::required(format!("{of_all}.path"), ""));
            }
            relative_path(&token["path"], &format!("{of_all}.path"), errors);
        }
    }
}

fn host_path(source: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let at = text(&source["path"]);
    if at.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(
            format!("{path}.path"),
            at,
            "must not contain '..'",
        ));
    }
    one_of(
        &source["type"],
        &format!("{path}.type"),
        &[
            "",
            "BlockDevice",
            "CharDevice",
            "Directory",
            "DirectoryOrCreate",
            "File",
            "FileOrCreate",
            "Socket",
        ],
        errors,
    );
}

fn size_limit(value: &Value, field: &str, errors: &mut Vec<FieldError>) {
    if value.is_null() {
        return;
    }
    match Quantity::from_json(value) {
        Ok(size) if size.signum() < 0 => {
            errors.push(FieldError::forbidden(
                field,
                "SizeLimit field must be a valid resource quantity",
            ));
        }
        Ok(_) => {}
        Err(err) => errors.push(FieldError::invalid(field, value.clone(), err.to_string())),
    }
}
