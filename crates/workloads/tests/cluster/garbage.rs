//! Owners and what they own, custom resources included.

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, PropagationPolicy};
use kube::core::discovery::ApiResource;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::home::{Home, eventually};

fn map(name: &str, owner: Option<&ConfigMap>) -> Value {
    let owners: Vec<Value> = owner
        .map(|owner| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(), "uid": owner.uid(),
                "blockOwnerDeletion": true,
            })
        })
        .into_iter()
        .collect();
    json!({"metadata": {"name": name, "ownerReferences": owners}})
}

async fn names(home: &Home) -> Vec<String> {
    let maps = home
        .api::<ConfigMap>()
        .list(&Default::default())
        .await
        .unwrap()
        .items;
    maps.iter()
        .map(ResourceExt::name_any)
        .filter(|name| name != "kube-root-ca.crt")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dependents_go_after_before_or_not_at_all_as_asked() {
    let home = Home::start().await;
    for (policy, left) in [
        (PropagationPolicy::Background, vec![]),
        (PropagationPolicy::Foreground, vec![]),
        (
            PropagationPolicy::Orphan,
            vec!["child".to_owned(), "grandchild".to_owned()],
        ),
    ] {
        let owner = home.create::<ConfigMap>(map("owner", None)).await;
        let child = home.create::<ConfigMap>(map("child", Some(&owner))).await;
        home.create::<ConfigMap>(map("grandchild", Some(&child)))
            .await;
        let params = DeleteParams {
            propagation_policy: Some(policy.clone()),
            ..Default::default()
        };
        home.api::<ConfigMap>()
            .delete("owner", &params)
            .await
            .unwrap();
        let found = eventually(|| names(&home), |names| *names == left).await;
        println!("{policy:?}: {found:?}");
    }
    let child = home
        .until::<ConfigMap>("child", |held| held.owner_references().is_empty())
        .await;
    assert!(child.metadata.deletion_timestamp.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_owners_goes_as_a_whole() {
    let home = Home::start().await;
    let first = home.create::<ConfigMap>(map("first", None)).await;
    let second = home.create::<ConfigMap>(map("second", Some(&first))).await;
    let third = home.create::<ConfigMap>(map("third", Some(&second))).await;
    let closing = map("first", Some(&third));
    home.api::<ConfigMap>()
        .patch("first", &PatchParams::default(), &Patch::Merge(closing))
        .await
        .unwrap();
    let params = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Foreground),
        ..Default::default()
    };
    home.api::<ConfigMap>()
        .delete("first", &params)
        .await
        .unwrap();
    eventually(|| names(&home), |names| names.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_made_for_an_owner_that_never_was_goes() {
    let home = Home::start().await;
    let mut body = map("lost", None);
    body["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "00000000-0000-0000-0000-000000000000"}]);
    home.create::<ConfigMap>(body).await;
    eventually(|| names(&home), |names| names.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_custom_resource_owns_like_any_other() {
    let home = Home::start().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(home.client.clone());
    let definition = serde_json::from_value(json!({
        "metadata": {"name": "trials.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "trials", "singular": "trial", "kind": "Trial"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    }))
    .unwrap();
    definitions
        .create(&PostParams::default(), &definition)
        .await
        .unwrap();
    let resource = ApiResource {
        group: "example.com".into(),
        version: "v1".into(),
        api_version: "example.com/v1".into(),
        kind: "Trial".into(),
        plural: "trials".into(),
    };
    let trials: Api<DynamicObject> =
        Api::namespaced_with(home.client.clone(), "default", &resource);
    let trial: DynamicObject = serde_json::from_value(
        json!({"apiVersion": "example.com/v1", "kind": "Trial", "metadata": {"name": "t"}}),
    )
    .unwrap();
    let made = eventually(
        || async { trials.create(&PostParams::default(), &trial).await.ok() },
        Option::is_some,
    )
    .await;
    let trial = made.expect("it was created");
    let mut body = map("owned", None);
    body["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "example.com/v1", "kind": "Trial", "name": "t", "uid": trial.uid()}]);
    home.create::<ConfigMap>(body).await;
    trials.delete("t", &DeleteParams::default()).await.unwrap();
    eventually(|| names(&home), |names| names.is_empty()).await;
}
