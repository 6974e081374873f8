//! The local provisioner on one node of a cluster that has controllers of its own: those bind claims and choose nodes,
//! this one makes the folder and the volume for each claim that was given to its node, and removes both afterwards.
//! The protocol is that of external provisioners: annotations on the claim say who provisions and where.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use control::metrics::Metrics;
use control::{Controller, Informer, Key, Queue, Recorder, Writer, write};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{Api, Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::NODE_PROVISIONER;
use super::binder::STORAGE_PROVISIONER;
use super::provisioner::{self, PROVISIONED_BY};
use crate::scheduler::SELECTED_NODE;

/// Field manager, and source of events.
const MANAGER: &str = "ferroflow-local-storage";

/// Where the volumes of one node are.
#[derive(Clone, Debug)]
pub struct Place {
    /// Name of the node.
    pub node: String,
    /// Folder on it below which volumes are made, under the same path inside and outside of the pod.
    pub base: PathBuf,
}

struct Context {
    place: Place,
    client: Client,
    writer: Writer,
    recorder: Recorder,
    claims: Arc<Informer<PersistentVolumeClaim>>,
    volumes: Arc<Informer<PersistentVolume>>,
}

/// Works until shut down; `ready` is called when everything has been seen once.
pub async fn provide(
    client: Client,
    place: Place,
    shutdown: CancellationToken,
    ready: impl FnOnce(),
) {
    let context = Arc::new(Context {
        writer: Writer::new(client.clone(), MANAGER),
        recorder: Recorder::new(client.clone(), MANAGER),
        claims: Informer::new(Vec::new()),
        volumes: Informer::new(Vec::new()),
        client,
        place,
    });
    let (for_claims, for_volumes) = (Arc::new(Queue::default()), Arc::new(Queue::default()));
    let wake = for_claims.clone();
    context
        .claims
        .on_change(move |change| wake.add(Key::of(change.latest().as_ref())));
    let wake = for_volumes.clone();
    context
        .volumes
        .on_change(move |change| wake.add(Key::of(change.latest().as_ref())));
    let controller = |name, queue| Controller {
        name,
        queue,
        workers: 2,
        metrics: Arc::new(Metrics::default()),
    };
    let (of_claims, of_volumes) = (context.clone(), context.clone());
    let work = async {
        context.claims.synced().await;
        context.volumes.synced().await;
        ready();
        tokio::join!(
            controller("local-storage-claims", for_claims)
                .run(shutdown.clone(), move |key| make(key, of_claims.clone())),
            controller("local-storage-volumes", for_volumes)
                .run(shutdown.clone(), move |key| remove(key, of_volumes.clone())),
        );
    };
    let watching = async {
        tokio::join!(
            context
                .claims
                .clone()
                .run(Api::all(context.client.clone()), shutdown.clone()),
            context
                .volumes
                .clone()
                .run(Api::all(context.client.clone()), shutdown.clone()),
        );
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(watching, work) } => {}
        () = shutdown.cancelled() => {}
    }
}

/// Whether the claim waits for a volume on this node.
fn is_wanted_here(claim: &PersistentVolumeClaim, node: &str) -> bool {
    let says = |key: &str| claim.annotations().get(key).map(String::as_str);
    let is_bound = claim
        .spec
        .as_ref()
        .is_some_and(|spec| spec.volume_name.is_some());
    !is_bound
        && claim.metadata.deletion_timestamp.is_none()
        && says(STORAGE_PROVISIONER) == Some(NODE_PROVISIONER)
        && says(SELECTED_NODE) == Some(node)
}

/// Whether the volume was made on this node and nobody needs it any more.
fn is_to_go(volume: &PersistentVolume, place: &Place) -> bool {
    let is_ours = volume
        .annotations()
        .get(PROVISIONED_BY)
        .is_some_and(|by| by == NODE_PROVISIONER);
    let spec = volume.spec.clone().unwrap_or_default();
    let released = volume
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        == Some("Released");
    is_ours
        && released
        && spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete")
        && node_of(volume).as_deref() == Some(place.node.as_str())
}

fn node_of(volume: &PersistentVolume) -> Option<String> {
    let affinity = volume.spec.as_ref()?.node_affinity.as_ref()?;
    let term = affinity.required.as_ref()?.node_selector_terms.first()?;
    term.match_expressions
        .as_ref()?
        .first()?
        .values
        .as_ref()?
        .first()
        .cloned()
}

