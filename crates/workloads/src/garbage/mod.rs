//! Objects whose owners are gone go too; owners that are deleted in the foreground wait for their dependents, and those
//! that orphan them let them go first. Works on every resource the server has.

mod decide;
mod graph;
mod monitors;

use std::sync::Arc;
use std::time::Duration;

use control::{finalizers, write};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Client;
use kube::api::{DeleteParams, GetParams, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::core::{PartialObjectMeta, Request};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::discovery::Resource;
use crate::setup::Setup;
use decide::{Decision, Owner, decide, unblock_owners};
use graph::{FOREGROUND, Look, Node, ORPHAN};
pub use monitors::Known;

const IDENTITY: &str = "generic-garbage-collector";
/// How soon an object whose owner's kind is unknown is looked at again: its definition may be on its way.
const UNKNOWN_KIND: Duration = Duration::from_secs(30);

struct Context {
    client: Client,
    known: Arc<Known>,
}

/// Starts the collector; what it knows of all objects is of use to others too.
pub fn start(setup: &mut Setup) -> Arc<Known> {
    let known = Arc::new(Known::default());
    let watches = setup.watches.clone();
    let observed = known.clone();
    watches.on_metadata(Arc::new(move |resource, metadata, is_gone| {
        observed.observe(resource, metadata, is_gone)
    }));
    let shared = watches.resources().into_iter().collect();
    let ready = Arc::new(Notify::new());
    let client = setup.client("kube-controller-manager");
    let monitors = monitors::run(
        client,
        known.clone(),
        shared,
        ready.clone(),
        setup.shutdown.clone(),
    );
    setup.spawn("garbage-monitors", monitors);

    let context = Arc::new(Context {
        client: setup.client(IDENTITY),
        known: known.clone(),
    });
    let metrics = setup.metrics.clone();
    let shutdown = setup.shutdown.clone();
    setup.spawn("garbage-collector", async move {
        // Before all is listed, every owner would have to be asked about one by one.
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = async { watches.synced().await; ready.notified().await } => {}
        }
        let workers =
            (0..WORKERS).map(|_| work(context.clone(), metrics.clone(), shutdown.clone()));
        futures::future::join_all(workers).await;
    });
    known
}

const WORKERS: usize = 8;

async fn work(
    context: Arc<Context>,
    metrics: Arc<control::metrics::Metrics>,
    shutdown: tokio_util::sync::CancellationToken,
) {
    let known = context.known.clone();
    loop {
        let look = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            look = known.queue.take() => look,
        };
        let started = std::time::Instant::now();
        let outcome = match &look {
            Look::Delete(uid) => attempt_delete(&context, uid).await,
            Look::Orphan(uid) => attempt_orphan(&context, uid).await,
        };
        metrics.reconciled("garbage-collector", outcome.is_ok(), started.elapsed());
        match outcome {
            Ok(next) => {
                known.queue.forget(&look);
                if let Some(delay) = next {
                    known.queue.add_after(look.clone(), delay);
                }
            }
            Err(error) => {
                tracing::debug!(error = %objects::chain(&error), "garbage collection will try to {look} again");
                known.queue.add_backoff(look.clone());
            }
        }
        known.queue.done(&look);
    }
}

impl Context {
    fn node(&self, uid: &str) -> Option<Node> {
        self.known
            .graph
            .lock()
            .expect("no holder of the graph lock panics")
            .get(uid)
            .cloned()
    }

    fn dependents(&self, uid: &str) -> Vec<(String, Node)> {
        self.known
            .graph
            .lock()
            .expect("no holder of the graph lock panics")
            .dependents(uid)
    }

