//! SelfSubjectReview: who am I.

use serde_json::{Value, json};

use super::{answered, user_info};
use crate::authn::User;

/// The user that asks, as the API knows it.
pub fn self_subject_review(user: &User, review: &Value) -> Value {
    answered(review, json!({"userInfo": user_info(user)}))
}
