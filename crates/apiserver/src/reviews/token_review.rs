//! TokenReview: whose token is this.

use objects::Status;
use serde_json::{Value, json};

use super::{answered, texts, user_info};
use crate::authn::Authenticator;

/// The bearer of `spec.token` for one of `spec.audiences`. That a token is not accepted is an answer, not an error.
pub fn token_review(authenticator: &Authenticator, review: &Value) -> Result<Value, Status> {
    let token = review["spec"]["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(Status::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let audiences = texts(&review["spec"]["audiences"]);
    let status = match authenticator.authenticate_token(token, &audiences) {
        Ok(accepted) => json!({
            "authenticated": true,
            "user": user_info(&accepted.user),
            "audiences": accepted.audiences,
        }),
        Err(err) => json!({"user": {}, "error": err.to_string()}),
    };
    let mut answer = answered(review, status);
    // The token has done its work; it is not sent around again.
    if let Some(spec) = answer["spec"].as_object_mut() {
        spec.remove("token");
    }
    Ok(answer)
}
