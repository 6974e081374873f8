//! The writes controllers make: JSON bodies and patches, so that fields unknown to our types survive.

use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions, PropagationPolicy};
use kube::core::Request;
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::Key;

/// Writes under one identity and one field manager.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    manager: &'static str,
}

impl Writer {
    /// A writer whose changes are recorded under `manager` in managed fields.
    pub fn new(client: Client, manager: &'static str) -> Self {
        Self { client, manager }
    }

    /// The client underneath.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn request<K>(&self, namespace: &str) -> Request
    where
        K: Resource,
        K::DynamicType: Default,
    {
        let namespace = (!namespace.is_empty()).then_some(namespace);
        Request::new(K::url_path(&K::DynamicType::default(), namespace))
    }

    fn patch_params(&self) -> PatchParams {
        PatchParams {
            field_manager: Some(self.manager.to_owned()),
            ..PatchParams::default()
        }
    }

    /// Creates an object; its kind is filled in.
    pub async fn create<K>(&self, namespace: &str, mut body: Value) -> kube::Result<K>
    where
        K: Resource + DeserializeOwned + Clone + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let kind = K::DynamicType::default();
        body["apiVersion"] = K::api_version(&kind).into();
        body["kind"] = K::kind(&kind).into();
        let bytes = serde_json::to_vec(&body).map_err(kube::Error::SerdeError)?;
        let params = PostParams {
            field_manager: Some(self.manager.to_owned()),
            ..PostParams::default()
        };
        let request = self
            .request::<K>(namespace)
            .create(&params, bytes)
            .map_err(kube::Error::BuildRequest)?;
        self.client.request(request).await
    }

    /// Creates something below an object, such as a pod's binding.
    pub async fn create_subresource<K>(
        &self,
        key: &Key,
        subresource: &str,
        body: &Value,
    ) -> kube::Result<Value>
    where
        K: Resource,
        K::DynamicType: Default,
    {
        let bytes = serde_json::to_vec(body).map_err(kube::Error::SerdeError)?;
        let params = PostParams {
            field_manager: Some(self.manager.to_owned()),
            ..PostParams::default()
        };
        let request = self
            .request::<K>(&key.namespace)
            .create_subresource(subresource, &key.name, &params, bytes)
            .map_err(kube::Error::BuildRequest)?;
        self.client.request(request).await
    }

    /// Changes an object by a JSON merge patch (an object) or a JSON patch (an array).
    pub async fn patch<K>(&self, key: &Key, patch: Value) -> kube::Result<K>
    where
        K: Resource + DeserializeOwned + Clone + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let is_json_patch = patch.is_array();
        let mut request = self
            .request::<K>(&key.namespace)
            .patch(&key.name, &self.patch_params(), &Patch::Merge(patch))
            .map_err(kube::Error::BuildRequest)?;
        if is_json_patch {
            let content_type = "application/json-patch+json"
                .parse()
                .expect("a media type is a header value");
            request.headers_mut().insert("content-type", content_type);
        }
        self.client.request(request).await
    }

    /// Changes an object's status by a JSON merge patch.
    pub async fn patch_status<K>(&self, key: &Key, patch: Value) -> kube::Result<K>
    where
        K: Resource + DeserializeOwned + Clone + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let request = self
            .request::<K>(&key.namespace)
            .patch_subresource(
                "status",
                &key.name,
                &self.patch_params(),
                &Patch::Merge(patch),
            )
            .map_err(kube::Error::BuildRequest)?;
        self.client.request(request).await
    }

    /// Changes an object's status by a strategic merge patch: list entries with the keys given are changed or added, the
    /// others stay. Only for built-in kinds.
    pub async fn patch_status_by_key<K>(&self, key: &Key, patch: Value) -> kube::Result<K>
    where
        K: Resource + DeserializeOwned + Clone + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let request = self
            .request::<K>(&key.namespace)
            .patch_subresource(
                "status",
                &key.name,
                &self.patch_params(),
                &Patch::Strategic(patch),
            )
            .map_err(kube::Error::BuildRequest)?;
        self.client.request(request).await
    }

    /// Deletes exactly this object, not a successor of the same name. `None` if it was gone already; otherwise its
    /// state while it goes, where the server tells.
    pub async fn delete<K>(
        &self,
        object: &K,
        policy: Option<PropagationPolicy>,
    ) -> kube::Result<Option<Deleted<K>>>
    where
        K: Resource + DeserializeOwned + Clone + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let params = DeleteParams {
            propagation_policy: policy,
            preconditions: Some(Preconditions {
                uid: object.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        self.delete_with(object, &params).await
    }

    /// Deletes an object with these parameters.
    pub async fn delete_with<K>(
        &self,
        object: &K,
        params: &DeleteParams,
    ) -> kube::Result<Option<Deleted<K>>>
    where
        K: Resource + DeserializeOwned + Clone + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let key = Key::of(object);
        let request = self
            .request::<K>(&key.namespace)
            .delete(&key.name, params)
            .map_err(kube::Error::BuildRequest)?;
        match self.client.request_status::<K>(request).await {
            Ok(answer) => Ok(Some(match answer.left() {
                Some(held) if held.meta().deletion_timestamp.is_some() => {
                    Deleted::Going(Box::new(held))
                }
                _ => Deleted::Gone,
            })),
            Err(error) if is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What a deletion came to.
#[derive(Debug)]
pub enum Deleted<K> {
    /// It is gone.
    Gone,
    /// It waits for a grace period or a finalizer.
    Going(Box<K>),
}

/// Whether the object does not exist.
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// Whether the object changed under us, or one of that name exists.
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Whether an object of that name exists.
pub fn is_already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_already_exists())
}

/// Whether the namespace takes nothing new because it is being deleted.
pub fn is_namespace_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    status.details.as_ref().is_some_and(|details| {
        details
            .causes
            .iter()
            .any(|cause| cause.reason == "NamespaceTerminating")
    })
}

/// The JSON merge patch that turns `old` into `new`; `None` if they are equal.
pub fn merge_diff(old: &Value, new: &Value) -> Option<Value> {
    let (Value::Object(old_fields), Value::Object(new_fields)) = (old, new) else {
        return (old != new).then(|| new.clone());
    };
    let mut patch = Map::new();
    for name in old_fields
        .keys()
        .filter(|name| !new_fields.contains_key(*name))
    {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in new_fields {
        match old_fields.get(name) {
            Some(held) => {
                if let Some(change) = merge_diff(held, value) {
                    patch.insert(name.clone(), change);
                }
            }
            None => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_went_is_nulled_and_an_equal_one_left_out() {
        let old = json!({"a": 1, "b": {"c": 1, "d": 2}, "e": [1]});
        let new = json!({"b": {"c": 1, "d": 3}, "e": [1]});
        assert_eq!(
            merge_diff(&old, &new),
            Some(json!({"a": null, "b": {"d": 3}}))
        );
        assert_eq!(merge_diff(&old, &old), None);
    }
}
