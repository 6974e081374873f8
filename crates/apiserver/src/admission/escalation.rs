//! Writes of roles and bindings: nobody hands out what they do not have.

use objects::Status;

use super::{Operation, Review};
use crate::authz::escalation::{Write, check};
use crate::authz::{Authorizer, RBAC_GROUP};
use crate::lookup::Lookup;

pub(super) fn validate(
    review: &Review<'_>,
    lookup: &dyn Lookup,
    authorizer: &Authorizer,
) -> Result<(), Status> {
    let is_write = matches!(review.operation, Operation::Create | Operation::Update);
    if review.group != RBAC_GROUP || !is_write || !review.subresource.is_empty() {
        return Ok(());
    }
    let name = if review.name.is_empty() {
        objects::meta::name(review.object)
    } else {
        review.name
    };
    check(
        authorizer,
        lookup,
        review.user,
        &Write {
            resource: review.resource,
            namespace: review.namespace,
            name,
            object: review.object,
            old: review.old,
        },
    )
}
