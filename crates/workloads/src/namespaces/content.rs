//! Deletes everything in a namespace, whatever kinds the server has, and counts what is still there.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIResource, ListMeta};
use kube::Client;
use kube::api::{DeleteParams, ListParams};
use kube::core::{PartialObjectMeta, Request};
use serde::Deserialize;

/// Pods, as [`Outcome::remaining`] names them.
pub const PODS: &str = "pods.";

/// What a pass over a namespace's content found.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Objects left, by `resource.group`, which for the core group is `resource.`.
    pub remaining: BTreeMap<String, usize>,
    /// Objects that each finalizer holds.
    pub held_by: BTreeMap<String, usize>,
    /// Groups that discovery could not answer for.
    pub discovery_failures: Vec<String>,
    /// Deletions the server refused.
    pub deletion_failures: Vec<String>,
}

impl Outcome {
    /// Whether nothing is left and nothing failed.
    pub fn is_empty(&self) -> bool {
        self.remaining.is_empty()
            && self.discovery_failures.is_empty()
            && self.deletion_failures.is_empty()
    }
}

/// One namespaced resource that can be listed and deleted.
#[derive(Clone, Debug)]
pub struct Deletable {
    /// `resource.group`, as in [`Outcome::remaining`].
    pub name: String,
    path: String,
    can_delete_collection: bool,
}

/// Every namespaced resource in its preferred version, and the groups that could not be asked about.
pub async fn deletable(client: &Client) -> (Vec<Deletable>, Vec<String>) {
    let mut found = Vec::new();
    let mut failures = Vec::new();
    match client.list_core_api_resources("v1").await {
        Ok(list) => collect(&mut found, "/api/v1", "", &list.resources),
        Err(error) => failures.push(format!("v1: {error}")),
    }
    match client.list_api_groups().await {
        Err(error) => failures.push(format!("groups: {error}")),
        Ok(groups) => {
            for group in groups.groups {
                let Some(version) = group
                    .preferred_version
                    .or_else(|| group.versions.into_iter().next())
                else {
                    continue;
                };
                match client
                    .list_api_group_resources(&version.group_version)
                    .await
                {
                    Ok(list) => {
                        let base = format!("/apis/{}", version.group_version);
                        collect(&mut found, &base, &group.name, &list.resources);
                    }
                    Err(error) => failures.push(format!("{}: {error}", version.group_version)),
                }
            }
        }
    }
    (found, failures)
}

fn collect(found: &mut Vec<Deletable>, base: &str, group: &str, resources: &[APIResource]) {
    for resource in resources {
        let can = |verb: &str| resource.verbs.iter().any(|held| held == verb);
        if !resource.namespaced || resource.name.contains('/') || !can("list") || !can("delete") {
            continue;
        }
        // Events are served under two groups but are one set of objects.
        if group == "events.k8s.io" {
            continue;
        }
        let name = format!("{}.{group}", resource.name);
        found.push(Deletable {
            name,
            path: base.to_owned(),
            can_delete_collection: can("deletecollection"),
        });
    }
}

impl Deletable {
    fn url(&self, namespace: &str) -> String {
        let plural = self.name.split('.').next().unwrap_or(&self.name);
        format!("{}/namespaces/{namespace}/{plural}", self.path)
    }
}

/// Deletes all content; answers what is left.
pub async fn delete_all(client: &Client, namespace: &str) -> Outcome {
    let (mut resources, discovery_failures) = deletable(client).await;
    let mut outcome = Outcome {
        discovery_failures,
        ..Outcome::default()
    };
    // Pods first and alone: what they still run may depend on everything else, network policies above all.
    resources.sort_by_key(|resource| resource.name != PODS);
    for resource in resources {
        if outcome.remaining.contains_key(PODS) {
            break;
        }
        if let Err(error) = delete_resource(client, namespace, &resource, &mut outcome).await {
            outcome
                .deletion_failures
                .push(format!("{}: {error}", resource.name));
        }
    }
    outcome
}

#[derive(Clone, Debug, Deserialize)]
struct Names {
    #[serde(default)]
    items: Vec<PartialObjectMeta>,
    #[serde(default)]
    metadata: ListMeta,
}

async fn delete_resource(
    client: &Client,
    namespace: &str,
    resource: &Deletable,
    outcome: &mut Outcome,
) -> kube::Result<()> {
    let request = Request::new(resource.url(namespace));
    if list(client, &request).await?.items.is_empty() {
        return Ok(());
    }
    let params = DeleteParams::background();
    if resource.can_delete_collection {
        let delete = request
            .delete_collection(&params, &ListParams::default())
            .map_err(kube::Error::BuildRequest)?;
        client.request_text(delete).await?;
    } else {
        for object in list(client, &request).await?.items {
            let name = object.metadata.name.unwrap_or_default();
            let delete = request
                .delete(&name, &params)
                .map_err(kube::Error::BuildRequest)?;
            match client.request_text(delete).await {
                Err(error) if !control::write::is_not_found(&error) => return Err(error),
                _ => {}
            }
        }
    }
    let left = list(client, &request).await?;
    let count = left.items.len()
        + usize::try_from(left.metadata.remaining_item_count.unwrap_or(0)).unwrap_or(0);
    if count > 0 {
        outcome.remaining.insert(resource.name.clone(), count);
    }
    for finalizer in left
        .items
        .iter()
        .filter_map(|object| object.metadata.finalizers.as_ref())
        .flatten()
    {
        *outcome.held_by.entry(finalizer.clone()).or_default() += 1;
    }
    Ok(())
}

async fn list(client: &Client, request: &Request) -> kube::Result<Names> {
    let list = request
        .list_metadata(&ListParams::default().limit(500))
        .map_err(kube::Error::BuildRequest)?;
    client.request(list).await
}
