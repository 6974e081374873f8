//! Questions a client asks the API about identity and permission. Each is a function from the
//! posted object to the answered one; nothing is stored. Mirrors Kubernetes v1.33 `pkg/registry/{authentication,authorization}`.

mod access;
mod rules;
mod subject;
mod token_request;
mod token_review;

use serde_json::{Value, json};

pub use access::{local_subject_access_review, self_subject_access_review, subject_access_review};
pub use rules::self_subject_rules_review;
pub use subject::self_subject_review;
pub use token_request::token_request;
pub use token_review::token_review;

use crate::authn::User;

/// The posted object with a status; its type and spec are what the client sent.
fn answered(review: &Value, status: Value) -> Value {
    let mut answer = review.clone();
    if let Some(fields) = answer.as_object_mut() {
        fields.entry("metadata").or_insert_with(|| json!({}));
        fields.insert("status".into(), status);
    }
    answer
}

/// A user as reviews show it.
fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = json!(user.uid);
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

/// A list of texts; empty if it is none.
fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|text| text.as_str().map(ToOwned::to_owned))
        .collect()
}
