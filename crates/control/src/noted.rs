//! Writes whose answers go straight into the shared watch, so that nobody acts on what was true before.

use std::fmt::Debug;
use std::sync::Arc;

use kube::api::PropagationPolicy;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::write::{self, Deleted, Writer};
use crate::{Informer, Key};

/// Changes an object by a merge or JSON patch; `None` if it is gone.
pub async fn patch<K>(
    writer: &Writer,
    informer: &Informer<K>,
    key: &Key,
    patch: Value,
) -> kube::Result<Option<K>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default,
{
    settle(informer, writer.patch::<K>(key, patch).await)
}

/// Publishes a status by a merge patch of what differs; does nothing if nothing does.
pub async fn publish<K, S>(
    writer: &Writer,
    informer: &Informer<K>,
    object: &K,
    held: Option<&S>,
    status: &S,
) -> kube::Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default,
    S: Serialize,
{
    let precondition = json!({"uid": object.uid()});
    publish_if(writer, informer, object, precondition, held, status).await
}

/// As [`publish`], but refused with a conflict if the object is no longer the one the status was made from.
pub async fn publish_unless_changed<K, S>(
    writer: &Writer,
    informer: &Informer<K>,
    object: &K,
    held: Option<&S>,
    status: &S,
) -> kube::Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default,
    S: Serialize,
{
    let precondition = json!({"uid": object.uid(), "resourceVersion": object.resource_version()});
    publish_if(writer, informer, object, precondition, held, status).await
}

async fn publish_if<K, S>(
    writer: &Writer,
    informer: &Informer<K>,
    object: &K,
    precondition: Value,
    held: Option<&S>,
    status: &S,
) -> kube::Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default,
    S: Serialize,
{
    let held = held.map_or_else(|| json!({}), |held| json!(held));
    let Some(change) = write::merge_diff(&held, &json!(status)) else {
        return Ok(());
    };
    let patch = json!({"metadata": precondition, "status": change});
    settle(
        informer,
        writer.patch_status::<K>(&Key::of(object), patch).await,
    )
    .map(|_| ())
}

/// Deletes exactly this object; answers whether it is still there, waiting for its grace or a finalizer.
pub async fn delete<K>(
    writer: &Writer,
    informer: &Informer<K>,
    object: &Arc<K>,
    policy: Option<PropagationPolicy>,
) -> kube::Result<bool>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default,
{
    match writer.delete(object.as_ref(), policy).await? {
        Some(Deleted::Going(held)) => {
            informer.note(*held);
            Ok(true)
        }
        Some(Deleted::Gone) | None => {
            informer.note_gone(object.as_ref().clone());
            Ok(false)
        }
    }
}

fn settle<K>(informer: &Informer<K>, written: kube::Result<K>) -> kube::Result<Option<K>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default,
{
    match written {
        Ok(object) => {
            // An object that only waited for this change is gone with it.
            let is_gone = object.meta().deletion_timestamp.is_some()
                && object.finalizers().is_empty()
                && object.meta().deletion_grace_period_seconds == Some(0);
            if !is_gone {
                informer.note(object.clone());
            }
            Ok(Some(object))
        }
        Err(error) if write::is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
