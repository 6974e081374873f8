//! Binds claims to volumes, and has the local provisioner make what is missing.

use std::sync::Arc;

use control::{Controller, Key, Queue, Recorder, Writer, write};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::provisioner;
use super::reclaim::reconcile_volume;
use super::{LOCAL_PROVISIONER, matching};
use crate::scheduler::{SELECTED_NODE, waits_for_consumer};
use crate::setup::Setup;
use crate::watches::{BY_CLAIM, Watches, index_value};

const IDENTITY: &str = "persistent-volume-binder";
const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// Annotation of a claim: who makes its volume.
pub const STORAGE_PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
const STORAGE_PROVISIONER_OLD: &str = "volume.beta.kubernetes.io/storage-provisioner";

/// What binding and reclaiming need.
pub struct Context {
    /// Shared watches.
    pub watches: Arc<Watches>,
    /// Writes as the binder.
    pub writer: Writer,
    /// Records as the binder.
    pub recorder: Recorder,
    /// Folder of the local provisioner.
    pub base: Option<std::path::PathBuf>,
}

/// Starts the binder of claims and of volumes.
pub fn start(setup: &mut Setup) {
    let watches = setup.watches.clone();
    let claims = Arc::new(Queue::default());
    let volumes = Arc::new(Queue::default());

    let (wake, wake_volume) = (claims.clone(), volumes.clone());
    watches.claims.on_change(move |change| {
        let claim = change.latest();
        wake.add(Key::of(claim.as_ref()));
        if let Some(volume) = claim
            .spec
            .as_ref()
            .and_then(|spec| spec.volume_name.as_ref())
        {
            wake_volume.add(Key::cluster(volume));
        }
        if change.new.is_none() {
            wake_volume.add(Key::cluster(provisioner::volume_name(claim)));
        }
    });
    let (wake, wake_volume, held) = (claims.clone(), volumes.clone(), watches.claims.clone());
    watches.volumes.on_change(move |change| {
        let volume = change.latest();
        wake_volume.add(Key::of(volume.as_ref()));
        match volume
            .spec
            .as_ref()
            .and_then(|spec| spec.claim_ref.as_ref())
        {
            Some(claim) => wake.add(Key::new(
                claim.namespace.clone().unwrap_or_default(),
                claim.name.clone().unwrap_or_default(),
            )),
            // A free volume may be what a waiting claim needs.
            None => {
                for claim in held
                    .cache()
                    .list()
                    .iter()
                    .filter(|claim| !is_tied_to_volume(claim))
                {
                    wake.add(Key::of(claim.as_ref()));
                }
            }
        }
    });
    let (wake, held) = (claims.clone(), watches.claims.clone());
    watches.storage_classes.on_change(move |_| {
        for claim in held
            .cache()
            .list()
            .iter()
            .filter(|claim| !is_tied_to_volume(claim))
        {
            wake.add(Key::of(claim.as_ref()));
        }
    });

    let context = Arc::new(Context {
        writer: setup.writer(IDENTITY),
        recorder: Recorder::new(setup.client(IDENTITY), "persistentvolume-controller"),
        watches: watches.clone(),
        base: setup.config.volumes_dir.clone(),
    });
    let for_claims = Controller {
        name: "persistentvolumeclaim",
        queue: claims,
        workers: 2,
        metrics: setup.metrics.clone(),
    };
    let for_volumes = Controller {
        name: "persistentvolume",
        queue: volumes,
        workers: 2,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("persistentvolume-binder", async move {
        watches.claims.synced().await;
        watches.volumes.synced().await;
        watches.storage_classes.synced().await;
        watches.pods.synced().await;
        let of_volumes = context.clone();
        tokio::join!(
            for_claims.run(shutdown.clone(), move |key| reconcile_claim(
                key,
                context.clone()
            )),
            for_volumes.run(shutdown, move |key| reconcile_volume(
                key,
                of_volumes.clone()
            )),
        );
    });
}

fn is_tied_to_volume(claim: &PersistentVolumeClaim) -> bool {
    claim
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_name.as_ref())
        .is_some_and(|name| !name.is_empty())
}

/// What a claim needs next.
#[derive(Debug, PartialEq)]
enum Claim {
    /// Nothing.
    Settled,
    /// To be tied to this volume.
    Bind(Arc<PersistentVolume>),
    /// A volume of its own, on this node if it matters where.
    Provision(Option<String>),
    /// To be named to a provisioner outside of here.
    Announce,
    /// To wait, for this reason and in these words.
    Wait(&'static str, String),
    /// Its volume is gone for good.
    Lost,
}

/// What the plan for a claim depends on besides the claim.
struct Surroundings<'a> {
    /// The volume of a name.
    named: &'a (dyn Fn(&str) -> Option<Arc<PersistentVolume>> + Sync),
    /// All volumes; asked for only where one has to be found.
    volumes: &'a (dyn Fn() -> Vec<Arc<PersistentVolume>> + Sync),
    class: Option<&'a StorageClass>,
    is_used: bool,
    provisions: bool,
}

