//! The `Status` object: every error the API answers with, word for word what clients match on.
//! Mirrors `k8s.io/apimachinery/pkg/api/errors` of Kubernetes 1.33. HTTP stays with the caller; `code` is the HTTP status.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::field::{FieldError, NO_FIELD, quote};
use crate::gvk::qualified;

/// An answer that is not an object: the outcome of an operation, in practice an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Always `Status`.
    #[serde(default = "status_kind")]
    pub kind: String,
    /// Always `v1`.
    #[serde(default = "status_version")]
    pub api_version: String,
    /// List metadata; empty except for a continue token.
    #[serde(default)]
    pub metadata: Value,
    /// `Failure` or `Success`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// For programs, for example `NotFound`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What the operation was about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<StatusDetails>,
    /// The HTTP status code.
    #[serde(default, skip_serializing_if = "has_no_code")]
    pub code: u16,
}

/// What an operation was about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusDetails {
    /// Name of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// API group of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Resource (plural) or, in `Invalid`, the kind.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Uid of the object.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The single failures behind this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<StatusCause>,
    /// When to try again, in seconds; 0 says nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

/// One of the failures behind a failure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusCause {
    /// For programs, for example `FieldValueInvalid`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The field, for example `spec.replicas`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

fn status_kind() -> String {
    "Status".to_owned()
}

fn status_version() -> String {
    "v1".to_owned()
}

