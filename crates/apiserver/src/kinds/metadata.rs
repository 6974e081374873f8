//! Metadata rules of every kind: the words of validation, and what an update may not change.

use objects::{FieldError, meta};
use serde_json::Value;

use super::Strategy;

/// What is wrong with the metadata of a new object.
pub fn validate_metadata(
    strategy: &dyn Strategy,
    object: &Value,
    is_namespaced: bool,
) -> Vec<FieldError> {
    let mut errors = meta::validate(object, is_namespaced, |_| Vec::new());
    let base = meta::generate_name(object);
    if let Some(base) = base {
        let stem = base
            .strip_suffix('-')
            .filter(|stem| !stem.is_empty())
            .unwrap_or(base);
        for detail in strategy.check_name(stem) {
            errors.push(FieldError::invalid("metadata.generateName", base, detail));
        }
    }
    let name = meta::name(object);
    if !name.is_empty() {
        for detail in strategy.check_name(name) {
            errors.push(FieldError::invalid("metadata.name", name, detail));
        }
    }
    errors
}

/// Finalizers that need no domain, since Kubernetes itself knows them.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// New objects of built-in kinds are held by finalizers that say whose they are.
pub fn validate_finalizers(object: &Value) -> Vec<FieldError> {
    meta::finalizers(object)
        .enumerate()
        .filter(|(_, name)| !name.contains('/') && !STANDARD_FINALIZERS.contains(name))
        .map(|(index, name)| {
            FieldError::invalid(
                format!("metadata.finalizers[{index}]"),
                name,
                "name is neither a standard finalizer name nor is it fully qualified",
            )
        })
        .collect()
}

/// What is wrong with a change of metadata.
pub fn validate_metadata_update(
    strategy: &dyn Strategy,
    object: &Value,
    old: &Value,
    is_namespaced: bool,
) -> Vec<FieldError> {
    let mut errors = validate_metadata(strategy, object, is_namespaced);
    let (new_meta, old_meta) = (&object["metadata"], &old["metadata"]);
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        if new_meta[field] != old_meta[field] {
            errors.push(FieldError::invalid(
                format!("metadata.{field}"),
                new_meta[field].clone(),
                "field is immutable",
            ));
        }
    }
    if meta::is_being_deleted(old) {
        for finalizer in meta::finalizers(object).filter(|new| !meta::has_finalizer(old, new)) {
            errors.push(FieldError::forbidden(
                "metadata.finalizers",
                format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{:?}}}",
                    finalizer
                ),
            ));
        }
    }
    errors
}
