//! Aggregated discovery: everything in one document, in both versions that kubectl asks for.

use http::HeaderMap;
use serde_json::{Value, json};

use super::groups::kind_and_verbs;
use crate::http::accept::clauses;
use crate::registry::{Registry, Resource};

/// The version of aggregated discovery that comes first in `Accept`, unless plain discovery does.
pub(super) fn is_asked(headers: &HeaderMap) -> Option<&'static str> {
    for clause in clauses(headers) {
        if clause.media != "application/json" {
            continue;
        }
        match (
            clause.parameter("as"),
            clause.parameter("g"),
            clause.parameter("v"),
        ) {
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2")) => {
                return Some("v2");
            }
            (Some("APIGroupDiscoveryList"), Some("apidiscovery.k8s.io"), Some("v2beta1")) => {
                return Some("v2beta1");
            }
            (None, _, _) => return None,
            _ => {}
        }
    }
    None
}

/// The core group alone, or all others.
pub(super) fn groups(registry: &Registry, is_core: bool, version: &str) -> Value {
    let items: Vec<Value> = registry
        .groups()
        .filter(|(name, _)| name.is_empty() == is_core)
        .map(|(name, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let resources: Vec<Value> = registry
                        .resources(name, version)
                        .into_iter()
                        .map(|resource| describe(resource))
                        .collect();
                    json!({"version": version, "freshness": "Current", "resources": resources})
                })
                .collect();
            let metadata = if name.is_empty() {
                json!({"creationTimestamp": null})
            } else {
                json!({"name": name, "creationTimestamp": null})
            };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    })
}

fn describe(resource: &Resource) -> Value {
    let mut row = json!({
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        row["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        row["categories"] = json!(resource.categories);
    }
    let below: Vec<Value> = resource
        .subresources
        .iter()
        .map(|below| {
            let ((group, version, kind), verbs) = kind_and_verbs(resource, below);
            json!({
                "subresource": below.name(),
                "responseKind": {"group": group, "version": version, "kind": kind},
                "verbs": verbs,
            })
        })
        .collect();
    if !below.is_empty() {
        row["subresources"] = below.into();
    }
    row
}
