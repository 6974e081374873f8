//! The SubjectAccessReview family: may somebody do this.

use std::collections::BTreeMap;

use objects::{FieldError, Status};
use serde_json::{Value, json};

use super::{answered, texts};
use crate::authn::User;
use crate::authz::{Attributes, Authorizer};

const GROUP: &str = "authorization.k8s.io";

/// May the user named in the spec do this.
pub fn subject_access_review(authorizer: &Authorizer, review: &Value) -> Result<Value, Status> {
    let spec = &review["spec"];
    let user = subject(spec);
    let mut errors = one_question(spec);
    if user.name.is_empty() && user.groups.is_empty() {
        errors.push(FieldError::invalid(
            "spec.user",
            "",
            "at least one of user or group must be specified",
        ));
    }
    refuse("SubjectAccessReview", errors)?;
    Ok(answered(review, decide(authorizer, &user, spec)))
}

/// The same within one namespace, which the question must name.
pub fn local_subject_access_review(
    authorizer: &Authorizer,
    namespace: &str,
    review: &Value,
) -> Result<Value, Status> {
    let spec = &review["spec"];
    let user = subject(spec);
    let mut errors = one_question(spec);
    if spec["nonResourceAttributes"].is_object() {
        errors.push(FieldError::invalid(
            "spec.nonResourceAttributes",
            spec["nonResourceAttributes"].clone(),
            "disallowed on this kind of request",
        ));
    }
    if spec["resourceAttributes"]["namespace"] != namespace {
        errors.push(FieldError::invalid(
            "spec.resourceAttributes.namespace",
            spec["resourceAttributes"]["namespace"].clone(),
            "must match metadata.namespace",
        ));
    }
    refuse("LocalSubjectAccessReview", errors)?;
    Ok(answered(review, decide(authorizer, &user, spec)))
}

/// May I do this.
pub fn self_subject_access_review(
    authorizer: &Authorizer,
    user: &User,
    review: &Value,
) -> Result<Value, Status> {
    let spec = &review["spec"];
    refuse("SelfSubjectAccessReview", one_question(spec))?;
    Ok(answered(review, decide(authorizer, user, spec)))
}

fn refuse(kind: &str, errors: Vec<FieldError>) -> Result<(), Status> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::invalid(GROUP, kind, "", errors))
    }
}

fn one_question(spec: &Value) -> Vec<FieldError> {
    let (resource, path) = (
        spec["resourceAttributes"].is_object(),
        spec["nonResourceAttributes"].is_object(),
    );
    let detail = match (resource, path) {
        (true, true) => "cannot be specified in combination with resourceAttributes",
        (false, false) => {
            "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        }
        _ => return Vec::new(),
    };
    let field = if resource {
        "spec.nonResourceAttributes"
    } else {
        "spec.resourceAttributes"
    };
    vec![FieldError::invalid(field, Value::Null, detail)]
}

fn subject(spec: &Value) -> User {
    let extra: BTreeMap<String, Vec<String>> = spec["extra"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, values)| (key.clone(), texts(values)))
        .collect();
    User {
        name: spec["user"].as_str().unwrap_or_default().to_owned(),
        uid: spec["uid"].as_str().unwrap_or_default().to_owned(),
        groups: texts(&spec["groups"]),
        extra,
    }
}

fn decide(authorizer: &Authorizer, user: &User, spec: &Value) -> Value {
    let of = |attributes: &str, key: &str| -> String {
        spec[attributes][key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let resource = |key: &str| of("resourceAttributes", key);
    let decision = if spec["nonResourceAttributes"].is_object() {
        authorizer.authorize(
            user,
            &Attributes {
                verb: &of("nonResourceAttributes", "verb"),
                path: &of("nonResourceAttributes", "path"),
                ..Attributes::default()
            },
        )
    } else {
        // A question about no resource would otherwise be one about no path.
        let plural = Some(resource("resource")).filter(|plural| !plural.is_empty());
        authorizer.authorize(
            user,
            &Attributes {
                verb: &resource("verb"),
                group: &resource("group"),
                version: &resource("version"),
                resource: &plural.unwrap_or_else(|| " ".into()),
                subresource: &resource("subresource"),
                namespace: &resource("namespace"),
                name: &resource("name"),
                field_selector: &field_selector(&spec["resourceAttributes"]["fieldSelector"]),
                ..Attributes::default()
            },
        )
    };
    let mut status = json!({"allowed": decision.is_allowed});
    if !decision.reason.is_empty() {
        status["reason"] = json!(decision.reason);
    }
    status
}

/// The selector as written on a request, from its raw form or its requirements.
fn field_selector(selector: &Value) -> String {
    if let Some(raw) = selector["rawSelector"].as_str() {
        return raw.to_owned();
    }
    let terms: Vec<String> = selector["requirements"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|requirement| requirement["operator"] == "In")
        .filter_map(|requirement| {
            let key = requirement["key"].as_str()?;
            let value = requirement["values"][0].as_str()?;
            Some(format!("{key}={value}"))
        })
        .collect();
    terms.join(",")
}