fn has_no_code(code: &u16) -> bool {
    *code == 0
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What a write that lost a race is told.
pub const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

impl Status {
    /// A failure with a code, a reason and a message.
    pub fn failure(code: u16, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind: status_kind(),
            api_version: status_version(),
            metadata: Value::Object(Default::default()),
            status: "Failure".to_owned(),
            message: message.into(),
            reason: reason.into(),
            details: None,
            code,
        }
    }

    /// The answer to a delete that left nothing to show: the object's names, and no code in the body.
    pub fn deleted(group: &str, resource: &str, name: &str, uid: &str) -> Self {
        Self {
            status: "Success".to_owned(),
            details: Some(StatusDetails {
                uid: uid.to_owned(),
                ..names(group, resource, name)
            }),
            ..Self::failure(0, "", "")
        }
    }

    /// 404: `pods "x" not found`.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let message = format!("{} {} not found", qualified(resource, group), quote(name));
        Self::failure(404, "NotFound", message).about(names(group, resource, name))
    }

    /// 404 for a path that no resource serves.
    pub fn no_such_resource() -> Self {
        Self::failure(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .about(StatusDetails::default())
    }

    /// 409: `pods "x" already exists`.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!(
            "{} {} already exists",
            qualified(resource, group),
            quote(name)
        );
        Self::failure(409, "AlreadyExists", message).about(names(group, resource, name))
    }

    /// 409 after every generated name was taken.
    pub fn generated_name_exists(group: &str, resource: &str, name: &str) -> Self {
        let message = format!(
            "{} {} already exists, the server was not able to generate a unique name for the object",
            qualified(resource, group),
            quote(name)
        );
        Self::failure(409, "AlreadyExists", message).about(names(group, resource, name))
    }

    /// 409: `Operation cannot be fulfilled on pods "x": why`; `why` is [`MODIFIED`] for a lost race.
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {}: {why}",
            qualified(resource, group),
            quote(name)
        );
        Self::failure(409, "Conflict", message).about(names(group, resource, name))
    }

    /// 409 of server-side apply: what other managers own.
    pub fn apply_conflict(message: impl Into<String>, causes: Vec<StatusCause>) -> Self {
        Self::failure(409, "Conflict", message).about(StatusDetails {
            causes,
            ..StatusDetails::default()
        })
    }

    /// 422: `Deployment.apps "x" is invalid: spec.replicas: Invalid value: …`, several errors as `[a, b]`.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: Vec<FieldError>) -> Self {
        let mut message = format!("{} {} is invalid", qualified(kind, group), quote(name));
        if !errors.is_empty() {
            message.push_str(": ");
            message.push_str(&aggregate(&errors));
        }
        let causes = errors
            .iter()
            .map(|error| StatusCause {
                reason: error.kind.reason().to_owned(),
                message: error.body(),
                field: if error.field.is_empty() {
                    NO_FIELD.to_owned()
                } else {
                    error.field.clone()
                },
            })
            .collect();
        Self::failure(422, "Invalid", message).about(StatusDetails {
            causes,
            ..names(group, kind, name)
        })
    }

    /// 422 for a body that is well formed and yet cannot be processed, such as a patch that does not apply.
    pub fn unprocessable(message: impl Into<String>) -> Self {
        Self::failure(422, "Invalid", message).about(StatusDetails::default())
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, "BadRequest", message)
    }

    /// 403: `pods "x" is forbidden: why`, without the name where there is none.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let resource_name = qualified(resource, group);
        let message = match (resource_name.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{resource_name} is forbidden: {why}"),
            (false, false) => format!("{resource_name} {} is forbidden: {why}", quote(name)),
        };
        Self::failure(403, "Forbidden", message).about(names(group, resource, name))
    }

    /// 401; says no more than that.
    pub fn unauthorized() -> Self {
        Self::failure(401, "Unauthorized", "Unauthorized")
    }

    /// 410: what was asked for is no longer there.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::failure(410, "Gone", message)
    }

    /// 410: the resource version or the continue token is too old.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, "Expired", message)
    }

    /// The 410 of a watch from a revision that is no longer kept.
    pub fn too_old_resource_version(requested: u64, oldest: u64) -> Self {
        Self::expired(format!("too old resource version: {requested} ({oldest})"))
    }

    /// 504: `Timeout: message`.
    pub fn timeout(message: &str, retry_after_seconds: u32) -> Self {
        Self::failure(504, "Timeout", format!("Timeout: {message}")).about(StatusDetails {
            retry_after_seconds,
            ..StatusDetails::default()
        })
    }

    /// 504 for a resource version from the future; clients look for its cause.
    pub fn resource_version_too_large(requested: u64, current: u64) -> Self {
        let mut status = Self::timeout(
            &format!("Too large resource version: {requested}, current: {current}"),
            1,
        );
        status.details_mut().causes.push(StatusCause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        });
        status
    }

    /// 500: the server could not finish in time.
    pub fn server_timeout(
        group: &str,
        resource: &str,
        operation: &str,
        retry_after_seconds: u32,
    ) -> Self {
        let message = format!(
            "The {operation} operation against {} could not be completed at this time, please try again.",
            qualified(resource, group)
        );
        Self::failure(500, "ServerTimeout", message).about(StatusDetails {
            retry_after_seconds,
            ..names(group, resource, operation)
        })
    }

    /// 429.
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::failure(429, "TooManyRequests", message).about(StatusDetails {
            retry_after_seconds,
            ..StatusDetails::default()
        })
    }

    /// 413: `Request entity too large: message`.
    pub fn too_large(message: &str) -> Self {
        Self::failure(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: {message}"),
        )
    }

    /// 405, in the words of a path that does not know the method.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::failure(405, "MethodNotAllowed", message).about(StatusDetails::default())
    }

    /// 415, with what is accepted instead.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::failure(415, "UnsupportedMediaType", message)
    }

    /// 406, with what can be produced.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!(
            "only the following media types are accepted: {}",
            accepted.join(", ")
        );
        Self::failure(406, "NotAcceptable", message)
    }

    /// 500: `Internal error occurred: message`.
    pub fn internal(message: impl fmt::Display) -> Self {
        let text = message.to_string();
        let cause = StatusCause {
            message: text.clone(),
            ..StatusCause::default()
        };
        Self::failure(
            500,
            "InternalError",
            format!("Internal error occurred: {text}"),
        )
        .about(StatusDetails {
            causes: vec![cause],
            ..StatusDetails::default()
        })
    }

    /// 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, "ServiceUnavailable", message)
    }

    /// The same status about something.
    pub fn about(mut self, details: StatusDetails) -> Self {
        self.details = Some(details);
        self
    }

    /// The details, made if absent.
    pub fn details_mut(&mut self) -> &mut StatusDetails {
        self.details.get_or_insert_default()
    }

    /// The JSON body.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("a status holds only JSON types")
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

fn names(group: &str, kind: &str, name: &str) -> StatusDetails {
    StatusDetails {
        name: name.to_owned(),
        group: group.to_owned(),
        kind: kind.to_owned(),
        ..StatusDetails::default()
    }
}

