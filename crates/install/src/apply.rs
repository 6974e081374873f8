//! Applies objects one after another with server-side apply; says of each what happened to it.

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::discovery::{ApiResource, Scope};
use kube::{Api, Client};
use serde_json::Value;

use crate::{Error, FIELD_MANAGER};

/// What applying an object did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did not exist.
    Created,
    /// It was changed.
    Configured,
    /// It was as wanted.
    Unchanged,
}

/// Applies `object`.
///
/// # Errors
/// [`Error::Apply`] with the API server's answer.
pub async fn apply(client: &Client, object: &Value) -> Result<Outcome, Error> {
    let what = describe(object);
    let failed = |source: kube::Error| Error::Apply {
        what: what.clone(),
        source: Box::new(source),
    };
    let (api, name) = api_for(client, object).await.map_err(failed)?;
    let before = api.get_metadata_opt(&name).await.map_err(failed)?;
    let parameters = PatchParams::apply(FIELD_MANAGER);
    let after = api
        .patch(&name, &parameters, &Patch::Apply(object))
        .await
        .map_err(failed)?;
    Ok(match before {
        None => Outcome::Created,
        Some(before) if before.metadata.resource_version == after.metadata.resource_version => {
            Outcome::Unchanged
        }
        Some(_) => Outcome::Configured,
    })
}

/// `<kind>/<namespace>/<name>`, without the namespace where there is none.
pub fn describe(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, name) = (
        text(&object["kind"]).to_lowercase(),
        text(&object["metadata"]["name"]),
    );
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{kind}/{namespace}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

async fn api_for(
    client: &Client,
    object: &Value,
) -> Result<(Api<DynamicObject>, String), kube::Error> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (group, version) = match object["apiVersion"]
        .as_str()
        .unwrap_or_default()
        .split_once('/')
    {
        Some((group, version)) => (group.to_owned(), version.to_owned()),
        None => (String::new(), text(&object["apiVersion"])),
    };
    let gvk = kube::core::GroupVersionKind {
        group,
        version,
        kind: text(&object["kind"]),
    };
    let (resource, capabilities): (ApiResource, _) =
        kube::discovery::pinned_kind(client, &gvk).await?;
    let api = match (capabilities.scope, object["metadata"]["namespace"].as_str()) {
        (Scope::Namespaced, Some(namespace)) => {
            Api::namespaced_with(client.clone(), namespace, &resource)
        }
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), &resource),
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
    };
    Ok((api, text(&object["metadata"]["name"])))
}
