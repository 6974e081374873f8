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
