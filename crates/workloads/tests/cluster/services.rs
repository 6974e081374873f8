//! Services and who answers for them.

use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use crate::home::{Home, pod};

fn addresses(slices: &[EndpointSlice]) -> usize {
    slices
        .iter()
        .filter(|slice| slice.name_any().starts_with("web-"))
        .map(|slice| slice.endpoints.len())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_follows_its_pods_and_leaves_nothing_behind() {
    let home = Home::start().await;
    home.create::<Service>(json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
    }))
    .await;
    home.until_all::<EndpointSlice>(|slices| {
        slices
            .iter()
            .any(|slice| slice.name_any().starts_with("web-"))
    })
    .await;
    home.create::<Pod>(pod("web", json!({}))).await;
    let slices = home
        .until_all::<EndpointSlice>(|slices| addresses(slices) == 1)
        .await;
    // The placeholder of the time without pods may still be there beside it.
    let slice = slices
        .iter()
        .find(|slice| slice.name_any().starts_with("web-") && !slice.endpoints.is_empty())
        .unwrap();
    assert_eq!(slice.ports.as_ref().unwrap()[0].port, Some(8080));
    home.until::<Endpoints>("web", |held| {
        held.subsets
            .as_ref()
            .is_some_and(|subsets| subsets.len() == 1)
    })
    .await;
    home.api::<Pod>()
        .delete("web", &DeleteParams::default())
        .await
        .unwrap();
    home.until_all::<EndpointSlice>(|slices| addresses(slices) == 0)
        .await;
    home.api::<Service>()
        .delete("web", &DeleteParams::default())
        .await
        .unwrap();
    home.until_all::<EndpointSlice>(|slices| {
        !slices
            .iter()
            .any(|slice| slice.name_any().starts_with("web-"))
    })
    .await;
    home.until_all::<Endpoints>(|held| !held.iter().any(|held| held.name_any() == "web"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_written_by_hand_are_mirrored() {
    let home = Home::start().await;
    home.create::<Service>(json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}))
        .await;
    home.create::<Endpoints>(json!({
        "metadata": {"name": "web"},
        "subsets": [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"port": 8080}]}],
    }))
    .await;
    home.until_all::<EndpointSlice>(|slices| addresses(slices) == 1)
        .await;
    home.api::<Endpoints>()
        .delete("web", &DeleteParams::default())
        .await
        .unwrap();
    home.until_all::<EndpointSlice>(|slices| addresses(slices) == 0)
        .await;
}
