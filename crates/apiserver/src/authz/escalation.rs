//! Nobody hands out permissions they do not have: checks on writes of roles and bindings.
//! Mirrors Kubernetes v1.33 `pkg/registry/rbac/*/policybased`.

use objects::Status;
use serde_json::Value;

use super::rule::uncovered;
use super::{Attributes, Authorizer, RBAC_GROUP, Rule, aggregated_rules};
use crate::authn::{MASTERS, User};
use crate::lookup::Lookup;

/// A write of a role or binding: what it is, and before.
pub struct Write<'a> {
    /// `roles`, `clusterroles`, `rolebindings` or `clusterrolebindings`.
    pub resource: &'a str,
    /// The namespace; empty for cluster-wide ones.
    pub namespace: &'a str,
    /// The name.
    pub name: &'a str,
    /// The object to be.
    pub object: &'a Value,
    /// The object that was, on updates.
    pub old: Option<&'a Value>,
}

/// Refuses a write that would give somebody what `user` does not have.
pub fn check(
    authorizer: &Authorizer,
    lookup: &dyn Lookup,
    user: &User,
    write: &Write<'_>,
) -> Result<(), Status> {
    if user.is_in(MASTERS) {
        return Ok(());
    }
    match write.resource {
        "roles" | "clusterroles" => check_role(authorizer, lookup, user, write),
        "rolebindings" | "clusterrolebindings" => check_binding(authorizer, user, write),
        _ => Ok(()),
    }
}

fn check_role(
    authorizer: &Authorizer,
    lookup: &dyn Lookup,
    user: &User,
    write: &Write<'_>,
) -> Result<(), Status> {
    let is_same = |key: &str| write.old.is_some_and(|old| old[key] == write.object[key]);
    if (is_same("rules") && is_same("aggregationRule"))
        || may(authorizer, user, "escalate", write.resource, write)
    {
        return Ok(());
    }
    let mut asked = Rule::all_of(write.object);
    let roles = lookup.list(RBAC_GROUP, "clusterroles", "");
    // Upstream asks for everything here; what the role aggregates at this moment plus the right to make roles is its aim.
    if let Some(rules) = aggregated_rules(write.object, roles.iter().map(AsRef::as_ref)) {
        asked.extend(rules.iter().map(Rule::from_json));
        asked.push(Rule::everything());
    }
    refuse_uncovered(authorizer, user, write, &asked)
}

fn check_binding(authorizer: &Authorizer, user: &User, write: &Write<'_>) -> Result<(), Status> {
    let reference = &write.object["roleRef"];
    let is_same = |key: &str| write.old.is_some_and(|old| old[key] == write.object[key]);
    if is_same("roleRef") && is_same("subjects") {
        return Ok(());
    }
    let role = reference["name"].as_str().unwrap_or_default();
    let (resource, scope) = match reference["kind"].as_str() {
        Some("Role") => ("roles", write.namespace),
        _ => ("clusterroles", ""),
    };
    let bind = Attributes {
        verb: "bind",
        group: RBAC_GROUP,
        version: "v1",
        resource,
        namespace: write.namespace,
        name: role,
        ..Attributes::default()
    };
    if authorizer.authorize(user, &bind).is_allowed {
        return Ok(());
    }
    let Some(rules) = authorizer.rbac().rules_of_role(scope, role) else {
        return Err(Status::not_found(RBAC_GROUP, resource, role));
    };
    refuse_uncovered(authorizer, user, write, &rules)
}

fn may(
    authorizer: &Authorizer,
    user: &User,
    verb: &str,
    resource: &str,
    write: &Write<'_>,
) -> bool {
    let attributes = Attributes {
        verb,
        group: RBAC_GROUP,
        version: "v1",
        resource,
        namespace: write.namespace,
        name: write.name,
        ..Attributes::default()
    };
    authorizer.authorize(user, &attributes).is_allowed
}

fn refuse_uncovered(
    authorizer: &Authorizer,
    user: &User,
    write: &Write<'_>,
    asked: &[Rule],
) -> Result<(), Status> {
    let owned = authorizer.rbac().rules_of(user, write.namespace);
    let missing = uncovered(&owned, asked);
    if missing.is_empty() {
        return Ok(());
    }
    let missing: Vec<String> = missing.iter().map(shown).collect();
    let text = format!(
        "user {:?} (groups={:?}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        user.groups,
        missing.join("\n")
    );
    Err(Status::forbidden(
        RBAC_GROUP,
        write.resource,
        write.name,
        &text,
    ))
}

/// A rule as the refusal lists it: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
fn shown(rule: &Rule) -> String {
    let parts: Vec<String> = [
        ("APIGroups", &rule.groups),
        ("Resources", &rule.resources),
        ("ResourceNames", &rule.names),
        ("NonResourceURLs", &rule.paths),
        ("Verbs", &rule.verbs),
    ]
    .into_iter()
    .filter(|(_, list)| !list.is_empty())
    .map(|(key, list)| format!("{key}:{list:?}"))
    .collect();
    format!("{{{}}}", parts.join(", "))
}