    /// The live metadata of an object, `None` if it is gone.
    async fn live(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> kube::Result<Option<ObjectMeta>> {
        let request = Request::new(resource.path(namespace))
            .get_metadata(name, &GetParams::default())
            .map_err(kube::Error::BuildRequest)?;
        match self.client.request::<PartialObjectMeta>(request).await {
            Ok(object) => Ok(Some(object.metadata)),
            Err(error) if write::is_not_found(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn patch(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        patch: Value,
    ) -> kube::Result<()> {
        let is_json_patch = patch.is_array();
        let mut request = Request::new(resource.path(namespace))
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .map_err(kube::Error::BuildRequest)?;
        if is_json_patch {
            let content_type = "application/json-patch+json"
                .parse()
                .expect("a media type is a header value");
            request.headers_mut().insert("content-type", content_type);
        }
        match self.client.request::<Value>(request).await {
            Ok(_) => Ok(()),
            Err(error) if write::is_not_found(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

async fn attempt_delete(context: &Context, uid: &str) -> kube::Result<control::Next> {
    let Some(node) = context.node(uid) else {
        return Ok(None);
    };
    if node.is_deleted && !node.deletes_dependents {
        return Ok(None);
    }
    let Some(resource) = node
        .resource
        .as_ref()
        .and_then(|name| context.known.resource(name))
    else {
        return Ok(Some(UNKNOWN_KIND));
    };
    let live = context.live(&resource, &node.namespace, &node.name).await?;
    let Some(metadata) = live.filter(|metadata| metadata.uid.as_deref() == Some(uid)) else {
        // Its watch event is still on the way.
        let name = node.resource.unwrap_or_default();
        let gone = ObjectMeta {
            uid: Some(uid.to_owned()),
            ..ObjectMeta::default()
        };
        context.known.observe(&name, &gone, true);
        return Ok(None);
    };
    if node.deletes_dependents {
        return finish_foreground(context, uid, &resource, &node, &metadata).await;
    }
    let owners = match look_up_owners(context, &resource, &metadata).await? {
        Some(owners) => owners,
        None => return Ok(Some(UNKNOWN_KIND)),
    };
    let dependents = context.dependents(uid);
    match decide(&metadata, &owners, !dependents.is_empty()) {
        Decision::Keep => {}
        Decision::Forget(patch) => {
            context
                .patch(&resource, &node.namespace, &node.name, patch)
                .await?
        }
        Decision::Delete(policy) => {
            let mut version = metadata.resource_version.clone();
            let may_be_circle = dependents.iter().any(|(_, node)| node.deletes_dependents);
            if matches!(policy, PropagationPolicy::Foreground) && may_be_circle {
                let patch = unblock_owners(&metadata);
                context
                    .patch(&resource, &node.namespace, &node.name, patch)
                    .await?;
                version = None;
            }
            let params = DeleteParams {
                propagation_policy: Some(policy),
                preconditions: Some(Preconditions {
                    uid: metadata.uid.clone(),
                    // Owners were judged as of this version.
                    resource_version: version,
                }),
                ..DeleteParams::default()
            };
            let request = Request::new(resource.path(&node.namespace))
                .delete(&node.name, &params)
                .map_err(kube::Error::BuildRequest)?;
            match context.client.request::<Value>(request).await {
                Ok(_) => {}
                Err(error) if write::is_not_found(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(None)
}

/// Lets an owner go whose blocking dependents are gone; otherwise has them looked at.
async fn finish_foreground(
    context: &Context,
    uid: &str,
    resource: &Resource,
    node: &Node,
    metadata: &ObjectMeta,
) -> kube::Result<control::Next> {
    let blocking: Vec<(String, Node)> = context
        .dependents(uid)
        .into_iter()
        .filter(|(_, dependent)| {
            dependent
                .owners
                .iter()
                .any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
        })
        .collect();
    if blocking.is_empty() {
        if let Some(patch) = finalizers::remove(
            metadata.finalizers.as_deref().unwrap_or_default(),
            FOREGROUND,
        ) {
            context
                .patch(resource, &node.namespace, &node.name, patch)
                .await?;
        }
        return Ok(None);
    }
    for (dependent, state) in blocking {
        if !state.deletes_dependents && !state.is_deleted {
            context.known.queue.add(Look::Delete(dependent));
        }
    }
    Ok(None)
}

/// What is known of each owner; `None` if one is of a kind the server does not have (yet).
async fn look_up_owners(
    context: &Context,
    resource: &Resource,
    metadata: &ObjectMeta,
) -> kube::Result<Option<Vec<(OwnerReference, Owner)>>> {
    let mut owners = Vec::new();
    for reference in metadata.owner_references.iter().flatten() {
        let namespace = metadata.namespace.as_deref().unwrap_or_default();
        let known = context.node(&reference.uid).filter(|owner| {
            owner.name == reference.name
                && (owner.namespace.is_empty() || owner.namespace == namespace)
        });
        let state = match known {
            Some(owner) if owner.deletes_dependents => Owner::Waiting,
            Some(_) => Owner::Solid,
            None => {
                let group = reference
                    .api_version
                    .rsplit_once('/')
                    .map_or("", |(group, _)| group);
                let Some(kind) = context.known.resource_of_kind(group, &reference.kind) else {
                    return Ok(None);
                };
                if kind.is_namespaced && !resource.is_namespaced {
                    // Such a reference is invalid: a cluster-scoped object cannot be owned from inside a namespace.
                    return Ok(None);
                }
                let namespace = if kind.is_namespaced { namespace } else { "" };
                match context.live(&kind, namespace, &reference.name).await? {
                    Some(owner) if owner.uid.as_deref() == Some(&reference.uid) => {
                        let waits = owner.deletion_timestamp.is_some()
                            && owner
                                .finalizers
                                .iter()
                                .flatten()
                                .any(|held| held == FOREGROUND);
                        if waits { Owner::Waiting } else { Owner::Solid }
                    }
                    _ => Owner::Absent,
                }
            }
        };
        owners.push((reference.clone(), state));
    }
    Ok(Some(owners))
}

/// Takes an owner off all its dependents, then lets it go.
async fn attempt_orphan(context: &Context, uid: &str) -> kube::Result<control::Next> {
    let Some(node) = context.node(uid).filter(|node| node.orphans_dependents) else {
        return Ok(None);
    };
    for (dependent, state) in context.dependents(uid) {
        let Some(resource) = state
            .resource
            .as_ref()
            .and_then(|name| context.known.resource(name))
        else {
            continue;
        };
        let Some(live) = context
            .live(&resource, &state.namespace, &state.name)
            .await?
        else {
            continue;
        };
        if live.uid.as_deref() != Some(&dependent) {
            continue;
        }
        let references = live.owner_references.unwrap_or_default();
        let kept: Vec<&OwnerReference> =
            references.iter().filter(|owner| owner.uid != uid).collect();
        if kept.len() != references.len() {
            let patch = json!({"metadata": {
                "uid": live.uid,
                "resourceVersion": live.resource_version,
                "ownerReferences": kept,
            }});
            context
                .patch(&resource, &state.namespace, &state.name, patch)
                .await?;
        }
    }
    let Some(resource) = node
        .resource
        .as_ref()
        .and_then(|name| context.known.resource(name))
    else {
        return Ok(Some(UNKNOWN_KIND));
    };
    let live = context.live(&resource, &node.namespace, &node.name).await?;
    if let Some(live) = live.filter(|live| live.uid.as_deref() == Some(uid))
        && let Some(patch) =
            finalizers::remove(live.finalizers.as_deref().unwrap_or_default(), ORPHAN)
    {
        context
            .patch(&resource, &node.namespace, &node.name, patch)
            .await?;
    }
    Ok(None)
}
