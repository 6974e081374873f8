//! Volumes after their claims: available, released, and deleted where their class says so.

use std::sync::Arc;

use control::{Key, write};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt;
use serde_json::json;

use super::LOCAL_PROVISIONER;
use super::binder::Context;
use super::provisioner::{self, PROVISIONED_BY};

/// What a volume needs next.
#[derive(Debug, PartialEq)]
pub enum Volume {
    /// Nothing.
    Keep,
    /// This phase.
    Phase(&'static str),
    /// To go, with its folder.
    Delete,
}

/// Plans for one volume.
pub fn plan_volume(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>) -> Volume {
    let spec = volume.spec.clone().unwrap_or_default();
    let phase = volume
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or_default();
    let Some(reference) = &spec.claim_ref else {
        return if phase == "Available" {
            Volume::Keep
        } else {
            Volume::Phase("Available")
        };
    };
    let Some(uid) = &reference.uid else {
        // Set aside for a claim that is not there yet.
        return if phase == "Available" {
            Volume::Keep
        } else {
            Volume::Phase("Available")
        };
    };
    if claim.is_some_and(|claim| claim.metadata.uid.as_ref() == Some(uid)) {
        return Volume::Keep;
    }
    let is_ours = volume
        .annotations()
        .get(PROVISIONED_BY)
        .is_some_and(|by| by == LOCAL_PROVISIONER);
    let deletes = spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete");
    if phase != "Released" && !(volume.metadata.deletion_timestamp.is_some() && is_ours) {
        return Volume::Phase("Released");
    }
    if deletes && is_ours {
        Volume::Delete
    } else {
        Volume::Keep
    }
}

/// Reconciles one volume.
pub async fn reconcile_volume(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let watches = &context.watches;
    let Some(volume) = watches.volumes.cache().get(&key) else {
        return Ok(None);
    };
    let reference = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.claim_ref.clone())
        .unwrap_or_default();
    let claim_key = Key::new(
        reference.namespace.unwrap_or_default(),
        reference.name.unwrap_or_default(),
    );
    let claim = watches.claims.cache().get(&claim_key);
    match plan_volume(&volume, claim.as_deref()) {
        Volume::Keep => {}
        Volume::Phase(phase) => {
            let patch = json!({"status": {"phase": phase}});
            let updated = context
                .writer
                .patch_status::<PersistentVolume>(&key, patch)
                .await?;
            watches.volumes.note(updated);
        }
        Volume::Delete => delete(&context, &volume).await?,
    }
    Ok(None)
}

/// Removes the folder, then the object: a crash in between leaves an object that is tried again, never a lost folder.
async fn delete(context: &Context, volume: &PersistentVolume) -> kube::Result<()> {
    let path = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.host_path.as_ref())
        .map(|path| path.path.clone());
    if let (Some(base), Some(path)) = (&context.base, path)
        && let Err(error) = provisioner::delete_folder(base, std::path::Path::new(&path)).await
    {
        let message = format!("volume could not be deleted: {error}");
        context
            .recorder
            .warning(volume, "VolumeFailedDelete", message.clone());
        let patch = json!({"status": {"phase": "Failed", "message": message}});
        let updated = context
            .writer
            .patch_status::<PersistentVolume>(&Key::of(volume), patch)
            .await?;
        context.watches.volumes.note(updated);
        return Ok(());
    }
    match context.writer.delete(volume, None).await? {
        Some(write::Deleted::Going(held)) => {
            context.watches.volumes.note(*held);
        }
        Some(write::Deleted::Gone) | None => context.watches.volumes.note_gone(volume.clone()),
    }
    Ok(())
}
