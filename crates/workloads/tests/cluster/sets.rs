//! Stateful sets, daemon sets and cron jobs.

use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::home::Home;

fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "db"}},
        "spec": {"containers": [{"name": "main", "image": image}]},
    })
}

fn names(pods: &[Pod]) -> Vec<String> {
    let mut names: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
    names.sort();
    names
}

fn is_rolled_out(set: &StatefulSet, replicas: i32) -> bool {
    let status = set.status.clone().unwrap_or_default();
    status.observed_generation == set.metadata.generation
        && status.ready_replicas == Some(replicas)
        && status.updated_replicas == Some(replicas)
        && status.current_revision == status.update_revision
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateful_set_numbers_its_pods_and_claims_and_rolls_a_new_template_out() {
    let home = Home::start().await;
    home.create::<StatefulSet>(json!({
        "metadata": {"name": "db"},
        "spec": {
            "replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": template("db:1"),
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "standard",
                         "resources": {"requests": {"storage": "1Gi"}}},
            }],
        },
    }))
    .await;
    // Its claims wait for a class, and its first pod for them.
    home.until_all::<PersistentVolumeClaim>(|claims| {
        claims.iter().any(|claim| claim.name_any() == "data-db-0")
    })
    .await;
    crate::storage::add_class(&home).await;
    home.until::<StatefulSet>("db", |set| is_rolled_out(set, 2))
        .await;
    assert_eq!(
        names(&home.until_all::<Pod>(|_| true).await),
        ["db-0", "db-1"]
    );

    home.patch::<StatefulSet>("db", json!({"spec": {"template": template("db:2")}}))
        .await;
    home.until::<StatefulSet>("db", |set| is_rolled_out(set, 2))
        .await;
    let pods = home.until_all::<Pod>(|pods| pods.len() == 2).await;
    assert!(
        pods.iter()
            .all(|pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some("db:2"))
    );
    assert_eq!(
        home.until_all::<ControllerRevision>(|_| true).await.len(),
        2
    );

    home.patch::<StatefulSet>("db", json!({"spec": {"replicas": 1}}))
        .await;
    let left = home.until_all::<Pod>(|pods| pods.len() == 1).await;
    assert_eq!(names(&left), ["db-0"]);
    assert_eq!(
        home.until_all::<PersistentVolumeClaim>(|_| true)
            .await
            .len(),
        2,
        "claims outlive their pods"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_set_has_its_pod_on_the_node_and_gets_it_back() {
    let home = Home::start().await;
    home.create::<DaemonSet>(json!({
        "metadata": {"name": "agent"},
        "spec": {"selector": {"matchLabels": {"app": "db"}}, "template": template("agent:1")},
    }))
    .await;
    let ready = |set: &DaemonSet| {
        set.status
            .as_ref()
            .is_some_and(|status| status.number_available == Some(1))
    };
    home.until::<DaemonSet>("agent", ready).await;
    let first = home.until_all::<Pod>(|pods| pods.len() == 1).await;
    home.api::<Pod>()
        .delete(&first[0].name_any(), &DeleteParams::default())
        .await
        .unwrap();
    home.until_all::<Pod>(|pods| pods.len() == 1 && pods[0].uid() != first[0].uid())
        .await;
    home.patch::<DaemonSet>("agent", json!({"spec": {"template": template("agent:2")}}))
        .await;
    home.until::<DaemonSet>("agent", |set| {
        ready(set)
            && set
                .status
                .as_ref()
                .is_some_and(|status| status.updated_number_scheduled == Some(1))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_job_runs_each_second_when_told_every_second_and_keeps_few() {
    let home = Home::start().await;
    home.create::<CronJob>(json!({
        "metadata": {"name": "tick"},
        "spec": {
            "schedule": "@every 1s", "successfulJobsHistoryLimit": 1,
            "jobTemplate": {"spec": {"template": {
                "metadata": {"annotations": {"test/ends": "Succeeded"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]},
            }}},
        },
    }))
    .await;
    let jobs = home.until_all::<Job>(|jobs| !jobs.is_empty()).await;
    assert_eq!(jobs[0].owner_references()[0].name, "tick");
    let noted = |cron: &CronJob| {
        cron.status.as_ref().is_some_and(|status| {
            status.last_schedule_time.is_some() && status.last_successful_time.is_some()
        })
    };
    home.until::<CronJob>("tick", noted).await;
}
