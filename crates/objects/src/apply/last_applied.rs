//! The annotation that client-side `kubectl apply` leaves, and what it allows server-side apply to take over.

use serde_json::Value;

use super::compare::compare;
use super::owned::to_set;
use super::set::FieldSet;
use crate::meta;
use crate::schema::Schema;

/// The annotation with the configuration last applied from the client's side.
pub(super) const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The field manager that may take over what client-side apply left.
pub(super) const KUBECTL: &str = "kubectl";

/// Longest annotation that is written.
const MAX_BYTES: usize = meta::ANNOTATIONS_MAX_BYTES;

/// Fields that were applied from the client's side and have not changed since: no conflict for kubectl.
pub(super) fn unchanged_fields(schema: &Schema, live: &Value) -> FieldSet {
    let Some(text) = meta::annotation(live, ANNOTATION) else {
        return FieldSet::default();
    };
    let Ok(last) = serde_json::from_str::<Value>(text) else {
        return FieldSet::default();
    };
    if last.get("apiVersion") != live.get("apiVersion") {
        return FieldSet::default();
    }
    let changes = compare(schema, &last, live);
    to_set(schema, &last)
        .difference(&changes.modified)
        .difference(&changes.added)
        .difference(&changes.removed)
}

/// Keeps the annotation current on an object that has it, so that client-side apply can go on from here.
pub(super) fn refresh(object: &mut Value, applied: &Value) {
    if meta::annotation(object, ANNOTATION).is_none() {
        return;
    }
    let mut recorded = applied.clone();
    meta::remove(&mut recorded, "managedFields");
    if let Some(annotations) = recorded
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(ANNOTATION);
    }
    let text = format!("{recorded}\n");
    if text.len() <= MAX_BYTES {
        meta::annotations_mut(object).insert(ANNOTATION.to_owned(), text.into());
    }
}
