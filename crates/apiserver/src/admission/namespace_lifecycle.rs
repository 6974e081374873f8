//! Nothing is made in a namespace that does not exist or is about to go, and some namespaces never go.

use objects::Status;
use objects::meta;
use objects::status::{StatusCause, StatusDetails};

use super::{Operation, Review};
use crate::lookup::Lookup;

const FOREVER: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) fn admit(review: &Review<'_>, lookup: &dyn Lookup) -> Result<(), Status> {
    if review.is(Operation::Delete, "", "namespaces") && FOREVER.contains(&review.name) {
        return Err(review.forbid("this namespace may not be deleted"));
    }
    if review.namespace.is_empty()
        || !matches!(review.operation, Operation::Create | Operation::Update)
    {
        return Ok(());
    }
    // A question about permissions may be asked about any namespace.
    if review.resource == "localsubjectaccessreviews" {
        return Ok(());
    }
    let Some(namespace) = lookup.get("", "namespaces", "", review.namespace) else {
        return Err(Status::not_found("", "namespaces", review.namespace));
    };
    let is_ending =
        meta::is_being_deleted(&namespace) || namespace["status"]["phase"] == "Terminating";
    if review.operation != Operation::Create || !is_ending {
        return Ok(());
    }
    let mut status = review.forbid(&format!(
        "unable to create new content in namespace {} because it is being terminated",
        review.namespace
    ));
    let details: &mut StatusDetails = status.details_mut();
    details.causes.push(StatusCause {
        reason: "NamespaceTerminating".into(),
        message: format!("namespace {} is being terminated", review.namespace),
        field: "metadata.namespace".into(),
    });
    Err(status)
}

#[cfg(test)]
mod tests {
    use super::super::test_review::Write;
    use super::*;
    use crate::lookup::Fixed;
    use serde_json::{Value, json};

    fn namespaces() -> Fixed {
        Fixed::default()
            .with(
                "",
                "namespaces",
                json!({"metadata": {"name": "dev"}, "status": {"phase": "Active"}}),
            )
            .with(
                "",
                "namespaces",
                json!({"metadata": {"name": "old", "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            )
    }

    fn pod(namespace: &str) -> Value {
        json!({"metadata": {"name": "p", "namespace": namespace}})
    }

    #[test]
    fn things_are_made_only_in_namespaces_that_are_there_to_stay() {
        let create = |namespace| {
            Write::create("", "pods", pod(namespace)).pass(|review| admit(review, &namespaces()))
        };
        assert!(create("dev").is_ok());
        assert_eq!(
            create("gone").unwrap_err().message,
            "namespaces \"gone\" not found"
        );
        let status = create("old").unwrap_err();
        assert_eq!(
            status.message,
            "pods \"p\" is forbidden: unable to create new content in namespace old because it is being terminated"
        );
        assert_eq!(
            status.details.unwrap().causes[0].reason,
            "NamespaceTerminating"
        );
    }

    #[test]
    fn what_is_in_an_ending_namespace_may_still_be_changed_and_deleted() {
        let old = pod("old");
        assert!(
            Write::update("", "pods", &old, old.clone())
                .pass(|review| admit(review, &namespaces()))
                .is_ok()
        );
    }

    #[test]
    fn the_namespaces_of_the_cluster_itself_are_never_deleted() {
        let delete = |name: &str| {
            let mut write = Write::create("", "namespaces", Value::Null);
            write.operation = Operation::Delete;
            write.old = Some(json!({"metadata": {"name": name}}));
            write.pass(|review| admit(review, &namespaces()))
        };
        assert!(delete("dev").is_ok());
        assert_eq!(
            delete("kube-system").unwrap_err().message,
            "namespaces \"kube-system\" is forbidden: this namespace may not be deleted"
        );
    }
}
