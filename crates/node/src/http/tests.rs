//! The kubelet's HTTP API, asked as the API server asks it.

use super::*;
use crate::kubelet::{Folders, PodIndex};
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

async fn ask(pods: PodIndex, path: &str) -> (u16, String) {
    let identity = Identity {
        name: "n".into(),
        address: "10.1.0.1".parse().expect("an address"),
        port: 0,
        resources: Default::default(),
        isolation: "sandbox",
    };
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let answer = router(Server {
        pods,
        identity,
        network: None,
    })
    .oneshot(request)
    .await
    .expect("an answer");
    let status = answer.status().as_u16();
    let body = answer
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

fn one_pod(data: &std::path::Path) -> PodIndex {
    let pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
        "spec": {"containers": [{"name": "c"}, {"name": "waiting"}]},
        "status": {"containerStatuses": [{
            "name": "waiting", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ErrImagePull"}},
        }]},
    }))
    .expect("a pod");
    let folder = Folders::new(data).of("ns", "p", "u");
    for (run, word) in [(0, "before"), (1, "now")] {
        let log = folder.log("c", run);
        std::fs::create_dir_all(log.parent().expect("a parent")).expect("made");
        std::fs::write(
            log,
            format!("2026-01-01T00:00:00.000000000Z stdout F {word}\n"),
        )
        .expect("written");
    }
    let pods = PodIndex::default();
    let runs = [("c".to_owned(), (1, false))].into();
    pods.set_for_test(Known {
        pod: Arc::new(pod),
        folder,
        shim: None,
        runs,
        ip: None,
    });
    pods
}

#[tokio::test]
async fn the_log_of_the_last_run_is_shown_and_the_one_before_on_request() {
    let data = tempfile::tempdir().expect("a folder");
    let pods = one_pod(data.path());
    assert_eq!(
        ask(pods.clone(), "/containerLogs/ns/p/c").await,
        (200, "now\n".into())
    );
    assert_eq!(
        ask(pods.clone(), "/containerLogs/ns/p/c?previous=true").await,
        (200, "before\n".into())
    );
    let followed = ask(pods, "/containerLogs/ns/p/c?follow=true&timestamps=true").await;
    assert_eq!(
        followed,
        (200, "2026-01-01T00:00:00.000000000Z now\n".into()),
        "it ended, so following ends too"
    );
}

#[test]
fn a_log_that_is_there_before_its_container_runs_is_followed() {
    let data = tempfile::tempdir().expect("a folder");
    let pods = one_pod(data.path());
    let mut known = pods.get("ns", "p").expect("the pod");
    known.runs = [("waiting".to_owned(), (0, false))].into();
    pods.set_for_test(known.clone());
    let more_may_come =
        logs::still_runs(pods.clone(), "ns".into(), "p".into(), "waiting".into(), 0);
    assert!(more_may_come(), "its start is under way");
    let mut pod = (*known.pod).clone();
    let statuses = pod
        .status
        .as_mut()
        .expect("a status")
        .container_statuses
        .as_mut();
    statuses.expect("containers")[0].state =
        serde_json::from_value(json!({"terminated": {"exitCode": 0}})).ok();
    known.pod = Arc::new(pod);
    pods.set_for_test(known);
    assert!(!more_may_come(), "it has ended");
}

#[tokio::test]
async fn a_log_that_is_not_there_is_refused_in_words() {
    let data = tempfile::tempdir().expect("a folder");
    let pods = one_pod(data.path());
    assert_eq!(
        ask(pods.clone(), "/containerLogs/ns/p/waiting").await,
        (
            400,
            "container \"waiting\" in pod \"p\" is waiting to start: ErrImagePull".into()
        )
    );
    assert_eq!(ask(pods.clone(), "/containerLogs/ns/p/none").await.0, 400);
    assert_eq!(ask(pods, "/containerLogs/ns/other/c").await.0, 404);
}

#[tokio::test]
async fn the_node_lists_its_pods_and_says_that_it_lives() {
    let data = tempfile::tempdir().expect("a folder");
    let pods = one_pod(data.path());
    assert_eq!(ask(pods.clone(), "/healthz").await, (200, "ok".into()));
    let (_, list) = ask(pods, "/pods").await;
    assert!(
        list.contains("\"kind\":\"PodList\"") && list.contains("\"uid\":\"u\""),
        "{list}"
    );
}
