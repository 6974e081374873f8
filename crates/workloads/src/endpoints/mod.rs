//! Which pods answer for a Service: its EndpointSlices, and the older Endpoints object beside them. Endpoints written by
//! hand for a Service without a selector are mirrored into slices.

mod members;
mod mirror;
mod slices;
mod subsets;

use std::sync::Arc;

use control::{Controller, Key, Queue, Writer, write};
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use crate::pods::state;
use crate::setup::Setup;
use crate::watches::{BY_SERVICE, Watches, index_value};

struct Context {
    watches: Arc<Watches>,
    slices: Writer,
    endpoints: Writer,
}

/// Starts the controller, and the one that mirrors Endpoints written by hand.
pub fn start(setup: &mut Setup) {
    mirror::start(setup);
    let queue = Arc::new(Queue::default());
    let watches = setup.watches.clone();
    let wake = queue.clone();
    watches
        .services
        .on_change(move |change| wake.add(Key::of(change.latest().as_ref())));
    let (wake, services) = (queue.clone(), watches.services.clone());
    watches.pods.on_change(move |change| {
        if !matters(change.old.as_deref(), change.new.as_deref()) {
            return;
        }
        let namespace = change.latest().namespace().unwrap_or_default();
        for service in services.cache().in_namespace(&namespace) {
            if change.sides().any(|pod| members::selects(&service, pod)) {
                wake.add(Key::of(service.as_ref()));
            }
        }
    });
    let wake = queue.clone();
    watches.endpoint_slices.on_change(move |change| {
        let slice = change.latest();
        if slices::is_ours(slice)
            && let Some(service) = slice.labels().get(slices::SERVICE_LABEL)
        {
            wake.add(Key::new(
                slice.namespace().unwrap_or_default(),
                service.clone(),
            ));
        }
    });
    let wake = queue.clone();
    watches
        .endpoints
        .on_change(move |change| wake.add(Key::of(change.latest().as_ref())));

    let context = Arc::new(Context {
        slices: setup.writer("endpointslice-controller"),
        endpoints: setup.writer("endpoint-controller"),
        watches: watches.clone(),
    });
    let controller = Controller {
        name: "endpoints",
        queue,
        workers: 5,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("endpoints", async move {
        watches.services.synced().await;
        watches.pods.synced().await;
        watches.nodes.synced().await;
        watches.endpoint_slices.synced().await;
        watches.endpoints.synced().await;
        controller
            .run(shutdown, move |key| reconcile(key, context.clone()))
            .await;
    });
}

/// Whether a change of a pod can change who answers for a Service.
fn matters(old: Option<&Pod>, new: Option<&Pod>) -> bool {
    let view = |pod: &Pod| {
        let status = pod.status.as_ref();
        (
            pod.uid(),
            status.and_then(|status| status.pod_ip.clone()),
            status.and_then(|status| status.pod_ips.clone()),
            state::node(pod).map(str::to_owned),
            (
                state::is_ready(pod),
                state::is_terminal(pod),
                state::is_terminating(pod),
            ),
            pod.metadata.labels.clone(),
        )
    };
    old.map(view) != new.map(view)
}

async fn reconcile(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let watches = &context.watches;
    let Some(service) = watches.services.cache().get(&key) else {
        // Slices go with their owner; the Endpoints object has none.
        return remove_endpoints(&context, &key).await;
    };
    if service.metadata.deletion_timestamp.is_some() || !members::is_selected(&service) {
        return Ok(None);
    }
    let pods = watches.pods.cache().in_namespace(&key.namespace);
    let zone = |node: &str| {
        let node = watches.nodes.cache().find("", node)?;
        node.labels().get("topology.kubernetes.io/zone").cloned()
    };
    let members = members::members(&service, &pods, zone);
    apply_slices(&context, &key, &service, &members).await?;
    apply_endpoints(&context, &key, &service, &members).await?;
    Ok(None)
}

async fn apply_slices(
    context: &Context,
    key: &Key,
    service: &Service,
    members: &[members::Member],
) -> kube::Result<()> {
    let informer = &context.watches.endpoint_slices;
    let held = informer
        .cache()
        .by_index(BY_SERVICE, &index_value(Some(&key.namespace), &key.name));
    let held: Vec<_> = held
        .into_iter()
        .filter(|slice| slices::is_ours(slice))
        .collect();
    let plan = slices::plan(service, members, &held);
    for body in plan.create {
        match context
            .slices
            .create::<EndpointSlice>(&key.namespace, body)
            .await
        {
            Ok(slice) => informer.note(slice),
            Err(error) if write::is_namespace_terminating(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    for (name, patch) in plan.change {
        let slice = context
            .slices
            .patch::<EndpointSlice>(&Key::new(&key.namespace, name), patch)
            .await?;
        informer.note(slice);
    }
    for slice in plan.delete {
        context.slices.delete(slice.as_ref(), None).await?;
        informer.note_gone(slice.as_ref().clone());
    }
    Ok(())
}

async fn apply_endpoints(
    context: &Context,
    key: &Key,
    service: &Service,
    members: &[members::Member],
) -> kube::Result<()> {
    let informer = &context.watches.endpoints;
    let held = informer.cache().get(key);
    let written = match subsets::plan(service, members, held.as_deref()) {
        subsets::Plan::Keep => return Ok(()),
        subsets::Plan::Create(body) => {
            context
                .endpoints
                .create::<Endpoints>(&key.namespace, body)
                .await
        }
        subsets::Plan::Change(patch) => context.endpoints.patch::<Endpoints>(key, patch).await,
    };
    match written {
        Ok(endpoints) => informer.note(endpoints),
        Err(error) if write::is_namespace_terminating(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn remove_endpoints(context: &Context, key: &Key) -> kube::Result<control::Next> {
    let informer = &context.watches.endpoints;
    // Objects that somebody else made for a Service without a selector are left to that somebody.
    let held = informer
        .cache()
        .get(key)
        .filter(|held| subsets::is_ours(held));
    if let Some(held) = held {
        context.endpoints.delete(held.as_ref(), None).await?;
        informer.note_gone(held.as_ref().clone());
    }
    Ok(None)
}
