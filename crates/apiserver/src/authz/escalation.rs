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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::Rbac;
    use crate::lookup::Fixed;
    use serde_json::json;
    use std::sync::Arc;

    fn rule(verb: &str, resource: &str) -> Value {
        json!({"verbs": [verb], "apiGroups": [""], "resources": [resource]})
    }

    /// Ann may read pods in `dev`; Bob may besides bind the role `reader` and escalate.
    fn authorizer() -> Authorizer {
        let reader = json!({"metadata": {"name": "reader"}, "rules": [rule("get", "pods")]});
        let powerful = json!({"metadata": {"name": "powerful"}, "rules": [rule("*", "*")]});
        let bender = json!({"metadata": {"name": "bender"}, "rules": [
            {"verbs": ["bind"], "apiGroups": [RBAC_GROUP], "resources": ["clusterroles"], "resourceNames": ["powerful"]},
            {"verbs": ["escalate"], "apiGroups": [RBAC_GROUP], "resources": ["roles"]},
        ]});
        let bind = |role: &str, user: &str| {
            json!({
                "metadata": {"name": user, "namespace": "dev"},
                "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [{"kind": "User", "name": user}],
            })
        };
        let bindings = [
            bind("reader", "ann"),
            bind("reader", "bob"),
            bind("bender", "bob"),
        ];
        let rbac = Rbac::rebuild([], &bindings, [&reader, &powerful, &bender], []);
        Authorizer::new(rbac, Arc::new(Fixed::default()))
    }

    fn write(
        user: &str,
        resource: &str,
        object: &Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let write = Write {
            resource,
            namespace: "dev",
            name: "new",
            object,
            old,
        };
        check(
            &authorizer(),
            &Fixed::default(),
            &User::new(user, &[]),
            &write,
        )
    }

    #[test]
    fn nobody_writes_a_role_with_more_than_they_have() {
        let small = json!({"rules": [rule("get", "pods")]});
        let large = json!({"rules": [rule("get", "pods"), rule("get", "secrets")]});
        assert!(write("ann", "roles", &small, None).is_ok());
        let status = write("ann", "roles", &large, None).unwrap_err();
        assert_eq!(
            status.message,
            "roles.rbac.authorization.k8s.io \"new\" is forbidden: user \"ann\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}"
        );
        assert!(write("bob", "roles", &large, None).is_ok());
    }

    #[test]
    fn nobody_binds_a_role_with_more_than_they_have_unless_they_may_bind_it() {
        let binding = |role: &str| json!({"roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [{"kind": "User", "name": "eve"}]});
        assert!(write("ann", "rolebindings", &binding("reader"), None).is_ok());
        assert_eq!(
            write("ann", "rolebindings", &binding("powerful"), None)
                .unwrap_err()
                .code,
            403
        );
        assert!(write("bob", "rolebindings", &binding("powerful"), None).is_ok());
        assert_eq!(
            write("ann", "rolebindings", &binding("gone"), None)
                .unwrap_err()
                .code,
            404
        );
    }

    #[test]
    fn a_change_of_labels_needs_no_more_than_the_right_to_change() {
        let old = json!({"rules": [rule("*", "*")]});
        let mut new = old.clone();
        new["metadata"] = json!({"labels": {"a": "b"}});
        assert!(write("ann", "roles", &new, Some(&old)).is_ok());
        let mut larger = old.clone();
        larger["rules"] = json!([rule("get", "secrets")]);
        assert!(write("ann", "roles", &larger, Some(&old)).is_err());
    }

    #[test]
    fn a_role_that_will_grow_by_itself_needs_everything() {
        let growing =
            json!({"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}});
        assert!(write("ann", "clusterroles", &growing, None).is_err());
    }
}
