//! Namespaces. Their end is the namespace controller's; the finalizer here makes it wait for that.

use objects::{FieldError, meta, names};
use serde_json::{Value, json};

use super::fields::{at_or_new, is_absent};
use super::{Strategy, keep, start_status};

/// The label that selectors find a namespace by; always its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub(super) struct Namespace;

impl Strategy for Namespace {
    fn check_name(&self, name: &str) -> Vec<String> {
        names::dns_label(name)
    }

    fn default(&self, object: &mut Value) {
        let name = meta::name(object).to_owned();
        if !name.is_empty() {
            meta::labels_mut(object).insert(NAME_LABEL.into(), name.into());
        }
    }

    fn prepare_create(&self, object: &mut Value) {
        self.default(object);
        start_status(object, json!({"phase": "Active"}));
        let Some(spec) = object
            .as_object_mut()
            .and_then(|fields| at_or_new(fields, "spec"))
        else {
            return;
        };
        if is_absent(spec, "finalizers") {
            spec.insert("finalizers".into(), json!([]));
        }
        if let Some(finalizers) = spec.get_mut("finalizers").and_then(Value::as_array_mut)
            && !finalizers.iter().any(|finalizer| finalizer == "kubernetes")
        {
            finalizers.push("kubernetes".into());
        }
    }

    /// Finalizers of a namespace change only through its `finalize` subresource.
    fn prepare_update(&self, object: &mut Value, old: &Value) {
        keep(object, old, "status");
        keep(object, old, "spec");
    }

    fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for finalizer in super::fields::list(&object["spec"]["finalizers"]) {
            let name = super::fields::text(finalizer);
            for detail in names::qualified_name(name) {
                errors.push(FieldError::invalid("spec.finalizers", name, detail));
            }
            if !name.contains('/') && name != "kubernetes" {
                errors.push(FieldError::invalid(
                    "spec.finalizers",
                    name,
                    "name is neither a standard finalizer name nor is it fully qualified",
                ));
            }
        }
        errors
    }

    fn selectable_field_names(&self) -> &'static [&'static str] {
        &["status.phase"]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_namespace_is_active_carries_its_name_and_waits_for_its_end() {
        let mut namespace = json!({"metadata": {"name": "a"}, "status": {"phase": "Terminating"}});
        Namespace.prepare_create(&mut namespace);
        assert_eq!(
            namespace,
            json!({
                "metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "a"}},
                "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
            })
        );
    }

    #[test]
    fn an_update_changes_neither_the_finalizers_nor_the_name_label() {
        let mut old = json!({"metadata": {"name": "a"}});
        Namespace.prepare_create(&mut old);
        let mut new = json!({"metadata": {"name": "a", "labels": {"kubernetes.io/metadata.name": "b"}}, "spec": {}});
        Namespace.default(&mut new);
        Namespace.prepare_update(&mut new, &old);
        assert_eq!(new, old);
    }
}
