//! Resources that CRDs define: checked when the definition is written, served as soon as it is stored, gone after
//! their objects are.

use std::sync::{Arc, OnceLock};

use objects::schema::Schema;
use objects::{FieldError, meta};
use serde_json::{Value, json};

use super::resource::api_version;
use super::{Conversion, Origin, Registry, Resource, Scale, Subresource};
use crate::store::Collection;
use crate::table::{self, Columns};

/// Holds a deleted definition until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
/// The group of definitions.
pub const GROUP: &str = "apiextensions.k8s.io";

/// What one served version of a CRD adds to its record.
#[derive(Debug)]
pub struct Custom {
    /// Name of the CRD.
    pub definition: String,
    /// Its uid and generation, so that an unchanged one is not compiled again.
    pub state: (String, i64),
    /// The schema as published.
    pub openapi: Value,
    /// The definition is being deleted: no new objects.
    pub is_terminating: bool,
}

const VERBS: &[&str] = &[
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

fn is_definition(resource: &Resource) -> bool {
    resource.group == GROUP && resource.kind == "CustomResourceDefinition"
}

/// The records of a definition's served versions; those that `previous` already has for the same generation are kept.
pub fn resources(crd: &Value, collection: &Collection, previous: &Registry) -> Vec<Arc<Resource>> {
    let spec = &crd["spec"];
    let names = &crd["status"]["acceptedNames"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let state = (meta::uid(crd).to_owned(), meta::generation(crd));
    let group = text(&spec["group"]);
    let versions = spec["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let is_terminating = meta::is_being_deleted(crd);
    let storage = versions
        .iter()
        .find(|version| version["storage"] == true)
        .map(|version| text(&version["name"]));
    let Some(storage) = storage else {
        return Vec::new();
    };
    let plural = text(&names["plural"]);
    let kind = text(&names["kind"]);
    if plural.is_empty() || kind.is_empty() {
        return Vec::new();
    }
    versions
        .iter()
        .filter(|version| version["served"] == true)
        .filter_map(|version| {
            let name = text(&version["name"]);
            if let Some(known) = previous.find(&group, &name, &plural)
                && let Origin::Custom(custom) = &known.origin
                && custom.state == state
                && custom.is_terminating == is_terminating
            {
                return Some(known.clone());
            }
            let openapi = version["schema"]["openAPIV3Schema"].clone();
            let schema = match Schema::custom_resource(&openapi) {
                Ok(schema) => schema,
                Err(errors) => {
                    tracing::warn!(
                        crd = meta::name(crd),
                        version = name,
                        ?errors,
                        "schema cannot be served"
                    );
                    return None;
                }
            };
            let selectable = version["selectableFields"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|field| field["jsonPath"].as_str())
                .map(|path| path.trim_start_matches('.').to_owned())
                .collect();
            let deprecation = (version["deprecated"] == true).then(|| {
                version["deprecationWarning"].as_str().map_or_else(
                    || format!("{} {kind} is deprecated", api_version(&group, &name)),
                    str::to_owned,
                )
            });
            let list_kind = names["listKind"]
                .as_str()
                .map_or_else(|| format!("{kind}List"), str::to_owned);
            Some(Arc::new(Resource {
                group: group.clone(),
                kind: kind.clone(),
                list_kind,
                plural: plural.clone(),
                singular: names["singular"]
                    .as_str()
                    .map_or_else(|| kind.to_lowercase(), str::to_owned),
                short_names: texts(&names["shortNames"]),
                categories: texts(&names["categories"]),
                namespaced: spec["scope"] == "Namespaced",
                verbs: VERBS,
                subresources: subresources(version),
                collection: Some(collection.clone()),
                storage: api_version(&group, &storage),
                conversion: Conversion::ApiVersion,
                columns: columns(version),
                deprecation,
                origin: Origin::Custom(Arc::new(Custom {
                    definition: meta::name(crd).to_owned(),
                    state: state.clone(),
                    openapi,
                    is_terminating,
                })),
                selectable,
                caches_fields: name == storage,
                schema: OnceLock::from(Arc::new(schema)),
                blank: OnceLock::new(),
                stored_head: OnceLock::new(),
                version: name,
            }))
        })
        .collect()
}

fn subresources(version: &Value) -> Vec<Subresource> {
    let mut found = Vec::new();
    let declared = &version["subresources"];
    if declared["status"].is_object() {
        found.push(Subresource::Status);
    }
    if declared["scale"].is_object() {
        let path = |name: &str| {
            declared["scale"][name]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        found.push(Subresource::Scale(Scale {
            spec_replicas: path("specReplicasPath"),
            status_replicas: path("statusReplicasPath"),
            selector: declared["scale"]["labelSelectorPath"]
                .as_str()
                .map(str::to_owned),
        }));
    }
    found
}

fn columns(version: &Value) -> Columns {
    match version["additionalPrinterColumns"].as_array() {
        Some(columns) if !columns.is_empty() => {
            Columns::Custom(columns.iter().map(table::CustomColumn::of).collect())
        }
        _ => Columns::Default,
    }
}

/// What is wrong with a definition beyond its own schema: a structure we cannot serve, a name that is taken.
pub fn validate(
    resource: &Resource,
    crd: &Value,
    old: Option<&Value>,
    registry: &Registry,
) -> Vec<FieldError> {
    if !is_definition(resource) {
        return match &resource.origin {
            Origin::Custom(custom) if custom.is_terminating && old.is_none() => {
                vec![FieldError::forbidden(
                    "",
                    "create not allowed while custom resource definition is terminating",
                )]
            }
            _ => Vec::new(),
        };
    }
    let mut errors = Vec::new();
    let spec = &crd["spec"];
    let expected = format!(
        "{}.{}",
        spec["names"]["plural"].as_str().unwrap_or_default(),
        spec["group"].as_str().unwrap_or_default()
    );
    if meta::name(crd) != expected {
        errors.push(FieldError::invalid(
            "metadata.name",
            meta::name(crd),
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    let versions = spec["versions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if versions
        .iter()
        .filter(|version| version["storage"] == true)
        .count()
        != 1
    {
        errors.push(FieldError::invalid(
            "spec.versions",
            spec["versions"].clone(),
            "must have exactly one version marked as storage version",
        ));
    }
    for (index, version) in versions.iter().enumerate() {
        // What a definition says of its only version, it says of itself.
        let is_only = versions.len() == 1;
        let of_version = format!("spec.versions[{index}]");
        let path = match is_only {
            true => "spec.validation.openAPIV3Schema".to_owned(),
            false => format!("{of_version}.schema.openAPIV3Schema"),
        };
        let selectable = if is_only { "spec" } else { of_version.as_str() };
        let schema = &version["schema"]["openAPIV3Schema"];
        if old.is_some_and(|old| {
            old["spec"]["versions"][index]["schema"]["openAPIV3Schema"] == *schema
        }) {
            continue;
        }
        if schema.is_null() {
            let path = format!("{of_version}.schema.openAPIV3Schema");
            errors.push(FieldError::required(path, "schemas are required"));
        } else if let Err(found) = Schema::custom_resource(schema) {
            errors.extend(found.into_iter().map(|error| error.under(&path)));
        }
        errors.extend(unselectable(version, selectable));
    }
    let group = spec["group"].as_str().unwrap_or_default();
    let is_builtin = registry
        .all()
        .any(|known| known.group == group && matches!(known.origin, Origin::Builtin(_)));
    if is_builtin {
        errors.push(FieldError::forbidden(
            "spec.group",
            "is served by built-in kinds",
        ));
    }
    errors
}

/// The fields that selectors may name must be fields of the schema.
fn unselectable(version: &Value, path: &str) -> Vec<FieldError> {
    let schema = &version["schema"]["openAPIV3Schema"];
    let fields = version["selectableFields"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    if schema.is_null() && !fields.is_empty() {
        return vec![FieldError::invalid(
            format!("{path}.selectableFields"),
            "",
            "selectableFields may only be set when validations.schema is included",
        )];
    }
    let is_there = |field: &str| {
        field
            .trim_start_matches('.')
            .split('.')
            .try_fold(schema, |schema, step| schema.get("properties")?.get(step))
            .is_some()
    };
    fields
        .iter()
        .enumerate()
        .filter_map(|(index, field)| {
            let field = field["jsonPath"].as_str().unwrap_or_default();
            (!is_there(field)).then(|| {
                FieldError::invalid(
                    format!("{path}.selectableFields[{index}].jsonPath"),
                    field,
                    "is an invalid path: does not refer to a valid field",
                )
            })
        })
        .collect()
}

/// Fills in what the server knows about a definition: accepted names, conditions, stored versions.
pub fn complete(resource: &Resource, crd: &mut Value, registry: &Registry, time: &str) {
    if !is_definition(resource) || meta::is_being_deleted(crd) {
        return;
    }
    complete_names(crd);
    let own = meta::name(crd).to_owned();
    let group = crd["spec"]["group"].as_str().unwrap_or_default().to_owned();
    let kind = crd["spec"]["names"]["kind"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let taken = registry.all().any(|known| {
        known.group == group
            && known.kind == kind
            && !matches!(&known.origin, Origin::Custom(custom) if custom.definition == own)
    });
    let names = crd["spec"]["names"].clone();
    let storage = crd["spec"]["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|version| version["storage"] == true)
        .map(|version| version["name"].clone());
    let status = &mut crd["status"];
    if taken {
        let why = format!("{kind:?} is already in use");
        set_condition(status, "NamesAccepted", "False", "KindConflict", &why, time);
        set_condition(
            status,
            "Established",
            "False",
            "NotAccepted",
            "not all names are accepted",
            time,
        );
        if status["acceptedNames"].is_null() {
            status["acceptedNames"] = json!({"plural": "", "kind": ""});
        }
    } else {
        status["acceptedNames"] = names;
        set_condition(
            status,
            "NamesAccepted",
            "True",
            "NoConflicts",
            "no conflicts found",
            time,
        );
        set_condition(
            status,
            "Established",
            "True",
            "InitialNamesAccepted",
            "the initial names have been accepted",
            time,
        );
    }
    let Some(storage) = storage else { return };
    if !status["storedVersions"].is_array() {
        status["storedVersions"] = json!([]);
    }
    if let Some(stored) = status["storedVersions"].as_array_mut()
        && !stored.contains(&storage)
    {
        stored.push(storage);
    }
}

fn complete_names(crd: &mut Value) {
    let names = &mut crd["spec"]["names"];
    let Some(kind) = names["kind"].as_str().map(str::to_owned) else {
        return;
    };
    if names["singular"].as_str().is_none_or(str::is_empty) {
        names["singular"] = kind.to_lowercase().into();
    }
    if names["listKind"].as_str().is_none_or(str::is_empty) {
        names["listKind"] = format!("{kind}List").into();
    }
    if crd["spec"]["conversion"].is_null() {
        crd["spec"]["conversion"] = json!({"strategy": "None"});
    }
}

/// What a deletion puts on a definition.
pub fn mark_terminating(resource: &Resource, crd: &mut Value) {
    if !is_definition(resource) {
        return;
    }
    meta::add_finalizer(crd, CLEANUP);
    let time = crate::verbs::write::now();
    let why = "CustomResource deletion is pending";
    set_condition(
        &mut crd["status"],
        "Terminating",
        "True",
        "InstanceDeletionPending",
        why,
        &time,
    );
}

fn set_condition(
    status: &mut Value,
    kind: &str,
    value: &str,
    reason: &str,
    message: &str,
    time: &str,
) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(conditions) = status["conditions"].as_array_mut() else {
        return;
    };
    let fresh = json!({
        "type": kind, "status": value, "reason": reason, "message": message, "lastTransitionTime": time});
    match conditions
        .iter_mut()
        .find(|condition| condition["type"] == kind)
    {
        None => conditions.push(fresh),
        Some(known) if known["status"] != value => *known = fresh,
        Some(known) => {
            known["reason"] = reason.into();
            known["message"] = message.into();
        }
    }
}