async fn make(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let Some(claim) = context
        .claims
        .cache()
        .get(&key)
        .filter(|claim| is_wanted_here(claim, &context.place.node))
    else {
        return Ok(None);
    };
    let class = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.storage_class_name.clone())
        .unwrap_or_default();
    let class = Api::<StorageClass>::all(context.client.clone())
        .get(&class)
        .await?;
    let name = provisioner::volume_name(&claim);
    if context.volumes.cache().get(&Key::cluster(&name)).is_some() {
        return Ok(None);
    }
    let place = &context.place;
    if let Err(error) = make_folder(&place.base, &provisioner::folder(&place.base, &claim)) {
        let message = format!("the folder of the volume could not be made: {error}");
        context
            .recorder
            .warning(claim.as_ref(), "ProvisioningFailed", message);
        return Err(kube::Error::Service(Box::new(error)));
    }
    let body = provisioner::volume(&claim, &class, &place.base, Some(&place.node));
    match context.writer.create::<PersistentVolume>("", body).await {
        Ok(_) => context.recorder.normal(
            claim.as_ref(),
            "ProvisioningSucceeded",
            format!("Successfully provisioned volume {name}"),
        ),
        Err(error) if write::is_already_exists(&error) => {}
        Err(error) => {
            let message = format!("Failed to provision volume: {}", objects::chain(&error));
            context
                .recorder
                .warning(claim.as_ref(), "ProvisioningFailed", message);
            return Err(error);
        }
    }
    Ok(None)
}

/// Every user may write into it, as pods run as whom they like; only root may list its siblings.
fn make_folder(base: &Path, folder: &Path) -> std::io::Result<()> {
    if !base.is_dir() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o711)
            .create(base)?;
    }
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777))
}

/// Removes the folder, then the object: a crash in between leaves an object that is tried again, never a lost folder.
async fn remove(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let Some(volume) = context
        .volumes
        .cache()
        .get(&key)
        .filter(|volume| is_to_go(volume, &context.place))
    else {
        return Ok(None);
    };
    let path = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.host_path.as_ref())
        .map(|path| PathBuf::from(&path.path))
        .unwrap_or_default();
    if let Err(error) = provisioner::delete_folder(&context.place.base, &path).await {
        let message = format!("volume could not be deleted: {error}");
        context
            .recorder
            .warning(volume.as_ref(), "VolumeFailedDelete", message);
        return Err(kube::Error::Service(Box::new(error)));
    }
    context.writer.delete(volume.as_ref(), None).await?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim(annotations: serde_json::Value) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": {"name": "data", "namespace": "ns", "uid": "u1", "annotations": annotations},
            "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "ferroflow-local"},
        }))
        .expect("a claim")
    }

    fn class() -> StorageClass {
        serde_json::from_value(
            json!({"metadata": {"name": "ferroflow-local"}, "provisioner": NODE_PROVISIONER}),
        )
        .expect("a class")
    }

    #[test]
    fn a_claim_is_served_by_the_node_that_the_scheduler_chose_and_by_no_other() {
        let given = claim(json!({STORAGE_PROVISIONER: NODE_PROVISIONER, SELECTED_NODE: "n1"}));
        assert!(is_wanted_here(&given, "n1"));
        assert!(!is_wanted_here(&given, "n2"));
        let waiting = claim(json!({STORAGE_PROVISIONER: NODE_PROVISIONER}));
        assert!(!is_wanted_here(&waiting, "n1"));
        let of_others =
            claim(json!({STORAGE_PROVISIONER: "example.com/disks", SELECTED_NODE: "n1"}));
        assert!(!is_wanted_here(&of_others, "n1"));
        let mut bound = given;
        bound.spec.as_mut().expect("a spec").volume_name = Some("pvc-u1".to_owned());
        assert!(!is_wanted_here(&bound, "n1"));
    }

    #[test]
    fn a_volume_goes_after_its_claim_from_the_node_that_has_it() {
        let place = |node: &str| Place {
            node: node.to_owned(),
            base: PathBuf::from("/var/lib/ferroflow/volumes"),
        };
        let claim = claim(json!({}));
        let mut body = provisioner::volume(&claim, &class(), &place("n1").base, Some("n1"));
        let volume = |body: &serde_json::Value| {
            serde_json::from_value::<PersistentVolume>(body.clone()).expect("a volume")
        };
        assert!(!is_to_go(&volume(&body), &place("n1")), "it is in use");
        body["status"] = json!({"phase": "Released"});
        assert!(is_to_go(&volume(&body), &place("n1")));
        assert!(!is_to_go(&volume(&body), &place("n2")));
        body["spec"]["persistentVolumeReclaimPolicy"] = "Retain".into();
        assert!(!is_to_go(&volume(&body), &place("n1")));
    }

    #[test]
    fn any_user_may_write_into_a_volume_and_list_no_others() {
        let root = tempfile::tempdir().expect("a folder");
        let base = root.path().join("volumes");
        let folder = provisioner::folder(&base, &claim(json!({})));
        for _ in 0..2 {
            make_folder(&base, &folder).expect("made, or there");
        }
        let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o777);
        assert_eq!(mode(&base) & 0o077, 0o011);
    }
}
