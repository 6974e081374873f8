//! SelfSubjectRulesReview: what may I do in this namespace.

use objects::{FieldError, Status};
use serde_json::{Value, json};

use super::answered;
use crate::authn::{MASTERS, User};
use crate::authz::{Authorizer, Rule};

/// All rules of the user that asks, in `spec.namespace`.
pub fn self_subject_rules_review(
    authorizer: &Authorizer,
    user: &User,
    review: &Value,
) -> Result<Value, Status> {
    let namespace = review["spec"]["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        let errors = vec![FieldError::required("spec.namespace", "")];
        return Err(Status::invalid(
            "authorization.k8s.io",
            "SelfSubjectRulesReview",
            "",
            errors,
        ));
    }
    let mut rules = authorizer.rbac().rules_of(user, namespace);
    if user.is_in(MASTERS) {
        rules.push(Rule::everything());
        rules.push(Rule::every_path());
    }
    let (paths, resources): (Vec<Rule>, Vec<Rule>) =
        rules.into_iter().partition(|rule| !rule.paths.is_empty());
    let shown = |rules: Vec<Rule>| rules.iter().map(Rule::to_json).collect::<Vec<_>>();
    Ok(answered(
        review,
        json!({
            "resourceRules": shown(resources),
            "nonResourceRules": shown(paths),
            // What the node rules allow depends on pods and cannot be listed.
            "incomplete": user.as_node().is_some(),
        }),
    ))
}