fn plan(claim: &PersistentVolumeClaim, around: &Surroundings<'_>) -> Claim {
    let named = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_name.as_deref())
        .filter(|name| !name.is_empty());
    let is_complete = claim.annotations().contains_key(BIND_COMPLETED);
    if let Some(name) = named {
        let volume = (around.named)(name);
        return match volume {
            Some(volume) if matching::is_tied(&volume, claim) => {
                let phase = |status: Option<&String>| status.is_some_and(|phase| phase == "Bound");
                let bound = phase(
                    claim
                        .status
                        .as_ref()
                        .and_then(|status| status.phase.as_ref()),
                ) && phase(
                    volume
                        .status
                        .as_ref()
                        .and_then(|status| status.phase.as_ref()),
                );
                if bound && is_complete {
                    Claim::Settled
                } else {
                    Claim::Bind(volume)
                }
            }
            Some(volume)
                if volume
                    .spec
                    .as_ref()
                    .is_some_and(|spec| spec.claim_ref.is_none()) =>
            {
                Claim::Bind(volume)
            }
            Some(_) if is_complete => Claim::Lost,
            Some(_) => Claim::Wait(
                "FailedBinding",
                format!("volume \"{name}\" already bound to a different claim."),
            ),
            None if is_complete => Claim::Lost,
            None => Claim::Wait(
                "FailedBinding",
                format!("volume \"{name}\" does not exist."),
            ),
        };
    }
    let node = claim.annotations().get(SELECTED_NODE).cloned();
    let waits = around.class.is_some_and(waits_for_consumer) && node.is_none();
    let volumes = (around.volumes)();
    let found = matching::best(&volumes, claim);
    if let Some(volume) = found
        && (!waits || matching::is_tied(volume, claim))
    {
        return Claim::Bind(volume.clone());
    }
    if waits {
        let message = "waiting for first consumer to be created before binding".to_owned();
        return if around.is_used {
            // A pod is there; the scheduler chooses the node.
            Claim::Settled
        } else {
            Claim::Wait("WaitForFirstConsumer", message)
        };
    }
    match around.class {
        Some(class) if class.provisioner == LOCAL_PROVISIONER && around.provisions => {
            Claim::Provision(node)
        }
        Some(class) if class.provisioner == "kubernetes.io/no-provisioner" => Claim::Wait(
            "FailedBinding",
            "no persistent volumes available for this claim and no storage class is set".to_owned(),
        ),
        Some(class) => {
            if claim
                .annotations()
                .get(STORAGE_PROVISIONER)
                .is_some_and(|held| *held == class.provisioner)
            {
                let by = &class.provisioner;
                Claim::Wait(
                    "ExternalProvisioning",
                    format!(
                        "Waiting for a volume to be created either by the external provisioner '{by}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
                    ),
                )
            } else {
                Claim::Announce
            }
        }
        None if matching::claim_class(claim).is_empty() => Claim::Wait(
            "FailedBinding",
            "no persistent volumes available for this claim and no storage class is set".to_owned(),
        ),
        None => {
            let class = matching::claim_class(claim);
            Claim::Wait(
                "ProvisioningFailed",
                format!("storageclass.storage.k8s.io \"{class}\" not found"),
            )
        }
    }
}

async fn reconcile_claim(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let watches = &context.watches;
    let Some(claim) = watches.claims.cache().get(&key) else {
        return Ok(None);
    };
    if claim.metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    let class = watches
        .storage_classes
        .cache()
        .find("", matching::claim_class(&claim));
    let used = watches
        .pods
        .cache()
        .count(BY_CLAIM, &index_value(Some(&key.namespace), &key.name))
        > 0;
    let around = Surroundings {
        named: &|name| watches.volumes.cache().find("", name),
        volumes: &|| watches.volumes.cache().list(),
        class: class.as_deref(),
        is_used: used,
        provisions: context.base.is_some(),
    };
    match plan(&claim, &around) {
        Claim::Settled => {}
        Claim::Bind(volume) => bind(&context, &claim, &volume).await?,
        Claim::Provision(node) => {
            if let Some(class) = &class {
                provision(&context, &claim, class, node.as_deref()).await?;
            }
        }
        Claim::Announce => {
            if let Some(class) = &class {
                announce(&context, &claim, &class.provisioner).await?;
            }
        }
        Claim::Wait(reason, message) => {
            pending(&context, &claim).await?;
            context.recorder.normal(claim.as_ref(), reason, message);
        }
        Claim::Lost => {
            let is_lost = claim
                .status
                .as_ref()
                .and_then(|status| status.phase.as_deref())
                == Some("Lost");
            if !is_lost {
                set_claim_phase(&context, &claim, json!({"phase": "Lost"})).await?;
                let message =
                    "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
                context
                    .recorder
                    .warning(claim.as_ref(), "ClaimLost", message);
            }
        }
    }
    Ok(None)
}

