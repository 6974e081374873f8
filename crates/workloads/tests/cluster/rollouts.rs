//! Deployments from creation over rollout and rollback to deletion.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::home::Home;

fn deployment(replicas: i32) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "main", "image": "web:1"}]},
            },
        },
    })
}

fn is_complete(deployment: &Deployment, replicas: i32) -> bool {
    let status = deployment.status.clone().unwrap_or_default();
    status.observed_generation == deployment.metadata.generation
        && status.updated_replicas == Some(replicas)
        && status.replicas == Some(replicas)
        && status.available_replicas == Some(replicas)
}

fn has_progressed(deployment: &Deployment) -> bool {
    let conditions = deployment
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|held| held.reason.as_deref() == Some("NewReplicaSetAvailable"))
}

fn set_image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_rolls_out_rolls_back_and_takes_its_pods_with_it() {
    let home = Home::start().await;
    home.create::<Deployment>(deployment(3)).await;
    let first = home
        .until::<Deployment>("web", |held| is_complete(held, 3) && has_progressed(held))
        .await;
    assert_eq!(
        first.annotations()["deployment.kubernetes.io/revision"],
        "1"
    );
    let types: Vec<String> = first
        .status
        .unwrap()
        .conditions
        .unwrap()
        .into_iter()
        .map(|held| held.type_)
        .collect();
    assert_eq!(types, ["Available", "Progressing"]);

    home.patch::<Deployment>("web", set_image("web:2")).await;
    let second = home.until::<Deployment>("web", |held| {
        is_complete(held, 3) && held.annotations()["deployment.kubernetes.io/revision"] == "2"
    });
    second.await;
    let pods = home.until_all::<Pod>(|pods| pods.len() == 3).await;
    for pod in &pods {
        assert_eq!(
            pod.spec.as_ref().unwrap().containers[0].image.as_deref(),
            Some("web:2")
        );
    }
    assert_eq!(
        home.until_all::<ReplicaSet>(|sets| sets.len() == 2)
            .await
            .len(),
        2
    );

    home.patch::<Deployment>("web", set_image("web:1")).await;
    let back = home.until::<Deployment>("web", |held| {
        is_complete(held, 3) && held.annotations()["deployment.kubernetes.io/revision"] == "3"
    });
    back.await;
    assert_eq!(
        home.until_all::<ReplicaSet>(|sets| sets.len() == 2)
            .await
            .len(),
        2,
        "the old set is used again"
    );

    home.api::<Deployment>()
        .delete("web", &DeleteParams::background())
        .await
        .unwrap();
    home.until_all::<ReplicaSet>(|sets| sets.is_empty()).await;
    home.until_all::<Pod>(|pods| pods.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pod_of_a_deployment_is_replaced_and_scaling_follows() {
    let home = Home::start().await;
    home.create::<Deployment>(deployment(2)).await;
    home.until::<Deployment>("web", |held| is_complete(held, 2))
        .await;
    let pods = home.until_all::<Pod>(|pods| pods.len() == 2).await;
    let gone = pods[0].name_any();
    home.api::<Pod>()
        .delete(&gone, &DeleteParams::default())
        .await
        .unwrap();
    home.until_all::<Pod>(|pods| pods.len() == 2 && pods.iter().all(|pod| pod.name_any() != gone))
        .await;
    home.patch::<Deployment>("web", json!({"spec": {"replicas": 5}}))
        .await;
    home.until::<Deployment>("web", |held| is_complete(held, 5))
        .await;
    home.patch::<Deployment>("web", json!({"spec": {"replicas": 0}}))
        .await;
    home.until_all::<Pod>(|pods| pods.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_pods_come_and_go_in_seconds() {
    let home = Home::start().await;
    let start = std::time::Instant::now();
    home.create::<Deployment>(deployment(300)).await;
    home.until::<Deployment>("web", |held| is_complete(held, 300))
        .await;
    let created = start.elapsed();
    home.api::<Deployment>()
        .delete("web", &DeleteParams::background())
        .await
        .unwrap();
    home.until_all::<Pod>(|pods| pods.is_empty()).await;
    println!(
        "300 pods available after {created:?}, gone after {:?}",
        start.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_controller_keeps_its_pods_too() {
    let home = Home::start().await;
    home.create::<ReplicationController>(json!({
        "metadata": {"name": "old"},
        "spec": {"replicas": 2, "selector": {"app": "old"}, "template": {
            "metadata": {"labels": {"app": "old"}},
            "spec": {"containers": [{"name": "main", "image": "x"}]},
        }},
    }))
    .await;
    home.until::<ReplicationController>("old", |held| {
        held.status
            .as_ref()
            .is_some_and(|status| status.available_replicas == Some(2))
    })
    .await;
    let orphan = DeleteParams {
        propagation_policy: Some(kube::api::PropagationPolicy::Orphan),
        ..Default::default()
    };
    home.api::<ReplicationController>()
        .delete("old", &orphan)
        .await
        .unwrap();
    home.until_all::<ReplicationController>(|held| held.is_empty())
        .await;
    home.until_all::<Pod>(|pods| {
        pods.len() == 2 && pods.iter().all(|pod| pod.owner_references().is_empty())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disruption_budget_lets_so_many_evictions_through_and_no_more() {
    use k8s_openapi::api::policy::v1::PodDisruptionBudget;
    let home = Home::start().await;
    home.create::<Deployment>(deployment(2)).await;
    home.until::<Deployment>("web", |held| is_complete(held, 2))
        .await;
    home.create::<PodDisruptionBudget>(json!({
        "metadata": {"name": "web"},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}},
    }))
    .await;
    let allowed = |count: i32| {
        move |held: &PodDisruptionBudget| {
            held.status.as_ref().is_some_and(|status| {
                status.disruptions_allowed == count && status.current_healthy >= 2
            })
        }
    };
    home.until::<PodDisruptionBudget>("web", allowed(0)).await;
    let pod = home.until_all::<Pod>(|pods| pods.len() == 2).await[0].name_any();
    let refused = home
        .api::<Pod>()
        .evict(&pod, &Default::default())
        .await
        .expect_err("it is refused");
    assert!(matches!(refused, kube::Error::Api(status) if status.code == 429));
    home.patch::<PodDisruptionBudget>("web", json!({"spec": {"minAvailable": 1}}))
        .await;
    home.until::<PodDisruptionBudget>("web", allowed(1)).await;
    home.api::<Pod>()
        .evict(&pod, &Default::default())
        .await
        .expect("it is let through");
    home.until_all::<Pod>(|pods| pods.len() == 2 && pods.iter().all(|held| held.name_any() != pod))
        .await;
}