/// One error as it is; several as `[a, b]`, each text once.
fn aggregate(errors: &[FieldError]) -> String {
    let mut texts: Vec<String> = Vec::with_capacity(errors.len());
    for error in errors {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    if texts.len() == 1 {
        texts.remove(0)
    } else {
        format!("[{}]", texts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_are_word_for_word_what_clients_match() {
        let replicas =
            FieldError::invalid("spec.replicas", -1, "must be greater than or equal to 0");
        let selector = FieldError::required("spec.selector", "");
        let cases = [
            (
                Status::not_found("", "pods", "x"),
                404,
                "NotFound",
                r#"pods "x" not found"#,
            ),
            (
                Status::not_found("apps", "deployments", "x"),
                404,
                "NotFound",
                r#"deployments.apps "x" not found"#,
            ),
            (
                Status::already_exists("", "pods", "x"),
                409,
                "AlreadyExists",
                r#"pods "x" already exists"#,
            ),
            (
                Status::conflict("", "pods", "x", MODIFIED),
                409,
                "Conflict",
                "Operation cannot be fulfilled on pods \"x\": the object has been modified; \
                 please apply your changes to the latest version and try again",
            ),
            (
                Status::invalid("apps", "Deployment", "x", vec![replicas.clone()]),
                422,
                "Invalid",
                "Deployment.apps \"x\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                Status::invalid(
                    "apps",
                    "Deployment",
                    "x",
                    vec![replicas.clone(), selector, replicas],
                ),
                422,
                "Invalid",
                "Deployment.apps \"x\" is invalid: [spec.replicas: Invalid value: -1: must be greater than or equal \
                 to 0, spec.selector: Required value]",
            ),
            (
                Status::forbidden("", "pods", "", "User \"a\" cannot list"),
                403,
                "Forbidden",
                "pods is forbidden: User \"a\" cannot list",
            ),
            (
                Status::forbidden("", "pods", "x", "no"),
                403,
                "Forbidden",
                "pods \"x\" is forbidden: no",
            ),
            (Status::timeout("busy", 1), 504, "Timeout", "Timeout: busy"),
            (
                Status::method_not_allowed(),
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            ),
            (
                Status::internal("x"),
                500,
                "InternalError",
                "Internal error occurred: x",
            ),
            (
                Status::too_large("limit is 3145728"),
                413,
                "RequestEntityTooLarge",
                "Request entity too large: limit is 3145728",
            ),
            (
                Status::too_old_resource_version(5, 9),
                410,
                "Expired",
                "too old resource version: 5 (9)",
            ),
        ];
        for (status, code, reason, message) in cases {
            assert_eq!(
                (status.code, status.reason.as_str(), status.message.as_str()),
                (code, reason, message)
            );
        }
    }

    #[test]
    fn an_invalid_status_names_every_field_in_its_causes() {
        let errors = vec![
            FieldError::required("a", ""),
            FieldError::invalid("b", 1, "odd"),
        ];
        let status = Status::invalid("", "Pod", "p", errors).to_value();
        assert_eq!(
            status,
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 422,
                "reason": "Invalid",
                "message": "Pod \"p\" is invalid: [a: Required value, b: Invalid value: 1: odd]",
                "details": {"name": "p", "kind": "Pod", "causes": [
                    {"reason": "FieldValueRequired", "message": "Required value", "field": "a"},
                    {"reason": "FieldValueInvalid", "message": "Invalid value: 1: odd", "field": "b"},
                ]},
            })
        );
    }

    #[test]
    fn a_future_resource_version_carries_the_cause_clients_look_for() {
        let status = Status::resource_version_too_large(9, 5);
        let details = status.details.unwrap();
        assert_eq!(details.retry_after_seconds, 1);
        assert_eq!(details.causes[0].reason, "ResourceVersionTooLarge");
        assert_eq!(
            status.message,
            "Timeout: Too large resource version: 9, current: 5"
        );
    }

    #[test]
    fn a_status_reads_back_what_it_wrote() {
        let status = Status::not_found("apps", "deployments", "x");
        assert_eq!(
            serde_json::from_value::<Status>(status.to_value()).unwrap(),
            status
        );
    }
}
