//! Readers and writers of `metadata` on plain JSON objects.
//! They never fail: an absent or malformed part reads as absent. What may stand there is for validation to say.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::field::FieldError;
use crate::names;

fn text<'a>(object: &'a Value, field: &str) -> Option<&'a str> {
    object
        .get("metadata")?
        .get(field)?
        .as_str()
        .filter(|text| !text.is_empty())
}

/// `metadata.name`, or the empty string.
pub fn name(object: &Value) -> &str {
    text(object, "name").unwrap_or_default()
}

/// `metadata.namespace`, or the empty string.
pub fn namespace(object: &Value) -> &str {
    text(object, "namespace").unwrap_or_default()
}

/// `metadata.generateName`.
pub fn generate_name(object: &Value) -> Option<&str> {
    text(object, "generateName")
}

/// `metadata.uid`, or the empty string.
pub fn uid(object: &Value) -> &str {
    text(object, "uid").unwrap_or_default()
}

/// `metadata.resourceVersion`, or the empty string. Opaque to everybody but the store.
pub fn resource_version(object: &Value) -> &str {
    text(object, "resourceVersion").unwrap_or_default()
}

/// `metadata.generation`, or 0.
pub fn generation(object: &Value) -> i64 {
    object
        .get("metadata")
        .and_then(|meta| meta.get("generation"))
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

/// `metadata.creationTimestamp`.
pub fn creation_timestamp(object: &Value) -> Option<&str> {
    text(object, "creationTimestamp")
}

/// `metadata.deletionTimestamp`.
pub fn deletion_timestamp(object: &Value) -> Option<&str> {
    text(object, "deletionTimestamp")
}

/// Whether somebody asked for this object to be deleted.
pub fn is_being_deleted(object: &Value) -> bool {
    deletion_timestamp(object).is_some()
}

/// `metadata.deletionGracePeriodSeconds`.
pub fn deletion_grace_period_seconds(object: &Value) -> Option<i64> {
    object
        .get("metadata")?
        .get("deletionGracePeriodSeconds")?
        .as_i64()
}

/// `metadata.labels` as JSON.
pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata")?.get("labels")?.as_object()
}

/// One label.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    labels(object)?.get(key)?.as_str()
}

/// `metadata.annotations` as JSON.
pub fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata")?.get("annotations")?.as_object()
}

/// One annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    annotations(object)?.get(key)?.as_str()
}

/// The labels as owned text, for those who keep them.
pub fn owned_labels(object: &Value) -> BTreeMap<String, String> {
    let Some(labels) = labels(object) else {
        return BTreeMap::new();
    };
    labels
        .iter()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    list(object, "finalizers").iter().filter_map(Value::as_str)
}

/// Whether this finalizer holds the object.
pub fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    finalizers(object).any(|present| present == finalizer)
}

/// `metadata.managedFields` as JSON.
pub fn managed_fields(object: &Value) -> &[Value] {
    list(object, "managedFields")
}

/// Leaves out labels, annotations, owners and finalizers that hold nothing, as clients that read them expect.
pub fn omit_empty(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    metadata.retain(|field, value| match field.as_str() {
        "labels" | "annotations" => !value.as_object().is_some_and(Map::is_empty),
        "ownerReferences" | "finalizers" => !value.as_array().is_some_and(Vec::is_empty),
        _ => true,
    });
}

fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object
        .get("metadata")
        .and_then(|meta| meta.get(field))
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// One entry of `metadata.ownerReferences`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerReference<'a> {
    /// API version of the owner.
    pub api_version: &'a str,
    /// Kind of the owner.
    pub kind: &'a str,
    /// Name of the owner.
    pub name: &'a str,
    /// Uid of the owner.
    pub uid: &'a str,
    /// Whether this owner manages the object; at most one does.
    pub is_controller: bool,
    /// Whether foreground deletion of the owner waits for this object.
    pub blocks_owner_deletion: bool,
}

/// `metadata.ownerReferences`.
pub fn owner_references(object: &Value) -> impl Iterator<Item = OwnerReference<'_>> {
    list(object, "ownerReferences").iter().map(|entry| {
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        let flag = |field: &str| {
            entry
                .get(field)
                .and_then(Value::as_bool)
                .unwrap_or_default()
        };
        OwnerReference {
            api_version: text("apiVersion"),
            kind: text("kind"),
            name: text("name"),
            uid: text("uid"),
            is_controller: flag("controller"),
            blocks_owner_deletion: flag("blockOwnerDeletion"),
        }
    })
}

