//! Resource quotas say how much of them is used. Refusing what exceeds them is the API server's part, which counts for
//! itself at that moment.

mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use control::{Controller, Key, Queue, Writer, noted};
use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};
use k8s_openapi::apimachinery::pkg::api::resource;
use kube::api::ListParams;
use kube::core::{ObjectList, PartialObjectMeta, Request};
use kube::{Client, ResourceExt};
use objects::quantity::Quantity;

use crate::garbage::Known;
use crate::setup::Setup;
use crate::watches::Watches;
use usage::Usage;

const IDENTITY: &str = "resourcequota-controller";
/// Many objects that come at once are counted once.
const SETTLE: Duration = Duration::from_millis(50);

struct Context {
    watches: Arc<Watches>,
    known: Arc<Known>,
    client: Client,
    writer: Writer,
}

/// Starts the controller.
pub fn start(setup: &mut Setup, known: &Arc<Known>) {
    let queue = Arc::new(Queue::default());
    let watches = setup.watches.clone();
    let wake = queue.clone();
    watches
        .quotas
        .on_change(move |change| wake.add(Key::of(change.latest().as_ref())));
    let (wake, quotas) = (queue.clone(), watches.quotas.clone());
    let wake_namespace = move |namespace: &str| {
        for quota in quotas.cache().in_namespace(namespace) {
            wake.add_after(Key::of(quota.as_ref()), SETTLE);
        }
    };
    let in_namespace = wake_namespace.clone();
    known.on_existence(Box::new(move |namespace| in_namespace(namespace)));
    let in_namespace = wake_namespace.clone();
    watches.pods.on_change(move |change| {
        let view = |pod: &k8s_openapi::api::core::v1::Pod| {
            (crate::pods::state::is_terminal(pod), pod.spec.clone())
        };
        if change.old.as_deref().map(view) != change.new.as_deref().map(view) {
            in_namespace(&change.latest().namespace().unwrap_or_default());
        }
    });
    let in_namespace = wake_namespace.clone();
    watches
        .services
        .on_change(move |change| in_namespace(&change.latest().namespace().unwrap_or_default()));
    watches
        .claims
        .on_change(move |change| wake_namespace(&change.latest().namespace().unwrap_or_default()));

    let context = Arc::new(Context {
        client: setup.client(IDENTITY),
        writer: setup.writer(IDENTITY),
        known: known.clone(),
        watches: watches.clone(),
    });
    let controller = Controller {
        name: "resourcequota",
        queue,
        workers: 2,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("resourcequota", async move {
        watches.quotas.synced().await;
        watches.pods.synced().await;
        watches.services.synced().await;
        watches.claims.synced().await;
        controller
            .run(shutdown, move |key| reconcile(key, context.clone()))
            .await;
    });
}

async fn reconcile(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let Some(quota) = context.watches.quotas.cache().get(&key) else {
        return Ok(None);
    };
    let hard = quota
        .spec
        .as_ref()
        .and_then(|spec| spec.hard.clone())
        .unwrap_or_default();
    let mut used = add_up(&context.watches, &quota, &key.namespace);
    let mut is_complete = true;
    for name in hard.keys() {
        if let Some((plural, group)) = usage::counted(name) {
            match count(&context, &key.namespace, plural, group).await? {
                Some(count) => {
                    used.insert(name.clone(), Quantity::from_units(count));
                }
                None => is_complete = false,
            }
        }
    }
    let used: BTreeMap<String, resource::Quantity> = hard
        .keys()
        .map(|name| {
            let amount = used.get(name).copied().unwrap_or(Quantity::ZERO);
            (name.clone(), resource::Quantity(amount.canonical()))
        })
        .collect();
    let status = ResourceQuotaStatus {
        hard: (!hard.is_empty()).then_some(hard),
        used: (!used.is_empty()).then_some(used),
    };
    noted::publish(
        &context.writer,
        &context.watches.quotas,
        &quota,
        quota.status.as_ref(),
        &status,
    )
    .await?;
    // A resource that discovery does not know yet may be on its way.
    Ok((!is_complete).then_some(Duration::from_secs(1)))
}

/// What pods, Services and claims use.
fn add_up(watches: &Watches, quota: &ResourceQuota, namespace: &str) -> Usage {
    let spec = quota.spec.clone().unwrap_or_default();
    let mut used = Usage::new();
    for pod in watches.pods.cache().in_namespace(namespace) {
        if usage::is_in_scope(&spec, &pod) {
            usage::add_pod(&mut used, &pod);
        }
    }
    for service in watches.services.cache().in_namespace(namespace) {
        usage::add_service(&mut used, &service);
    }
    for claim in watches.claims.cache().in_namespace(namespace) {
        usage::add_claim(&mut used, &claim);
    }
    used
}

/// How many objects of a resource there are; `None` if the server has no such resource.
async fn count(
    context: &Context,
    namespace: &str,
    plural: &str,
    group: &str,
) -> kube::Result<Option<i64>> {
    let Some(resource) = context
        .known
        .resource(&(group.to_owned(), plural.to_owned()))
    else {
        return Ok(None);
    };
    let request = Request::new(resource.path(namespace))
        .list_metadata(&ListParams::default().limit(1))
        .map_err(kube::Error::BuildRequest)?;
    let page: ObjectList<PartialObjectMeta> = context.client.request(request).await?;
    let on_page = i64::try_from(page.items.len()).unwrap_or(i64::MAX);
    Ok(Some(
        on_page + page.metadata.remaining_item_count.unwrap_or(0),
    ))
}
