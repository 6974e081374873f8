//! Plain discovery: groups, versions and resources one request at a time.

use serde_json::{Value, json};

use crate::registry::{Origin, Registry, Resource, Subresource};

/// `/api`.
pub(super) fn core_versions() -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:7443"}],
    })
}

/// `/apis`.
pub(super) fn groups(registry: &Registry) -> Value {
    let groups: Vec<Value> = registry
        .groups()
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, versions)| describe(name, versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/{group}`.
pub(super) fn group(registry: &Registry, name: &str) -> Option<Value> {
    let (name, versions) = registry
        .groups()
        .find(|(known, _)| *known == name && !known.is_empty())?;
    let mut document = describe(name, versions);
    document["kind"] = "APIGroup".into();
    document["apiVersion"] = "v1".into();
    Some(document)
}

fn describe(name: &str, versions: &[String]) -> Value {
    let all: Vec<Value> = versions
        .iter()
        .map(|version| json!({"groupVersion": format!("{name}/{version}"), "version": version}))
        .collect();
    json!({"name": name, "preferredVersion": all[0], "versions": all})
}

/// `/api/v1` and `/apis/{group}/{version}`.
pub(super) fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let found = registry.resources(group, version);
    let api_version = found.first()?.api_version();
    let mut rows = Vec::new();
    for resource in found {
        rows.push(row(resource));
        let mut below: Vec<_> = resource
            .subresources
            .iter()
            .map(|sub| subresource(resource, sub))
            .collect();
        if matches!(resource.origin, Origin::Builtin(_)) {
            below.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
        }
        rows.extend(below);
    }
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": rows}),
    )
}

fn row(resource: &Resource) -> Value {
    let mut row = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        row["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        row["categories"] = json!(resource.categories);
    }
    if resource.collection.is_some() {
        row["storageVersionHash"] = super::openapi::storage_hash(resource).into();
    }
    row
}

fn subresource(resource: &Resource, below: &Subresource) -> Value {
    let (kind, verbs) = kind_and_verbs(resource, below);
    let mut row = json!({
        "name": format!("{}/{}", resource.plural, below.name()),
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": kind.2,
        "verbs": verbs,
    });
    if (kind.0.as_str(), kind.1.as_str()) != (resource.group.as_str(), resource.version.as_str()) {
        row["group"] = kind.0.into();
        row["version"] = kind.1.into();
    }
    row
}

/// The group, version and kind of a subresource's bodies, and its verbs.
pub(super) fn kind_and_verbs(
    resource: &Resource,
    below: &Subresource,
) -> ((String, String, String), &'static [&'static str]) {
    const EDIT: &[&str] = &["get", "patch", "update"];
    match below {
        Subresource::Status => (
            (
                resource.group.clone(),
                resource.version.clone(),
                resource.kind.clone(),
            ),
            EDIT,
        ),
        Subresource::Scale(_) => (("autoscaling".into(), "v1".into(), "Scale".into()), EDIT),
        Subresource::Named { kind, verbs, .. } => {
            ((kind.0.into(), kind.1.into(), kind.2.into()), verbs)
        }
    }
}

/// `/`.
pub(super) fn paths(registry: &Registry) -> Vec<String> {
    let mut paths = vec![
        "/.well-known/openid-configuration".to_owned(),
        "/api".into(),
        "/api/v1".into(),
        "/apis".into(),
    ];
    for (group, versions) in registry.groups().filter(|(group, _)| !group.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.extend(
            versions
                .iter()
                .map(|version| format!("/apis/{group}/{version}")),
        );
    }
    paths.extend(
        [
            "/healthz",
            "/livez",
            "/metrics",
            "/openapi/v2",
            "/openapi/v3",
            "/openid/v1/jwks",
            "/readyz",
            "/version",
        ]
        .map(str::to_owned),
    );
    paths
}
