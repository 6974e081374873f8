//! A namespace that is being deleted loses its content, says what is left in its conditions, and goes once it is empty.

mod content;
mod status;

use std::sync::Arc;
use std::time::Duration;

use control::{Controller, Key, Queue, Writer};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use crate::setup::Setup;
use crate::watches::Watches;

/// The finalizer in `spec.finalizers` that this controller owns.
const FINALIZER: &str = "kubernetes";
/// How soon remaining content is looked at again: pods get their grace, everything else a moment.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
const LOOK_AGAIN_PODS: Duration = Duration::from_secs(1);

struct Context {
    watches: Arc<Watches>,
    writer: Writer,
}

/// Starts the controller.
pub fn start(setup: &mut Setup) {
    let queue = Arc::new(Queue::default());
    let watches = setup.watches.clone();
    let wake = queue.clone();
    watches.namespaces.on_change(move |change| {
        if let Some(namespace) = &change.new
            && namespace.metadata.deletion_timestamp.is_some()
        {
            wake.add(Key::of(namespace.as_ref()));
        }
    });
    // The end of a namespace's last pod is worth a look at once.
    let wake = queue.clone();
    let namespaces = watches.namespaces.clone();
    watches.pods.on_change(move |change| {
        if change.new.is_some() {
            return;
        }
        let key = Key::cluster(
            change
                .latest()
                .metadata
                .namespace
                .clone()
                .unwrap_or_default(),
        );
        if namespaces
            .cache()
            .get(&key)
            .is_some_and(|held| held.metadata.deletion_timestamp.is_some())
        {
            wake.add(key);
        }
    });
    let context = Arc::new(Context {
        writer: setup.writer("namespace-controller"),
        watches: watches.clone(),
    });
    let controller = Controller {
        name: "namespace",
        queue,
        workers: 4,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("namespace", async move {
        watches.namespaces.synced().await;
        controller
            .run(shutdown, move |key| reconcile(key, context.clone()))
            .await;
    });
}

async fn reconcile(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let Some(namespace) = context.watches.namespaces.cache().get(&key) else {
        return Ok(None);
    };
    if namespace.metadata.deletion_timestamp.is_none() {
        return Ok(None);
    }
    let finalizers = namespace
        .spec
        .as_ref()
        .and_then(|spec| spec.finalizers.clone())
        .unwrap_or_default();
    if !finalizers.iter().any(|held| held == FINALIZER) {
        return Ok(None);
    }
    let outcome = content::delete_all(context.writer.client(), &key.name).await;
    if let Some(patch) = status::patch(&namespace, &outcome, Timestamp::now()) {
        match context.writer.patch_status::<Namespace>(&key, patch).await {
            Ok(updated) => context.watches.namespaces.note(updated),
            Err(error) if control::write::is_not_found(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    if !outcome.is_empty() {
        let only_pods = outcome
            .remaining
            .keys()
            .all(|resource| resource == content::PODS);
        return Ok(Some(if only_pods {
            LOOK_AGAIN_PODS
        } else {
            LOOK_AGAIN
        }));
    }
    finalize(&context.writer, &key, finalizers).await?;
    Ok(None)
}

/// Takes our finalizer off, which is the end of the namespace if it was the last.
async fn finalize(writer: &Writer, key: &Key, finalizers: Vec<String>) -> kube::Result<()> {
    let left: Vec<String> = finalizers
        .into_iter()
        .filter(|held| held != FINALIZER)
        .collect();
    let client = writer.client();
    let request = kube::core::Request::new("/api/v1/namespaces")
        .get(&key.name, &Default::default())
        .map_err(kube::Error::BuildRequest)?;
    let mut body: serde_json::Value = match client.request(request).await {
        Ok(body) => body,
        Err(error) if control::write::is_not_found(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    body["spec"]["finalizers"] = json!(left);
    let bytes = serde_json::to_vec(&body).map_err(kube::Error::SerdeError)?;
    let request = kube::core::Request::new("/api/v1/namespaces")
        .replace_subresource("finalize", &key.name, &Default::default(), bytes)
        .map_err(kube::Error::BuildRequest)?;
    match client.request::<serde_json::Value>(request).await {
        Ok(_) => Ok(()),
        Err(error) if control::write::is_not_found(&error) => Ok(()),
        Err(error) => Err(error),
    }
}
