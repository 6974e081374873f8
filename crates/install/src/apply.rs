//! Applies objects one after another with server-side apply; says of each what happened to it. Fields that somebody
//! else owns are never taken silently: they are a conflict, with the names of field and owner.

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

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        })
    }
}

/// What to do about fields that somebody else owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflicts {
    /// Stop, and name them.
    Refuse,
    /// Take them.
    Force,
}

/// Applies `object`.
///
/// # Errors
/// [`Error::Conflict`] where somebody else owns fields of it, [`Error::Apply`] with any other answer of the API server.
pub async fn apply(
    client: &Client,
    object: &Value,
    conflicts: Conflicts,
) -> Result<Outcome, Error> {
    let what = describe(object);
    let failed = |source: kube::Error| match source {
        kube::Error::Api(status) if status.code == 409 => Error::Conflict {
            what: what.clone(),
            fields: conflicting_fields(&status),
        },
        source => Error::Apply {
            what: what.clone(),
            source: Box::new(source),
        },
    };
    let (api, name) = api_for(client, object).await.map_err(failed)?;
    let before = api.get_metadata_opt(&name).await.map_err(failed)?;
    let mut parameters = PatchParams::apply(FIELD_MANAGER);
    parameters.force = conflicts == Conflicts::Force;
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

/// Each field with its owner, as the API server lists them; its whole answer where it lists none.
fn conflicting_fields(status: &kube::core::Status) -> Vec<String> {
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let fields: Vec<String> = causes
        .filter(|cause| !cause.field.is_empty())
        .map(|cause| {
            let owner = cause
                .message
                .strip_prefix("conflict with ")
                .unwrap_or(&cause.message);
            format!("{} belongs to {owner}", cause.field)
        })
        .collect();
    if fields.is_empty() {
        return vec![status.message.clone()];
    }
    fields
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

/// `<kind>.<group>/<name>`, as kubectl prints it.
pub fn short_name(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kind = text(&object["kind"]).to_lowercase();
    let name = text(&object["metadata"]["name"]);
    match object["apiVersion"]
        .as_str()
        .and_then(|version| version.split_once('/'))
    {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

pub(crate) async fn api_for(
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_conflict_names_field_and_owner() {
        let status: kube::core::Status = serde_json::from_value(json!({
            "status": "Failure", "code": 409, "reason": "Conflict", "message": "Apply failed with 1 conflict",
            "details": {"causes": [{"reason": "FieldManagerConflict", "field": ".spec.replicas", "message": "conflict with \"kubectl\" using apps/v1"}]},
        }))
        .expect("a Status");
        assert_eq!(
            conflicting_fields(&status),
            [".spec.replicas belongs to \"kubectl\" using apps/v1"]
        );
    }

    #[test]
    fn names_read_as_kubectl_prints_them() {
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "a", "namespace": "n"}});
        assert_eq!(short_name(&role), "role.rbac.authorization.k8s.io/a");
        assert_eq!(describe(&role), "role/n/a");
    }
}
