//! The roles and bindings that every cluster has from its first moment.
//! Mirrors the meaning of Kubernetes v1.33 `plugin/pkg/auth/authorizer/rbac/bootstrappolicy`, for the
//! controllers that exist here. Writing them at start, and again when they were changed or lost, is the server's part.

mod components;
mod controllers;
mod people;

use std::sync::OnceLock;

use serde_json::{Value, json};

use super::Rule;

/// An object to make at start.
#[derive(Debug, Clone)]
pub struct Object {
    /// `clusterroles`, `clusterrolebindings`, `roles` or `rolebindings`.
    pub resource: &'static str,
    /// The object itself.
    pub object: Value,
}

/// All bootstrap roles and bindings, roles before the bindings that name them.
pub fn bootstrap() -> Vec<Object> {
    let mut objects = people::objects();
    objects.extend(components::objects());
    objects.extend(controllers::objects());
    objects.sort_by_key(|object| object.resource.ends_with("bindings"));
    objects
}

/// The rules of a node that need no look at other objects.
pub(super) fn node_rules() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| components::node().iter().map(Rule::from_json).collect())
}

/// A rule from words: `allow("get list", "apps", "deployments replicasets")`; the core group is `""`.
fn allow(verbs: &str, groups: &str, resources: &str) -> Value {
    let groups: Vec<&str> = if groups.is_empty() {
        vec![""]
    } else {
        groups
            .split(' ')
            .map(|group| if group == "core" { "" } else { group })
            .collect()
    };
    json!({"verbs": words(verbs), "apiGroups": groups, "resources": words(resources)})
}

/// A rule for single objects.
fn allow_named(verbs: &str, groups: &str, resources: &str, names: &str) -> Value {
    let mut rule = allow(verbs, groups, resources);
    rule["resourceNames"] = json!(words(names));
    rule
}

/// A rule for paths.
fn allow_paths(verbs: &str, paths: &str) -> Value {
    json!({"verbs": words(verbs), "nonResourceURLs": words(paths)})
}

/// What everything that reports events needs.
fn events() -> Value {
    allow("create patch update", "core events.k8s.io", "events")
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    })
}

fn cluster_role(name: &str, rules: Vec<Value>) -> Object {
    Object {
        resource: "clusterroles",
        object: json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": metadata(name), "rules": rules,
        }),
    }
}

fn role(namespace: &str, name: &str, rules: Vec<Value>) -> Object {
    let mut metadata = metadata(name);
    metadata["namespace"] = json!(namespace);
    Object {
        resource: "roles",
        object: json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
            "metadata": metadata, "rules": rules,
        }),
    }
}

fn cluster_role_binding(name: &str, role: &str, subjects: Vec<Value>) -> Object {
    Object {
        resource: "clusterrolebindings",
        object: json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": metadata(name),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": subjects,
        }),
    }
}

fn role_binding(namespace: &str, name: &str, subjects: Vec<Value>) -> Object {
    let mut metadata = metadata(name);
    metadata["namespace"] = json!(namespace);
    Object {
        resource: "rolebindings",
        object: json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": subjects,
        }),
    }
}

fn group(name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name})
}

fn user(name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name})
}

