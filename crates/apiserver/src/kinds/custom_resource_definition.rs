//! CustomResourceDefinitions: their own fields. Their schemas are compiled, and so checked, by the registry.

use objects::{FieldError, names};
use serde_json::{Value, json};

use super::Strategy;
use super::fields::{at, each, fill, fill_text, is_empty, list, spec, text};
use super::workload::immutable;

pub(super) struct CustomResourceDefinition;

impl Strategy for CustomResourceDefinition {
    fn has_generation(&self) -> bool {
        true
    }

    fn default(&self, object: &mut Value) {
        let Some(spec) = spec(object) else { return };
        if let Some(names) = at(spec, "names") {
            let kind = names.get("kind").map(text).unwrap_or_default().to_owned();
            if !kind.is_empty() {
                fill_text(names, "singular", &kind.to_lowercase());
                fill_text(names, "listKind", &format!("{kind}List"));
            }
        }
        fill(spec, "conversion", json!({"strategy": "None"}));
        if let Some(service) = at(spec, "conversion")
            .and_then(|conversion| at(conversion, "webhook"))
            .and_then(|webhook| at(webhook, "clientConfig"))
            .and_then(|config| at(config, "service"))
        {
            fill(service, "port", 443);
        }
        for version in each(spec, "versions") {
            for flag in ["served", "storage"] {
                fill(version, flag, false);
            }
        }
        if spec.get("preserveUnknownFields") == Some(&json!(false)) {
            spec.remove("preserveUnknownFields");
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        let storage = list(&object["spec"]["versions"])
            .find(|version| version["storage"] == true)
            .map(|version| version["name"].clone());
        super::start_status(
            object,
            json!({
                "acceptedNames": {"kind": "", "plural": ""},
                "conditions": [],
                "storedVersions": storage.into_iter().collect::<Vec<_>>(),
            }),
        );
    }

    /// A version that stores objects is remembered until someone has rewritten them.
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        super::keep(object, old, "status");
        let storage = list(&object["spec"]["versions"])
            .find(|version| version["storage"] == true)
            .map(|version| version["name"].clone());
        if let (Some(storage), Some(stored)) = (
            storage,
            object
                .pointer_mut("/status/storedVersions")
                .and_then(Value::as_array_mut),
        ) && !stored.contains(&storage)
        {
            stored.push(storage);
        }
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let spec = &object["spec"];
        let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
        let name = objects::meta::name(object);
        if name != format!("{plural}.{group}") {
            errors.push(FieldError::invalid(
                "metadata.name",
                name,
                "must be spec.names.plural+\".\"+spec.group",
            ));
        }
        validate_group(group, object, &mut errors);
        let scopes = ["Cluster", "Namespaced"];
        match text(&spec["scope"]) {
            "" => errors.push(FieldError::required("spec.scope", "")),
            scope if !scopes.contains(&scope) => {
                errors.push(FieldError::not_supported("spec.scope", scope, &scopes));
            }
            _ => {}
        }
        validate_names(&spec["names"], &mut errors);
        validate_versions(spec, &mut errors);
        errors
    }

    fn validate_update(&self, object: &Value, old: &Value) -> Vec<FieldError> {
        let mut errors = self.validate_create(object);
        let is_established = list(&old["status"]["conditions"])
            .any(|condition| condition["type"] == "Established" && condition["status"] == "True");
        if is_established {
            for field in ["spec.scope", "spec.names.kind"] {
                immutable(object, old, field, &mut errors);
            }
        }
        for field in ["spec.group", "spec.names.plural"] {
            immutable(object, old, field, &mut errors);
        }
        for (index, stored) in list(&object["status"]["storedVersions"]).enumerate() {
            let is_there =
                list(&object["spec"]["versions"]).any(|version| version["name"] == *stored);
            if !is_there {
                errors.push(FieldError::invalid(
                    format!("status.storedVersions[{index}]"),
                    text(stored),
                    "must appear in spec.versions",
                ));
            }
        }
        errors
    }
}

fn validate_group(group: &str, object: &Value, errors: &mut Vec<FieldError>) {
    if group.is_empty() {
        errors.push(FieldError::required("spec.group", ""));
        return;
    }
    for detail in names::dns_subdomain(group) {
        errors.push(FieldError::invalid("spec.group", group, detail));
    }
    if !group.contains('.') {
        errors.push(FieldError::invalid(
            "spec.group",
            group,
            "should be a domain with at least one dot",
        ));
    }
    let is_protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group == *domain || group.ends_with(&format!(".{domain}")));
    let approval = "api-approved.kubernetes.io";
    if is_protected && is_empty(&object["metadata"]["annotations"][approval]) {
        errors.push(FieldError::required(
            format!("metadata.annotations[{approval}]"),
            "protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
        ));
    }
}

