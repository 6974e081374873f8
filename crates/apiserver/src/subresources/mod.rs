//! What hangs below objects: views of one object (`status`, `scale`, …), actions (`binding`, `eviction`, `token`) and
//! streams (`log`, `exec`, `proxy`, …).

mod actions;
mod scale;
mod views;

use axum::extract::Request;
use http::StatusCode;
use serde_json::Value;

use crate::error::ApiError;
use crate::registry::{Resource, Subresource};
use crate::verbs::{self, Call, Reply};
use crate::{reviews, streaming};

pub use views::restrict;

/// Whether a subresource takes the request itself: its body is not an object and its answer may be endless.
pub fn is_stream(resource: &Resource, subresource: &str) -> bool {
    resource.group.is_empty()
        && matches!(
            subresource,
            "log" | "exec" | "attach" | "portforward" | "proxy"
        )
}

/// Runs a streaming subresource.
pub async fn stream(call: &Call, rest: &str, request: Request) -> Result<Reply, ApiError> {
    match (call.resource.kind.as_str(), call.subresource.as_str()) {
        ("Pod", "log") => streaming::log::run(call, request).await,
        ("Pod", "exec" | "attach" | "portforward") => streaming::exec::run(call, request).await,
        (_, "proxy") => streaming::proxy::run(call, rest, request).await,
        _ => Err(ApiError::no_such_resource()),
    }
}

/// Runs any other subresource.
pub async fn run(call: &Call) -> Result<Reply, ApiError> {
    match call.resource.subresource(&call.subresource) {
        Some(Subresource::Scale(scale)) => scale::run(call, scale).await,
        Some(Subresource::Named {
            name: "binding", ..
        }) => actions::bind(call).await,
        Some(Subresource::Named {
            name: "eviction", ..
        }) => actions::evict(call).await,
        Some(Subresource::Named { name: "token", .. }) => actions::token(call).await,
        // `status`, `finalize`, `approval`, `ephemeralcontainers` and `resize` are views: the same verbs on a part.
        Some(_) => verbs::run(call).await,
        None => Err(ApiError::no_such_resource()),
    }
}

/// Answers a kind that is not stored: the reviews, and the old `bindings` collection.
pub async fn review(call: &Call) -> Result<Reply, ApiError> {
    let object = verbs::write::accept(call, call.decode()?)?;
    if call.resource.kind == "Binding" {
        return actions::bind_object(call, objects::meta::name(&object).to_owned(), &object).await;
    }
    let (authorizer, user) = (&call.api.authorizer, &call.user);
    let answer: Value = match call.resource.kind.as_str() {
        "TokenReview" => reviews::token_review(&call.api.authenticator, &object)?,
        "SelfSubjectReview" => reviews::self_subject_review(user, &object),
        "SubjectAccessReview" => reviews::subject_access_review(authorizer, &object)?,
        "LocalSubjectAccessReview" => {
            reviews::local_subject_access_review(authorizer, &call.namespace, &object)?
        }
        "SelfSubjectAccessReview" => {
            reviews::self_subject_access_review(authorizer, user, &object)?
        }
        "SelfSubjectRulesReview" => reviews::self_subject_rules_review(authorizer, user, &object)?,
        _ => return Err(ApiError::no_such_resource()),
    };
    Ok(Reply::Value(StatusCode::CREATED, answer))
}
