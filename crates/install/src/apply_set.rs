//! Which objects belong to an installation, as kubectl's apply sets do: every member carries the label of the set, the
//! set itself is one object that lists the kinds and namespaces of its members. What was in the set and is wanted no
//! more is pruned; claims and namespaces hold what users made, and never are.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{Error, FIELD_MANAGER, apply};

/// The label that members carry.
pub const MEMBER: &str = "applyset.kubernetes.io/part-of";
const ID: &str = "applyset.kubernetes.io/id";
const KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";
const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";
const TOOLING: &str = "applyset.kubernetes.io/tooling";
/// Who writes sets, before its version.
const TOOL: &str = "kfctl/v";
/// Kinds that hold what users made.
const KEPT: [&str; 2] = ["PersistentVolumeClaim", "Namespace"];

/// The set of one installation: a ConfigMap of this name.
#[derive(Clone, Debug)]
pub struct ApplySet {
    name: String,
    namespace: String,
}

/// What the set's own object says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Contents {
    /// `Kind.group`.
    kinds: BTreeSet<String>,
    namespaces: BTreeSet<String>,
}

impl ApplySet {
    /// The set `name` in `namespace`.
    pub fn new(name: &str, namespace: &str) -> Self {
        Self {
            name: format!("ferroflow-{name}"),
            namespace: namespace.to_owned(),
        }
    }

    /// The value of the members' label: a digest of what the set's object is called.
    pub fn id(&self) -> String {
        let identity = format!("{}.{}.ConfigMap.", self.name, self.namespace);
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(identity));
        format!("applyset-{digest}-v1")
    }

    /// Makes `object` a member.
    pub fn adopt(&self, object: &mut Value) {
        object["metadata"]["labels"][MEMBER] = self.id().into();
    }

    /// Writes what the set is going to contain, together with what it contained: whoever is interrupted after this
    /// still finds everything. Needs the set's namespace.
    ///
    /// # Errors
    /// [`Error::Record`] when it cannot be read or written.
    pub async fn begin(&self, client: &Client, wanted: &[Value]) -> Result<(), Error> {
        let mut contents = self.read(client).await?;
        let new = Contents::of(wanted);
        contents.kinds.extend(new.kinds);
        contents.namespaces.extend(new.namespaces);
        self.write(client, &contents).await
    }

    /// Deletes members that are not among `wanted`, then writes what is left. Answers what was deleted.
    ///
    /// # Errors
    /// [`Error::Record`], [`Error::Delete`].
    pub async fn prune(&self, client: &Client, wanted: &[Value]) -> Result<Vec<String>, Error> {
        let keep: BTreeSet<String> = wanted.iter().map(key).collect();
        let mut pruned = Vec::new();
        for member in self.members(client).await? {
            let is_kept = KEPT.contains(&member["kind"].as_str().unwrap_or_default());
            if keep.contains(&key(&member)) || is_kept {
                continue;
            }
            delete(client, &member).await?;
            pruned.push(apply::describe(&member));
        }
        self.write(client, &Contents::of(wanted)).await?;
        Ok(pruned)
    }

    /// Every member that the cluster has.
    ///
    /// # Errors
    /// [`Error::Record`] when it cannot be listed.
    pub async fn members(&self, client: &Client) -> Result<Vec<Value>, Error> {
        let contents = self.read(client).await?;
        let failed = |error: kube::Error| Error::Record(Box::new(error));
        let selector = ListParams::default().labels(&format!("{MEMBER}={}", self.id()));
        let mut members = Vec::new();
        for kind in &contents.kinds {
            let Some((resource, _)) = find_kind(client, kind).await.map_err(failed)? else {
                continue;
            };
            let api = Api::<DynamicObject>::all_with(client.clone(), &resource);
            for object in api.list(&selector).await.map_err(failed)? {
                let mut object = serde_json::to_value(object).unwrap_or_default();
                object["apiVersion"] = resource.api_version.clone().into();
                object["kind"] = resource.kind.clone().into();
                members.push(object);
            }
        }
        Ok(members)
    }

    /// The version of `kfctl` that applied the set last, if any did.
    ///
    /// # Errors
    /// [`Error::Record`] when it cannot be read.
    pub async fn version(&self, client: &Client) -> Result<Option<String>, Error> {
        let annotations = self.annotations(client).await?;
        let tool = annotations.get(TOOLING).map(String::as_str);
        Ok(tool
            .and_then(|tool| tool.strip_prefix(TOOL))
            .map(str::to_owned))
    }

    /// Deletes the set's own object.
    ///
    /// # Errors
    /// [`Error::Record`] when it cannot be deleted.
    pub async fn forget(&self, client: &Client) -> Result<(), Error> {
        let api = Api::<ConfigMap>::namespaced(client.clone(), &self.namespace);
        match api.delete(&self.name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(Error::Record(Box::new(error))),
            Ok(_) => Ok(()),
        }
    }

    async fn annotations(&self, client: &Client) -> Result<BTreeMap<String, String>, Error> {
        let parent = Api::<ConfigMap>::namespaced(client.clone(), &self.namespace)
            .get_opt(&self.name)
            .await
            .map_err(|error| Error::Record(Box::new(error)))?;
        Ok(parent
            .and_then(|parent| parent.metadata.annotations)
            .unwrap_or_default())
    }

    async fn read(&self, client: &Client) -> Result<Contents, Error> {
        let annotations = self.annotations(client).await?;
        let list = |name: &str| {
            annotations
                .get(name)
                .map(|list| {
                    list.split(',')
                        .filter(|entry| !entry.is_empty())
                        .map(str::to_owned)
                        .collect()
                })
                .unwrap_or_default()
        };
        Ok(Contents {
            kinds: list(KINDS),
            namespaces: list(NAMESPACES),
        })
    }

    async fn write(&self, client: &Client, contents: &Contents) -> Result<(), Error> {
        let join = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(",");
        let others: BTreeSet<String> = contents
            .namespaces
            .iter()
            .filter(|namespace| **namespace != self.namespace)
            .cloned()
            .collect();
        let parent = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": self.name, "namespace": self.namespace,
                "labels": { ID: self.id() },
                "annotations": {
                    TOOLING: format!("{TOOL}{}", env!("CARGO_PKG_VERSION")),
                    KINDS: join(&contents.kinds),
                    NAMESPACES: join(&others),
                },
            },
        });
        Api::<ConfigMap>::namespaced(client.clone(), &self.namespace)
            .patch(
                &self.name,
                &PatchParams::apply(FIELD_MANAGER).force(),
                &Patch::Apply(&parent),
            )
            .await
            .map_err(|error| Error::Record(Box::new(error)))?;
        Ok(())
    }
}