fn validate_names(names_of: &Value, errors: &mut Vec<FieldError>) {
    for field in ["plural", "singular", "kind", "listKind"] {
        let (value, path) = (text(&names_of[field]), format!("spec.names.{field}"));
        if value.is_empty() {
            errors.push(FieldError::required(path, ""));
            continue;
        }
        for detail in names::dns_label_1035(&value.to_lowercase()) {
            errors.push(FieldError::invalid(
                path.clone(),
                value,
                format!("may have mixed case, but should otherwise match: {detail}"),
            ));
        }
    }
    for field in ["shortNames", "categories"] {
        for (index, name) in list(&names_of[field]).enumerate() {
            for detail in names::dns_label_1035(text(name)) {
                let path = format!("spec.names.{field}[{index}]");
                errors.push(FieldError::invalid(path, text(name), detail));
            }
        }
    }
    if !is_empty(&names_of["kind"]) && names_of["kind"] == names_of["listKind"] {
        errors.push(FieldError::invalid(
            "spec.names.listKind",
            text(&names_of["listKind"]),
            "kind and listKind may not be the same",
        ));
    }
}

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];

fn validate_versions(spec: &Value, errors: &mut Vec<FieldError>) {
    let versions = &spec["versions"];
    if is_empty(versions) {
        errors.push(FieldError::invalid(
            "spec.versions",
            versions.clone(),
            "must have exactly one version marked as storage version",
        ));
        return;
    }
    let mut seen = std::collections::HashSet::new();
    for (index, version) in list(versions).enumerate() {
        let path = format!("spec.versions[{index}]");
        let name = text(&version["name"]);
        for detail in names::dns_label_1035(name) {
            errors.push(FieldError::invalid(format!("{path}.name"), name, detail));
        }
        if !seen.insert(name) {
            errors.push(FieldError::invalid(
                format!("{path}.name"),
                name,
                "must be unique",
            ));
        }
        if !version["schema"]["openAPIV3Schema"].is_object() {
            errors.push(FieldError::required(
                format!("{path}.schema.openAPIV3Schema"),
                "schemas are required",
            ));
        }
        for (at, column) in list(&version["additionalPrinterColumns"]).enumerate() {
            // What a definition says of its only version, it says of itself.
            let path = match list(versions).count() {
                1 => format!("spec.additionalPrinterColumns[{at}]"),
                _ => format!("{path}.additionalPrinterColumns[{at}]"),
            };
            for field in ["name", "type", "jsonPath"] {
                if is_empty(&column[field]) {
                    errors.push(FieldError::required(format!("{path}.{field}"), ""));
                }
            }
            let (kind, json_path) = (text(&column["type"]), text(&column["jsonPath"]));
            if !kind.is_empty() && !COLUMN_TYPES.contains(&kind) {
                errors.push(FieldError::invalid(
                    format!("{path}.type"),
                    kind,
                    format!("must be one of {}", COLUMN_TYPES.join(",")),
                ));
            }
            if !json_path.is_empty() && !json_path.starts_with('.') {
                errors.push(FieldError::invalid(
                    format!("{path}.JSONPath"),
                    json_path,
                    "must be a simple json path starting with .",
                ));
            }
        }
    }
    let storage = list(versions)
        .filter(|version| version["storage"] == true)
        .count();
    if storage != 1 {
        errors.push(FieldError::invalid(
            "spec.versions",
            versions.clone(),
            "must have exactly one version marked as storage version",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Value {
        let mut definition = json!({
            "metadata": {"name": "widgets.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
            },
        });
        CustomResourceDefinition.default(&mut definition);
        CustomResourceDefinition.prepare_create(&mut definition);
        definition
    }

    fn complaints(definition: &Value) -> Vec<String> {
        CustomResourceDefinition
            .validate_create(definition)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn names_follow_from_the_kind_and_the_storage_version_is_remembered() {
        let definition = definition();
        assert_eq!(definition["spec"]["names"]["singular"], "widget");
        assert_eq!(definition["spec"]["names"]["listKind"], "WidgetList");
        assert_eq!(
            definition["spec"]["conversion"],
            json!({"strategy": "None"})
        );
        assert_eq!(definition["status"]["storedVersions"], json!(["v1"]));
        assert_eq!(complaints(&definition), Vec::<String>::new());
    }

    #[test]
    fn a_definition_is_named_after_plural_and_group_and_stores_one_version() {
        let mut definition = definition();
        definition["metadata"]["name"] = json!("other");
        definition["spec"]["versions"][0]["storage"] = json!(false);
        let complaints = complaints(&definition);
        assert_eq!(
            complaints[0],
            r#"metadata.name: Invalid value: "other": must be spec.names.plural+"."+spec.group"#
        );
        assert!(complaints[1].ends_with("must have exactly one version marked as storage version"));
    }

    #[test]
    fn a_version_that_stored_objects_is_not_forgotten() {
        let old = definition();
        let mut new = old.clone();
        new["spec"]["versions"][0]["name"] = json!("v2");
        CustomResourceDefinition.prepare_update(&mut new, &old);
        assert_eq!(new["status"]["storedVersions"], json!(["v1", "v2"]));
        let errors = CustomResourceDefinition.validate_update(&new, &old);
        assert_eq!(
            errors[0].to_string(),
            r#"status.storedVersions[0]: Invalid value: "v1": must appear in spec.versions"#
        );
    }
}
