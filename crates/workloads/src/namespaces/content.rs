//! Deletes everything in a namespace, whatever kinds the server has, and counts what is still there.

use std::collections::BTreeMap;

use kube::Client;
use kube::api::{DeleteParams, ListParams};
use kube::core::{ObjectList, PartialObjectMeta, Request};

use crate::discovery::{self, Resource};

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

/// A resource as [`Outcome::remaining`] names it.
fn name_of(resource: &Resource) -> String {
    format!("{}.{}", resource.api.plural, resource.api.group)
}

/// Deletes all content; answers what is left.
pub async fn delete_all(client: &Client, namespace: &str) -> Outcome {
    let (mut resources, discovery_failures) = discovery::discover(client).await;
    resources.retain(|resource| {
        resource.is_namespaced && resource.can("list") && resource.can("delete")
    });
    let mut outcome = Outcome {
        discovery_failures,
        ..Outcome::default()
    };
    // Pods first and alone: what they still run may depend on everything else, network policies above all.
    resources.sort_by_key(|resource| name_of(resource) != PODS);
    for resource in resources {
        if outcome.remaining.contains_key(PODS) {
            break;
        }
        if let Err(error) = delete_resource(client, namespace, &resource, &mut outcome).await {
            outcome
                .deletion_failures
                .push(format!("{}: {error}", name_of(&resource)));
        }
    }
    outcome
}

/// What is in a namespace, by name. Go's servers say `null` where there is nothing, which this type reads as such.
type Names = ObjectList<PartialObjectMeta>;

async fn delete_resource(
    client: &Client,
    namespace: &str,
    resource: &Resource,
    outcome: &mut Outcome,
) -> kube::Result<()> {
    let request = Request::new(resource.path(namespace));
    if list(client, &request).await?.items.is_empty() {
        return Ok(());
    }
    let params = DeleteParams::background();
    if resource.can("deletecollection") {
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
        outcome.remaining.insert(name_of(resource), count);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_says_null_is_empty() {
        let text = r#"{"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "7"}, "items": null}"#;
        let names: Names = serde_json::from_str(text).expect("a list");
        assert!(names.items.is_empty());
    }
}
