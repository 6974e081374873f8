//! The objects that are there before anybody asks: namespaces, the Service `kubernetes`, roles, priority classes.
//!
//! What exists is left alone, so that what the owner changed stays changed; bootstrap roles get back the rules they
//! lost unless they are annotated not to.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use objects::meta;
use serde_json::{Value, json};

use crate::api::Api;
use crate::authn::User;
use crate::authz;
use crate::error::ApiError;
use crate::services::KUBERNETES;
use crate::verbs::write::Manager;
use crate::verbs::{Call, create, update};

/// Makes what is missing.
pub async fn run(api: &Arc<Api>, advertise: SocketAddr) -> Result<(), ApiError> {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        ensure(
            api,
            "",
            "namespaces",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        )
        .await?;
    }
    for (name, value) in [
        ("system-cluster-critical", 2_000_000_000),
        ("system-node-critical", 2_000_001_000),
    ] {
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "description": "Used for system critical pods that must not be moved from where they are.",
        });
        ensure(api, "scheduling.k8s.io", "priorityclasses", class).await?;
    }
    // Side by side, so that they share commits. Roles and bindings may come in any order: nobody asks yet.
    futures::stream::iter(authz::bootstrap())
        .map(|role| reconcile_role(api, role.resource, role.object))
        .buffer_unordered(64)
        .try_collect::<()>()
        .await?;
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "clusterIP": KUBERNETES.to_string(),
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": advertise.port()}],
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
    });
    ensure(api, "", "services", service).await?;
    if advertise.ip().is_loopback() {
        // No pod could reach it there, and endpoints may not say so; the node's network knows the way by itself.
        return Ok(());
    }
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": if advertise.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [advertise.ip().to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": advertise.port(), "protocol": "TCP"}],
    });
    replace(api, "discovery.k8s.io", "endpointslices", slice).await
}

/// Creates an object unless it exists.
async fn ensure(api: &Arc<Api>, group: &str, plural: &str, object: Value) -> Result<(), ApiError> {
    let call = call(api, group, plural, &object);
    if find(&call, &object).is_some() {
        return Ok(());
    }
    create::create(&call, object, &Manager::Writer("kube-apiserver".into()))
        .await
        .map(|_| ())
}

/// Creates an object, or makes it be as given.
async fn replace(api: &Arc<Api>, group: &str, plural: &str, object: Value) -> Result<(), ApiError> {
    let mut call = call(api, group, plural, &object);
    let manager = Manager::Writer("kube-apiserver".into());
    if find(&call, &object).is_none() {
        return create::create(&call, object, &manager).await.map(|_| ());
    }
    call.verb = "update";
    call.name = meta::name(&object).to_owned();
    update::change(&call, &manager, |_| Ok(object.clone()))
        .await
        .map(|_| ())
}

/// Gives a bootstrap role or binding back what it lost; what was added stays.
async fn reconcile_role(api: &Arc<Api>, plural: &str, wanted: Value) -> Result<(), ApiError> {
    let mut call = call(api, authz::RBAC_GROUP, plural, &wanted);
    let Some(present) = find(&call, &wanted) else {
        return create::create(&call, wanted, &Manager::Writer("kube-apiserver".into()))
            .await
            .map(|_| ());
    };
    if meta::annotation(&present, "rbac.authorization.kubernetes.io/autoupdate") == Some("false") {
        return Ok(());
    }
    let mut merged = present.clone();
    for field in ["rules", "subjects"] {
        let missing: Vec<Value> = wanted[field]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|entry| {
                !present[field]
                    .as_array()
                    .is_some_and(|known| known.contains(entry))
            })
            .cloned()
            .collect();
        if missing.is_empty() || wanted.get("aggregationRule").is_some() {
            continue;
        }
        match merged[field].as_array_mut() {
            Some(list) => list.extend(missing),
            None => merged[field] = missing.into(),
        }
    }
    if merged == present {
        return Ok(());
    }
    call.verb = "update";
    call.name = meta::name(&wanted).to_owned();
    update::change(&call, &Manager::Writer("kube-apiserver".into()), |_| {
        Ok(merged.clone())
    })
    .await
    .map(|_| ())
}

fn find(call: &Call, object: &Value) -> Option<Value> {
    let key = call.resource.key(&call.namespace, meta::name(object));
    let snapshot = call.api.store.snapshot();
    snapshot
        .get(call.resource.stored().id, &key)
        .map(|entry| call.resource.value(entry))
}

/// A request of the server itself.
pub(crate) fn call(api: &Arc<Api>, group: &str, plural: &str, object: &Value) -> Call {
    Call {
        api: api.clone(),
        user: User::new("system:apiserver", &[crate::authn::MASTERS]),
        registry: api.registry.load_full(),
        resource: api.builtin(group, plural).clone(),
        verb: "create",
        namespace: meta::namespace(object).to_owned(),
        name: String::new(),
        subresource: String::new(),
        query: Default::default(),
        headers: Default::default(),
        accept: Default::default(),
        body: Default::default(),
        warnings: Default::default(),
    }
}
