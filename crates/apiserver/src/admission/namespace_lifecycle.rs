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