/// The owner that manages this object.
pub fn controller(object: &Value) -> Option<OwnerReference<'_>> {
    owner_references(object).find(|owner| owner.is_controller)
}

/// `metadata` as a map, made if absent or not a map. `object` must be a JSON object.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    child_map(object, "metadata")
}

/// `metadata.labels` as a map, made if absent.
pub fn labels_mut(object: &mut Value) -> &mut Map<String, Value> {
    entry_map(metadata_mut(object), "labels")
}

/// `metadata.annotations` as a map, made if absent.
pub fn annotations_mut(object: &mut Value) -> &mut Map<String, Value> {
    entry_map(metadata_mut(object), "annotations")
}

/// Sets a field of `metadata`.
pub fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    metadata_mut(object).insert(field.to_owned(), value.into());
}

/// Removes a field of `metadata` and hands it back.
pub fn remove(object: &mut Value, field: &str) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove(field)
}

/// Adds a finalizer unless it is there.
pub fn add_finalizer(object: &mut Value, finalizer: &str) {
    if !has_finalizer(object, finalizer) {
        let entry = metadata_mut(object)
            .entry("finalizers")
            .or_insert_with(|| Value::Array(Vec::new()));
        match entry {
            Value::Array(list) => list.push(finalizer.into()),
            other => *other = Value::Array(vec![finalizer.into()]),
        }
    }
}

/// Removes a finalizer, and the list with the last one.
pub fn remove_finalizer(object: &mut Value, finalizer: &str) {
    let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(Value::Array(list)) = meta.get_mut("finalizers") {
        list.retain(|present| present.as_str() != Some(finalizer));
        if list.is_empty() {
            meta.remove("finalizers");
        }
    }
}

fn child_map<'a>(object: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    entry_map(object.as_object_mut().expect("just made an object"), field)
}

fn entry_map<'a>(map: &'a mut Map<String, Value>, field: &str) -> &'a mut Map<String, Value> {
    let entry = map
        .entry(field)
        .or_insert_with(|| Value::Object(Map::new()));
    if !entry.is_object() {
        *entry = Value::Object(Map::new());
    }
    entry.as_object_mut().expect("just made an object")
}

/// Largest sum of keys and values of all annotations, in bytes.
pub const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;

/// What is wrong with the metadata every kind has. `check_name` decides what may name this kind.
pub fn validate(
    object: &Value,
    is_namespaced: bool,
    check_name: fn(&str) -> Vec<String>,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = name(object);
    if let Some(base) = generate_name(object) {
        let stem = base
            .strip_suffix('-')
            .filter(|stem| !stem.is_empty())
            .unwrap_or(base);
        for detail in check_name(stem) {
            errors.push(FieldError::invalid("metadata.generateName", base, detail));
        }
    }
    if name.is_empty() {
        errors.push(FieldError::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else {
        for detail in check_name(name) {
            errors.push(FieldError::invalid("metadata.name", name, detail));
        }
    }
    let namespace = namespace(object);
    match (is_namespaced, namespace.is_empty()) {
        (true, true) => errors.push(FieldError::required("metadata.namespace", "")),
        (true, false) => {
            for detail in names::dns_label(namespace) {
                errors.push(FieldError::invalid("metadata.namespace", namespace, detail));
            }
        }
        (false, false) => {
            errors.push(FieldError::forbidden(
                "metadata.namespace",
                "not allowed on this type",
            ));
        }
        (false, true) => {}
    }
    if generation(object) < 0 {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(
            "metadata.generation",
            generation(object),
            detail,
        ));
    }
    validate_labels(labels(object), "metadata.labels", &mut errors);
    validate_annotations(object, &mut errors);
    validate_owners(object, &mut errors);
    for finalizer in finalizers(object) {
        for detail in names::qualified_name(finalizer) {
            errors.push(FieldError::invalid(
                "metadata.finalizers",
                finalizer,
                detail,
            ));
        }
    }
    errors
}

/// What is wrong with a map of labels at `field`.
pub fn validate_labels(
    labels: Option<&Map<String, Value>>,
    field: &str,
    errors: &mut Vec<FieldError>,
) {
    for (key, value) in labels.into_iter().flatten() {
        for detail in names::qualified_name(key) {
            errors.push(FieldError::invalid(field, key.as_str(), detail));
        }
        if let Some(text) = value.as_str() {
            for detail in names::label_value(text) {
                errors.push(FieldError::invalid(field, text, detail));
            }
        }
    }
}

fn validate_annotations(object: &Value, errors: &mut Vec<FieldError>) {
    let mut bytes = 0;
    for (key, value) in annotations(object).into_iter().flatten() {
        for detail in names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(
                "metadata.annotations",
                key.as_str(),
                detail,
            ));
        }
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > ANNOTATIONS_MAX_BYTES {
        errors.push(FieldError::too_long(
            "metadata.annotations",
            ANNOTATIONS_MAX_BYTES,
        ));
    }
}

