//! Every active namespace has a `default` service account and, where the authority is known, a `kube-root-ca.crt`
//! config map that pods verify the API server with. Both come back when deleted or changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use control::{Controller, Key, Queue, Writer, write};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use serde_json::{Value, json};

use crate::setup::Setup;
use crate::watches::Watches;

const ACCOUNT: &str = "default";
const ROOT_CA: &str = "kube-root-ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
const DESCRIPTION_TEXT: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

struct Context {
    watches: Arc<Watches>,
    accounts: Writer,
    config_maps: Writer,
    root_ca: Option<String>,
}

/// Starts the controller.
pub fn start(setup: &mut Setup) {
    let queue = Arc::new(Queue::default());
    let watches = setup.watches.clone();
    let wake = queue.clone();
    watches
        .namespaces
        .on_change(move |change| wake.add(Key::of(change.latest().as_ref())));
    let wake = queue.clone();
    watches.service_accounts.on_change(move |change| {
        let account = change.latest();
        if change.new.is_none() && account.metadata.name.as_deref() == Some(ACCOUNT) {
            wake.add(Key::cluster(
                account.metadata.namespace.clone().unwrap_or_default(),
            ));
        }
    });
    let wake = queue.clone();
    watches.config_maps.on_change(move |change| {
        let map = change.latest();
        if map.metadata.name.as_deref() == Some(ROOT_CA) {
            wake.add(Key::cluster(
                map.metadata.namespace.clone().unwrap_or_default(),
            ));
        }
    });
    let context = Arc::new(Context {
        accounts: setup.writer("service-account-controller"),
        config_maps: setup.writer("root-ca-cert-publisher"),
        root_ca: setup.config.root_ca.clone(),
        watches: watches.clone(),
    });
    let controller = Controller {
        name: "serviceaccount",
        queue,
        workers: 2,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("serviceaccount", async move {
        watches.namespaces.synced().await;
        watches.service_accounts.synced().await;
        watches.config_maps.synced().await;
        controller
            .run(shutdown, move |key| reconcile(key, context.clone()))
            .await;
    });
}

async fn reconcile(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let watches = &context.watches;
    let Some(namespace) = watches
        .namespaces
        .cache()
        .get(&key)
        .filter(|namespace| is_active(namespace))
    else {
        return Ok(None);
    };
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    if watches
        .service_accounts
        .cache()
        .find(name, ACCOUNT)
        .is_none()
    {
        let created = context
            .accounts
            .create::<ServiceAccount>(name, json!({"metadata": {"name": ACCOUNT}}))
            .await;
        if let Some(account) = unless_settled(created)? {
            watches.service_accounts.note(account);
        }
    }
    let Some(root_ca) = &context.root_ca else {
        return Ok(None);
    };
    let held = watches.config_maps.cache().find(name, ROOT_CA);
    match plan_root_ca(held.as_deref(), root_ca) {
        RootCa::Keep => {}
        RootCa::Create(body) => {
            if let Some(map) =
                unless_settled(context.config_maps.create::<ConfigMap>(name, body).await)?
            {
                watches.config_maps.note(map);
            }
        }
        RootCa::Correct(patch) => {
            watches.config_maps.note(
                context
                    .config_maps
                    .patch(&Key::new(name, ROOT_CA), patch)
                    .await?,
            );
        }
    }
    Ok(None)
}

/// The outcome of a create, `None` where somebody else was faster or the namespace is going away.
fn unless_settled<K>(outcome: kube::Result<K>) -> kube::Result<Option<K>> {
    match outcome {
        Ok(object) => Ok(Some(object)),
        Err(error)
            if write::is_already_exists(&error)
                || write::is_namespace_terminating(&error)
                || write::is_not_found(&error) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_active(namespace: &Namespace) -> bool {
    let phase = namespace
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase != Some("Terminating") && namespace.metadata.deletion_timestamp.is_none()
}

#[derive(Debug, PartialEq)]
enum RootCa {
    Keep,
    Create(Value),
    Correct(Value),
}

fn plan_root_ca(held: Option<&ConfigMap>, root_ca: &str) -> RootCa {
    let wanted = BTreeMap::from([("ca.crt".to_owned(), root_ca.to_owned())]);
    let metadata = json!({"name": ROOT_CA, "annotations": {DESCRIPTION: DESCRIPTION_TEXT}});
    let Some(map) = held else {
        return RootCa::Create(json!({"metadata": metadata, "data": wanted}));
    };
    let described = map
        .metadata
        .annotations
        .as_ref()
        .is_some_and(|notes| notes.contains_key(DESCRIPTION));
    if described && map.data.as_ref() == Some(&wanted) {
        return RootCa::Keep;
    }
    let mut data = json!(wanted);
    for name in map
        .data
        .iter()
        .flatten()
        .map(|(name, _)| name)
        .filter(|name| !wanted.contains_key(*name))
    {
        data[name] = Value::Null;
    }
    RootCa::Correct(
        json!({"metadata": {"annotations": {DESCRIPTION: DESCRIPTION_TEXT}}, "data": data}),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(data: Value) -> ConfigMap {
        serde_json::from_value(json!({
            "metadata": {"name": ROOT_CA, "annotations": {DESCRIPTION: "x"}}, "data": data,
        }))
        .unwrap()
    }

    #[test]
    fn a_missing_authority_is_published() {
        let RootCa::Create(body) = plan_root_ca(None, "PEM") else {
            panic!("expected a create")
        };
        assert_eq!(body["data"], json!({"ca.crt": "PEM"}));
    }

    #[test]
    fn a_tampered_authority_is_put_right_and_additions_go() {
        let held = map(json!({"ca.crt": "evil", "more": "x"}));
        let RootCa::Correct(patch) = plan_root_ca(Some(&held), "PEM") else {
            panic!("expected a correction")
        };
        assert_eq!(patch["data"], json!({"ca.crt": "PEM", "more": null}));
        assert_eq!(
            plan_root_ca(Some(&map(json!({"ca.crt": "PEM"}))), "PEM"),
            RootCa::Keep
        );
    }
}