async fn pending(context: &Context, claim: &PersistentVolumeClaim) -> kube::Result<()> {
    if claim
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        == Some("Pending")
    {
        return Ok(());
    }
    set_claim_phase(context, claim, json!({"phase": "Pending"})).await
}

async fn set_claim_phase(
    context: &Context,
    claim: &PersistentVolumeClaim,
    status: Value,
) -> kube::Result<()> {
    let patch = json!({"metadata": {"uid": claim.uid()}, "status": status});
    let updated = context
        .writer
        .patch_status::<PersistentVolumeClaim>(&Key::of(claim), patch)
        .await?;
    context.watches.claims.note(updated);
    Ok(())
}

async fn announce(
    context: &Context,
    claim: &PersistentVolumeClaim,
    provisioner: &str,
) -> kube::Result<()> {
    let notes = json!({STORAGE_PROVISIONER: provisioner, STORAGE_PROVISIONER_OLD: provisioner});
    let patch = json!({"metadata": {"uid": claim.uid(), "annotations": notes}});
    let updated = context
        .writer
        .patch::<PersistentVolumeClaim>(&Key::of(claim), patch)
        .await?;
    context.watches.claims.note(updated);
    Ok(())
}

/// Makes the volume; binding follows when it is seen.
async fn provision(
    context: &Context,
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    node: Option<&str>,
) -> kube::Result<()> {
    let Some(base) = &context.base else {
        return Ok(());
    };
    let body = provisioner::volume(claim, class, base, node);
    let name = provisioner::volume_name(claim);
    announce(context, claim, LOCAL_PROVISIONER).await?;
    match context.writer.create::<PersistentVolume>("", body).await {
        Ok(volume) => {
            context.watches.volumes.note(volume);
            let message = format!("Successfully provisioned volume {name}");
            context
                .recorder
                .normal(claim, "ProvisioningSucceeded", message);
            Ok(())
        }
        Err(error) if write::is_already_exists(&error) => Ok(()),
        Err(error) => {
            let message = format!("Failed to provision volume: {}", objects::chain(&error));
            context
                .recorder
                .warning(claim, "ProvisioningFailed", message);
            Err(error)
        }
    }
}

/// Ties volume and claim to each other, the volume first so that no two claims can have it.
async fn bind(
    context: &Context,
    claim: &PersistentVolumeClaim,
    volume: &PersistentVolume,
) -> kube::Result<()> {
    let key = Key::of(claim);
    let volume_key = Key::of(volume);
    if let Some(patch) = volume_patch(claim, volume) {
        let updated = context
            .writer
            .patch::<PersistentVolume>(&volume_key, patch)
            .await?;
        context.watches.volumes.note(updated);
    }
    if volume
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        != Some("Bound")
    {
        let patch = json!({"status": {"phase": "Bound"}});
        let updated = context
            .writer
            .patch_status::<PersistentVolume>(&volume_key, patch)
            .await?;
        context.watches.volumes.note(updated);
    }
    let is_complete = claim.annotations().contains_key(BIND_COMPLETED) && is_tied_to_volume(claim);
    if !is_complete {
        let mut notes = json!({BIND_COMPLETED: "yes"});
        if !is_tied_to_volume(claim) {
            notes[BOUND_BY_CONTROLLER] = "yes".into();
        }
        let patch = json!({
            "metadata": {"uid": claim.uid(), "annotations": notes},
            "spec": {"volumeName": volume.name_any()},
        });
        let updated = context
            .writer
            .patch::<PersistentVolumeClaim>(&key, patch)
            .await?;
        context.watches.claims.note(updated);
    }
    let spec = volume.spec.as_ref();
    let status = json!({
        "phase": "Bound",
        "accessModes": spec.and_then(|spec| spec.access_modes.clone()),
        "capacity": spec.and_then(|spec| spec.capacity.clone()),
    });
    set_claim_phase(context, claim, status).await
}

fn volume_patch(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Option<Value> {
    let reference = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.claim_ref.as_ref());
    if reference.is_some_and(|reference| reference.uid.is_some() && reference.uid == claim.uid()) {
        return None;
    }
    let mut patch = json!({
        "metadata": {"uid": volume.uid(), "resourceVersion": volume.resource_version()},
        "spec": {"claimRef": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": claim.namespace(),
            "name": claim.name_any(),
            "uid": claim.uid(),
            "resourceVersion": claim.resource_version(),
        }},
    });
    if reference.is_none() {
        patch["metadata"]["annotations"] = json!({BOUND_BY_CONTROLLER: "yes"});
    }
    Some(patch)
}

#[cfg(test)]
#[path = "binder_tests.rs"]
mod tests;