fn validate_owners(object: &Value, errors: &mut Vec<FieldError>) {
    let mut controllers = 0;
    for owner in owner_references(object) {
        let at = |field: &str| format!("metadata.ownerReferences.{field}");
        for (field, value, detail) in [
            ("apiVersion", owner.api_version, "version must not be empty"),
            ("kind", owner.kind, "kind must not be empty"),
            ("name", owner.name, "name must not be empty"),
            ("uid", owner.uid, "uid must not be empty"),
        ] {
            if value.is_empty() {
                errors.push(FieldError::invalid(at(field), value, detail));
            }
        }
        controllers += usize::from(owner.is_controller);
    }
    if controllers > 1 {
        let detail = "Only one reference can have Controller set to true.";
        let owners = Value::Array(list(object, "ownerReferences").to_vec());
        errors.push(FieldError::invalid(
            "metadata.ownerReferences",
            owners,
            detail,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Value {
        json!({"metadata": {
            "name": "p", "namespace": "ns", "uid": "u", "resourceVersion": "7", "generation": 2,
            "labels": {"app": "x"}, "annotations": {"a": "b"}, "finalizers": ["f.io/x"],
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "1", "controller": true}],
        }})
    }

    #[test]
    fn what_holds_nothing_is_left_out() {
        let mut object = json!({"metadata": {"name": "p", "labels": {}, "annotations": {"a": "b"}, "finalizers": [], "ownerReferences": []}});
        omit_empty(&mut object);
        assert_eq!(
            object,
            json!({"metadata": {"name": "p", "annotations": {"a": "b"}}})
        );
        let mut whole = pod();
        omit_empty(&mut whole);
        assert_eq!(whole, pod());
    }

    #[test]
    fn every_reader_reads_and_absent_parts_read_as_absent() {
        let pod = pod();
        assert_eq!(
            (
                name(&pod),
                namespace(&pod),
                uid(&pod),
                resource_version(&pod)
            ),
            ("p", "ns", "u", "7")
        );
        assert_eq!(
            (generation(&pod), label(&pod, "app"), annotation(&pod, "a")),
            (2, Some("x"), Some("b"))
        );
        assert_eq!(controller(&pod).map(|owner| owner.name), Some("r"));
        let empty = json!({"metadata": []});
        assert_eq!(
            (name(&empty), labels(&empty), finalizers(&empty).count()),
            ("", None, 0)
        );
    }

    #[test]
    fn a_finalizer_is_added_once_and_the_last_one_takes_the_list_with_it() {
        let mut object = json!({});
        add_finalizer(&mut object, "a.io/b");
        add_finalizer(&mut object, "a.io/b");
        assert_eq!(object, json!({"metadata": {"finalizers": ["a.io/b"]}}));
        remove_finalizer(&mut object, "a.io/b");
        assert_eq!(object, json!({"metadata": {}}));
    }

    #[test]
    fn bad_metadata_is_refused_field_by_field() {
        assert_eq!(validate(&pod(), true, names::dns_subdomain), vec![]);
        let bad = json!({"metadata": {
            "name": "P", "labels": {"-": "a b"}, "finalizers": ["/"],
            "ownerReferences": [{"kind": "A", "name": "a", "uid": "1", "apiVersion": "v1", "controller": true},
                                {"kind": "A", "name": "b", "uid": "", "apiVersion": "v1", "controller": true}],
        }});
        let fields: Vec<String> = validate(&bad, true, names::dns_subdomain)
            .into_iter()
            .map(|error| error.field)
            .collect();
        for field in [
            "metadata.name",
            "metadata.namespace",
            "metadata.labels",
            "metadata.finalizers",
            "metadata.ownerReferences",
        ] {
            assert!(
                fields.iter().any(|found| found == field),
                "{field} in {fields:?}"
            );
        }
        assert!(
            fields
                .iter()
                .any(|found| found == "metadata.ownerReferences.uid")
        );
    }
}
