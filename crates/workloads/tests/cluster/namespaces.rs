//! What a namespace comes with, and how it goes.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use crate::home::{Home, eventually, pod};

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_gets_its_account_and_authority_and_goes_with_all_its_content() {
    let home = Home::start().await;
    let namespaces: Api<Namespace> = Api::all(home.client.clone());
    let team: Namespace = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    namespaces
        .create(&PostParams::default(), &team)
        .await
        .unwrap();

    let accounts: Api<ServiceAccount> = Api::namespaced(home.client.clone(), "team");
    eventually(
        || async { accounts.get_opt("default").await.unwrap() },
        Option::is_some,
    )
    .await;
    let maps: Api<ConfigMap> = Api::namespaced(home.client.clone(), "team");
    let map = eventually(
        || async { maps.get_opt("kube-root-ca.crt").await.unwrap() },
        Option::is_some,
    )
    .await;
    assert_eq!(map.unwrap().data.unwrap()["ca.crt"], "PEM");
    accounts
        .delete("default", &DeleteParams::default())
        .await
        .unwrap();
    eventually(
        || async { accounts.get_opt("default").await.unwrap() },
        Option::is_some,
    )
    .await;

    let pods: Api<Pod> = Api::namespaced(home.client.clone(), "team");
    let body: Pod = serde_json::from_value(pod("a", json!({}))).unwrap();
    pods.create(&PostParams::default(), &body).await.unwrap();
    namespaces
        .delete("team", &DeleteParams::default())
        .await
        .unwrap();
    eventually(
        || async { namespaces.get_opt("team").await.unwrap() },
        Option::is_none,
    )
    .await;
    assert!(
        pods.list(&Default::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(
        maps.list(&Default::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_says_which_finalizer_keeps_it() {
    let home = Home::start().await;
    let namespaces: Api<Namespace> = Api::all(home.client.clone());
    let stuck: Namespace = serde_json::from_value(json!({"metadata": {"name": "stuck"}})).unwrap();
    namespaces
        .create(&PostParams::default(), &stuck)
        .await
        .unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(home.client.clone(), "stuck");
    let guarded: ConfigMap = serde_json::from_value(
        json!({"metadata": {"name": "m", "finalizers": ["example.com/guard"]}}),
    )
    .unwrap();
    maps.create(&PostParams::default(), &guarded).await.unwrap();
    namespaces
        .delete("stuck", &DeleteParams::default())
        .await
        .unwrap();
    let message = |namespace: &Option<Namespace>| {
        let status = namespace.as_ref()?.status.clone()?;
        let held = status
            .conditions?
            .into_iter()
            .find(|held| held.type_ == "NamespaceFinalizersRemaining")?;
        held.message
    };
    let told = eventually(
        || async { namespaces.get_opt("stuck").await.unwrap() },
        |held| {
            message(held).is_some_and(|message| {
                message.contains("example.com/guard in 1 resource instances")
            })
        },
    );
    told.await;
    maps.patch(
        "m",
        &Default::default(),
        &kube::api::Patch::Merge(json!({"metadata": {"finalizers": null}})),
    )
    .await
    .unwrap();
    eventually(
        || async { namespaces.get_opt("stuck").await.unwrap() },
        Option::is_none,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_says_what_is_used_of_it() {
    use k8s_openapi::api::core::v1::ResourceQuota;
    let home = Home::start().await;
    home.create::<ResourceQuota>(json!({
        "metadata": {"name": "q"},
        "spec": {"hard": {"pods": "5", "requests.cpu": "2", "configmaps": "10", "count/deployments.apps": "1"}},
    }))
    .await;
    let used = |quota: &ResourceQuota, name: &str| {
        let used = quota
            .status
            .as_ref()
            .and_then(|status| status.used.as_ref());
        used.and_then(|used| used.get(name))
            .map(|amount| amount.0.clone())
    };
    home.until::<ResourceQuota>("q", |quota| {
        used(quota, "count/deployments.apps").as_deref() == Some("0")
    })
    .await;
    home.create::<Pod>(pod("a", json!({"cpu": "500m"}))).await;
    home.create::<ConfigMap>(json!({"metadata": {"name": "m"}}))
        .await;
    home.until::<ResourceQuota>("q", |quota| {
        used(quota, "pods").as_deref() == Some("1")
            && used(quota, "requests.cpu").as_deref() == Some("500m")
            && used(quota, "configmaps").as_deref() == Some("2")
    })
    .await;
    home.api::<Pod>()
        .delete("a", &DeleteParams::default())
        .await
        .unwrap();
    home.until::<ResourceQuota>("q", |quota| used(quota, "pods").as_deref() == Some("0"))
        .await;
}
