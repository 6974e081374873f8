//! A claim that names no class gets the default one; of several, the newest.

use objects::meta;

use super::{Operation, Review};
use crate::kinds::fields::{is_absent, spec};
use crate::lookup::Lookup;

const IS_DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
const OLD_IS_DEFAULT: &str = "storageclass.beta.kubernetes.io/is-default-class";
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

pub(super) fn admit(review: &mut Review<'_>, lookup: &dyn Lookup) {
    if !review.is(Operation::Create, "", "persistentvolumeclaims")
        || meta::annotation(review.object, OLD_CLASS).is_some()
    {
        return;
    }
    let Some(spec) = spec(review.object) else {
        return;
    };
    if !is_absent(spec, "storageClassName") {
        return;
    }
    let newest = lookup
        .list("storage.k8s.io", "storageclasses", "")
        .into_iter()
        .filter(|class| {
            [IS_DEFAULT, OLD_IS_DEFAULT]
                .iter()
                .any(|annotation| meta::annotation(class, annotation) == Some("true"))
        })
        // Of two made at the same second, the first by name, as upstream.
        .max_by_key(|class| {
            (
                meta::creation_timestamp(class)
                    .unwrap_or_default()
                    .to_owned(),
                std::cmp::Reverse(meta::name(class).to_owned()),
            )
        });
    if let Some(class) = newest {
        spec.insert("storageClassName".into(), meta::name(&class).into());
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_review::Write;
    use super::*;
    use crate::lookup::Fixed;
    use serde_json::{Value, json};

    fn class(name: &str, default: &str, made: &str) -> Value {
        json!({"metadata": {"name": name, "creationTimestamp": made, "annotations": {IS_DEFAULT: default}}})
    }

    fn admitted(spec: Value) -> Value {
        let classes = [
            class("older", "true", "2026-01-01T00:00:00Z"),
            class("newer", "true", "2026-01-02T00:00:00Z"),
            class("newest", "false", "2026-01-03T00:00:00Z"),
        ];
        let lookup = classes.into_iter().fold(Fixed::default(), |lookup, class| {
            lookup.with("storage.k8s.io", "storageclasses", class)
        });
        let claim = json!({"metadata": {"name": "c", "namespace": "dev"}, "spec": spec});
        let mut write = Write::create("", "persistentvolumeclaims", claim);
        write.pass(|review| admit(review, &lookup));
        write.object["spec"]["storageClassName"].clone()
    }

    #[test]
    fn a_claim_that_names_no_class_gets_the_newest_default() {
        assert_eq!(admitted(json!({})), "newer");
    }

    #[test]
    fn a_claim_that_wants_no_class_keeps_none() {
        assert_eq!(admitted(json!({"storageClassName": ""})), "");
    }
}