fn service_account(namespace: &str, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::User;
    use crate::authz::{Attributes, Rbac};

    fn rbac(more: &[Value]) -> Rbac {
        let objects = bootstrap();
        let of = |resource: &str| -> Vec<Value> {
            objects
                .iter()
                .filter(|object| object.resource == resource)
                .map(|object| object.object.clone())
                .collect()
        };
        let mut bindings = of("rolebindings");
        bindings.extend(more.iter().cloned());
        Rbac::rebuild(
            &of("roles"),
            &bindings,
            &of("clusterroles"),
            &of("clusterrolebindings"),
        )
    }

    fn in_dev(role: &str) -> (Rbac, User) {
        let binding = json!({
            "metadata": {"name": "ann", "namespace": "dev"},
            "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [{"kind": "User", "name": "ann"}],
        });
        (rbac(&[binding]), User::new("ann", &[]))
    }

    fn may(
        rbac: &Rbac,
        user: &User,
        verb: &str,
        group: &str,
        resource: &str,
        namespace: &str,
    ) -> bool {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = Attributes {
            verb,
            group,
            resource,
            subresource,
            namespace,
            ..Attributes::default()
        };
        rbac.authorize(user, &attributes).is_allowed
    }

    #[test]
    fn every_binding_names_a_role_that_exists_and_no_name_repeats() {
        let objects = bootstrap();
        let key = |object: &Object| {
            (
                object.resource,
                object.object["metadata"]["namespace"].clone().to_string(),
                object.object["metadata"]["name"].clone().to_string(),
            )
        };
        let keys: std::collections::HashSet<_> = objects.iter().map(key).collect();
        assert_eq!(keys.len(), objects.len());
        for binding in objects
            .iter()
            .filter(|object| object.resource.ends_with("bindings"))
        {
            let role = &binding.object["roleRef"]["name"];
            assert!(
                objects
                    .iter()
                    .any(|object| object.resource.ends_with("roles")
                        && object.object["metadata"]["name"] == *role),
                "{role}"
            );
        }
    }

    #[test]
    fn the_bootstrap_objects_pass_their_own_validation() {
        for Object { resource, object } in bootstrap() {
            let rules = crate::kinds::strategy(
                "rbac.authorization.k8s.io",
                object["kind"].as_str().unwrap(),
            );
            assert_eq!(
                rules.validate_create(&object),
                [],
                "{resource} {}",
                object["metadata"]["name"]
            );
        }
    }

    #[test]
    fn a_viewer_reads_all_but_secrets_and_writes_nothing() {
        let (rbac, ann) = in_dev("view");
        assert!(may(&rbac, &ann, "list", "apps", "deployments", "dev"));
        assert!(may(&rbac, &ann, "get", "", "pods/log", "dev"));
        for (verb, group, resource) in [
            ("get", "", "secrets"),
            ("create", "", "pods"),
            ("create", "", "pods/exec"),
            ("get", "rbac.authorization.k8s.io", "roles"),
        ] {
            assert!(
                !may(&rbac, &ann, verb, group, resource, "dev"),
                "{verb} {resource}"
            );
        }
        assert!(!may(&rbac, &ann, "list", "apps", "deployments", "prod"));
    }

    #[test]
    fn an_editor_works_with_everything_but_roles_and_an_admin_with_roles_too() {
        let (rbac_of_editor, ann) = in_dev("edit");
        for (verb, group, resource) in [
            ("create", "", "pods"),
            ("create", "", "pods/exec"),
            ("get", "", "secrets"),
            ("patch", "apps", "deployments/scale"),
            ("list", "batch", "jobs"),
        ] {
            assert!(
                may(&rbac_of_editor, &ann, verb, group, resource, "dev"),
                "{verb} {resource}"
            );
        }
        assert!(!may(
            &rbac_of_editor,
            &ann,
            "create",
            "rbac.authorization.k8s.io",
            "roles",
            "dev"
        ));
        assert!(!may(
            &rbac_of_editor,
            &ann,
            "update",
            "",
            "resourcequotas",
            "dev"
        ));
        let (rbac_of_admin, ann) = in_dev("admin");
        assert!(may(
            &rbac_of_admin,
            &ann,
            "create",
            "rbac.authorization.k8s.io",
            "roles",
            "dev"
        ));
        assert!(may(&rbac_of_admin, &ann, "get", "", "secrets", "dev"));
    }

    #[test]
    fn everybody_who_signed_in_may_discover_and_ask_about_themselves() {
        let (rbac, user) = (rbac(&[]), User::new("x", &[]));
        for path in [
            "/api",
            "/apis",
            "/apis/apps/v1",
            "/openapi/v3",
            "/version",
            "/readyz",
        ] {
            let get = Attributes {
                verb: "get",
                path,
                ..Attributes::default()
            };
            assert!(rbac.authorize(&user, &get).is_allowed, "{path}");
        }
        assert!(may(
            &rbac,
            &user,
            "create",
            "authorization.k8s.io",
            "selfsubjectaccessreviews",
            ""
        ));
        assert!(!may(&rbac, &user, "list", "", "namespaces", ""));
        let metrics = Attributes {
            verb: "get",
            path: "/metrics",
            ..Attributes::default()
        };
        assert!(!rbac.authorize(&user, &metrics).is_allowed);
    }

    #[test]
    fn each_controller_has_what_it_needs_and_not_what_others_need() {
        let rbac = rbac(&[]);
        let job = User::service_account("kube-system", "job-controller");
        assert!(may(&rbac, &job, "create", "", "pods", "any"));
        assert!(may(&rbac, &job, "update", "batch", "jobs/status", "any"));
        assert!(!may(&rbac, &job, "delete", "apps", "replicasets", "any"));
        assert!(!may(&rbac, &job, "get", "", "secrets", "any"));
        let all = User::controller_manager();
        assert!(
            may(&rbac, &all, "create", "", "pods", "any")
                && may(&rbac, &all, "delete", "apps", "replicasets", "any")
        );
        let scheduler = User::scheduler();
        assert!(may(&rbac, &scheduler, "create", "", "pods/binding", "any"));
        assert!(!may(&rbac, &scheduler, "create", "", "pods", "any"));
    }
}
