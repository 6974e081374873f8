//! The real client, in process and over TLS.

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{
    DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams,
};
use kube::core::DynamicObject;
use kube::discovery::Discovery;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::server::{Server, config_map, crd, deployment};

fn typed<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

#[tokio::test]
async fn the_client_creates_reads_patches_lists_and_deletes() {
    let server = Server::start().await;
    let api: Api<Deployment> = Api::default_namespaced(server.api.admin_client());
    api.create(&PostParams::default(), &typed(deployment("web")))
        .await
        .unwrap();
    let patch = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 3}});
    let patched = api
        .patch(
            "web",
            &PatchParams::apply("test").force(),
            &Patch::Apply(&patch),
        )
        .await
        .unwrap();
    assert_eq!(patched.spec.unwrap().replicas, Some(3));
    assert_eq!(
        api.list(&ListParams::default().labels("none=such"))
            .await
            .unwrap()
            .items
            .len(),
        0
    );
    assert_eq!(
        api.get_scale("web").await.unwrap().spec.unwrap().replicas,
        Some(3)
    );
    api.delete("web", &DeleteParams::default()).await.unwrap();
    assert!(api.get_opt("web").await.unwrap().is_none());
}

#[tokio::test]
async fn the_client_watches_and_both_kinds_of_watcher_see_every_object() {
    let server = Server::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(server.api.admin_client());
    let list = api.list(&ListParams::default()).await.unwrap();
    let revision = list.metadata.resource_version.unwrap();
    let mut events = api
        .watch(&WatchParams::default(), &revision)
        .await
        .unwrap()
        .boxed();
    for n in 0..3 {
        api.create(
            &PostParams::default(),
            &typed(config_map(&format!("c{n}"), json!({}))),
        )
        .await
        .unwrap();
    }
    for n in 0..3 {
        match events.try_next().await.unwrap().unwrap() {
            WatchEvent::Added(object) => assert_eq!(object.metadata.name.unwrap(), format!("c{n}")),
            other => panic!("{other:?}"),
        }
    }
    for config in [
        watcher::Config::default(),
        watcher::Config::default().streaming_lists(),
    ] {
        let seen: Vec<_> = watcher(api.clone(), config)
            .applied_objects()
            .take(3)
            .try_collect()
            .await
            .unwrap();
        let names: Vec<_> = seen
            .into_iter()
            .map(|object: ConfigMap| object.metadata.name.unwrap())
            .collect();
        assert_eq!(names, ["c0", "c1", "c2"]);
    }
}

#[tokio::test]
async fn discovery_finds_a_custom_kind_and_the_dynamic_client_uses_it() {
    let server = Server::start().await;
    server
        .post(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &crd(),
        )
        .await
        .expect(201);
    let client = server.api.admin_client();
    let discovery = Discovery::new(client.clone()).run().await.unwrap();
    let (resource, capabilities) = discovery
        .get("example.com")
        .unwrap()
        .recommended_kind("Widget")
        .unwrap();
    assert!(
        capabilities
            .subresources
            .iter()
            .any(|(below, _)| below.plural == "widgets/status" || below.plural == "status")
    );
    let api: Api<DynamicObject> = Api::default_namespaced_with(client, &resource);
    let widget = DynamicObject::new("w", &resource).data(json!({"spec": {"size": 2}}));
    let made = api.create(&PostParams::default(), &widget).await.unwrap();
    assert_eq!(made.data["spec"]["colour"], "red");
}

#[tokio::test]
async fn over_tls_a_kubeconfig_is_all_a_client_needs() {
    let server = Server::start().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn({
        let (api, shutdown) = (server.api.clone(), shutdown.clone());
        async move { api.serve(listener, shutdown).await }
    });
    let text = server
        .api
        .kubeconfig(&format!("https://{address}"))
        .expect("the owner gets a certificate");
    let kubeconfig = kube::config::Kubeconfig::from_yaml(&text).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default())
        .await
        .unwrap();
    let client = Client::try_from(config).unwrap();
    let version = client.apiserver_version().await.unwrap();
    assert_eq!(version.git_version, "v1.33.13+ferroflow");
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    api.create(
        &PostParams::default(),
        &typed(config_map("over-tls", json!({}))),
    )
    .await
    .unwrap();
    shutdown.cancel();
    serving.await.unwrap().unwrap();
}