impl Contents {
    fn of(objects: &[Value]) -> Self {
        let group = |object: &Value| {
            object["apiVersion"]
                .as_str()
                .and_then(|version| version.split_once('/'))
                .map(|(group, _)| format!(".{group}"))
                .unwrap_or_default()
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Self {
            kinds: objects
                .iter()
                .map(|object| format!("{}{}", text(&object["kind"]), group(object)))
                .collect(),
            namespaces: objects
                .iter()
                .filter_map(|object| object["metadata"]["namespace"].as_str())
                .map(str::to_owned)
                .collect(),
        }
    }
}

/// The newest version in which a `Kind.group` is served, or nothing where it no longer is.
async fn find_kind(
    client: &Client,
    kind: &str,
) -> Result<Option<(kube::core::ApiResource, kube::discovery::Scope)>, kube::Error> {
    let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
    let found = match group {
        "" => {
            let gvk = GroupVersionKind::gvk("", "v1", kind);
            match kube::discovery::pinned_kind(client, &gvk).await {
                Ok(found) => Some(found),
                Err(kube::Error::Discovery(_)) => None,
                Err(error) => return Err(error),
            }
        }
        group => match kube::discovery::group(client, group).await {
            Ok(group) => group.recommended_kind(kind),
            Err(kube::Error::Discovery(_)) => None,
            Err(error) => return Err(error),
        },
    };
    Ok(found.map(|(resource, capabilities)| (resource, capabilities.scope)))
}

/// Whether the object is (still) there.
///
/// # Errors
/// [`Error::Record`] when it cannot be looked for.
pub async fn exists(client: &Client, object: &Value) -> Result<bool, Error> {
    let look = async {
        let (api, name) = apply::api_for(client, object).await?;
        Ok(api.get_metadata_opt(&name).await?.is_some())
    };
    look.await
        .map_err(|error: kube::Error| Error::Record(Box::new(error)))
}

/// Deletes one object, and does not wait.
///
/// # Errors
/// [`Error::Delete`] with the API server's answer; one that is gone already is no error.
pub async fn delete(client: &Client, object: &Value) -> Result<(), Error> {
    let failed = |source: kube::Error| Error::Delete {
        what: apply::describe(object),
        source: Box::new(source),
    };
    let (api, name) = apply::api_for(client, object).await.map_err(failed)?;
    match api.delete(&name, &DeleteParams::background()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(_) => Ok(()),
    }
}

fn key(object: &Value) -> String {
    let group = object["apiVersion"]
        .as_str()
        .and_then(|version| version.split_once('/'))
        .map_or("", |(group, _)| group);
    format!("{group}/{}", apply::describe(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_known_by_what_its_object_is_called() {
        let set = ApplySet::new("kubeflow", "kubeflow");
        assert!(set.id().starts_with("applyset-") && set.id().ends_with("-v1"));
        assert_ne!(set.id(), ApplySet::new("other", "kubeflow").id());
        let mut object = json!({"metadata": {"name": "x"}});
        set.adopt(&mut object);
        assert_eq!(object["metadata"]["labels"][MEMBER], set.id().as_str());
    }

    #[test]
    fn contents_are_kinds_with_their_group_and_namespaces() {
        let contents = Contents::of(&[
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "a"}}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "b"}}),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}),
        ]);
        let kinds: Vec<&str> = contents.kinds.iter().map(String::as_str).collect();
        assert_eq!(kinds, ["Deployment.apps", "Namespace", "Service"]);
        assert_eq!(contents.namespaces.len(), 2);
    }

    #[test]
    fn versions_of_one_group_are_the_same_object() {
        let object =
            |version: &str| json!({"apiVersion": version, "kind": "X", "metadata": {"name": "n"}});
        assert_eq!(key(&object("g/v1")), key(&object("g/v2")));
        assert_ne!(key(&object("g/v1")), key(&object("h/v1")));
    }
}
