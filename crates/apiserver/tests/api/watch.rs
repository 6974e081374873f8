//! What a client sees of watch: given objects, when a request comes, then this answer.

use std::time::Duration;

use axum::body::Body;
use futures::StreamExt;
use http::Request;
use serde_json::{Value, json};

use crate::server::{CONFIG_MAPS, Server, config_map};

/// An open watch, read event by event.
struct Watch {
    body: axum::body::BodyDataStream,
    rest: Vec<u8>,
}

impl Watch {
    async fn open(server: &Server, path: &str) -> Self {
        let request =
            Request::get(path).header("authorization", format!("Bearer {}", server.token));
        let response = server.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
        Self {
            body: response.into_body().into_data_stream(),
            rest: Vec::new(),
        }
    }

    /// The next event; none when the watch has ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.body.next())
                .await
                .expect("an event in time");
            self.rest.extend_from_slice(&chunk?.unwrap());
        }
    }

    async fn words(&mut self) -> (String, String) {
        let event = self.next().await.expect("the watch goes on");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&event["type"]),
            text(&event["object"]["metadata"]["name"]),
        )
    }
}

fn pair(kind: &str, name: &str) -> (String, String) {
    (kind.into(), name.into())
}

fn labelled(name: &str, tier: &str) -> Value {
    let mut object = config_map(name, json!({}));
    object["metadata"]["labels"] = json!({"tier": tier});
    object
}

#[tokio::test]
async fn every_change_after_a_revision_is_told_in_order() {
    let server = Server::start().await;
    let first = server.create_config_map("a", json!({})).await;
    let revision = first["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = Watch::open(
        &server,
        &format!("{CONFIG_MAPS}?watch=1&resourceVersion={revision}"),
    )
    .await;
    server.create_config_map("b", json!({})).await;
    server
        .patch(
            &format!("{CONFIG_MAPS}/b"),
            "merge",
            &json!({"data": {"k": "v"}}),
        )
        .await
        .expect(200);
    server
        .delete(&format!("{CONFIG_MAPS}/b"), None)
        .await
        .expect(200);
    assert_eq!(watch.words().await, pair("ADDED", "b"));
    let modified = watch.next().await.unwrap();
    assert_eq!(modified["type"], "MODIFIED");
    let deleted = watch.next().await.unwrap();
    assert_eq!(deleted["type"], "DELETED");
    assert_eq!(deleted["object"]["data"]["k"], "v");
    let revision = |event: &Value| {
        let text = event["object"]["metadata"]["resourceVersion"]
            .as_str()
            .unwrap();
        text.parse::<u64>().unwrap()
    };
    assert!(
        revision(&deleted) > revision(&modified),
        "a deletion has a revision of its own"
    );
}

#[tokio::test]
async fn without_a_revision_the_present_comes_first() {
    let server = Server::start().await;
    server.create_config_map("a", json!({})).await;
    let mut watch = Watch::open(&server, &format!("{CONFIG_MAPS}?watch=1")).await;
    assert_eq!(watch.words().await, pair("ADDED", "a"));
    server.create_config_map("b", json!({})).await;
    assert_eq!(watch.words().await, pair("ADDED", "b"));
}

#[tokio::test]
async fn a_streamed_list_ends_with_a_marked_bookmark() {
    let server = Server::start().await;
    server.create_config_map("a", json!({})).await;
    let query =
        "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Watch::open(&server, &format!("{CONFIG_MAPS}?{query}")).await;
    assert_eq!(watch.words().await, pair("ADDED", "a"));
    let mark = watch.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert_eq!(
        mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    assert_eq!(mark["object"]["kind"], "ConfigMap");
    let wrong = server
        .get(&format!("{CONFIG_MAPS}?watch=1&sendInitialEvents=true"))
        .await
        .refused(422);
    assert!(wrong.contains("sendInitialEvents"), "{wrong}");
}

#[tokio::test]
async fn leaving_a_selection_reads_as_deleted_and_entering_as_added() {
    let server = Server::start().await;
    server
        .post(CONFIG_MAPS, &labelled("a", "x"))
        .await
        .expect(201);
    let mut watch = Watch::open(
        &server,
        &format!("{CONFIG_MAPS}?watch=1&labelSelector=tier%3Dx"),
    )
    .await;
    assert_eq!(watch.words().await, pair("ADDED", "a"));
    let path = format!("{CONFIG_MAPS}/a");
    let moved = server
        .patch(
            &path,
            "merge",
            &json!({"metadata": {"labels": {"tier": "y"}}}),
        )
        .await
        .expect(200);
    let left = watch.next().await.unwrap();
    assert_eq!(
        (&left["type"], &left["object"]["metadata"]["labels"]["tier"]),
        (&json!("DELETED"), &json!("x"))
    );
    assert_eq!(
        left["object"]["metadata"]["resourceVersion"],
        moved["metadata"]["resourceVersion"]
    );
    server
        .patch(&path, "merge", &json!({"data": {"unseen": "1"}}))
        .await
        .expect(200);
    server
        .patch(
            &path,
            "merge",
            &json!({"metadata": {"labels": {"tier": "x"}}}),
        )
        .await
        .expect(200);
    assert_eq!(watch.words().await, pair("ADDED", "a"));
}

#[tokio::test]
async fn a_watch_of_one_namespace_sees_no_other() {
    let server = Server::start().await;
    let mut watch = Watch::open(
        &server,
        &format!("{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Da"),
    )
    .await;
    server
        .post(
            "/api/v1/namespaces/kube-system/configmaps",
            &config_map("a", json!({})),
        )
        .await
        .expect(201);
    server.create_config_map("b", json!({})).await;
    server.create_config_map("a", json!({})).await;
    let event = watch.next().await.unwrap();
    assert_eq!(event["object"]["metadata"]["namespace"], "default");
    assert_eq!(event["object"]["metadata"]["name"], "a");
}

#[tokio::test]
async fn a_watch_ends_after_its_timeout_with_a_last_bookmark() {
    let server = Server::start().await;
    let mut watch = Watch::open(
        &server,
        &format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1&allowWatchBookmarks=true"),
    )
    .await;
    let mark = watch.next().await.unwrap();
    assert_eq!(mark["type"], "BOOKMARK");
    assert!(watch.next().await.is_none());
}

#[tokio::test]
async fn a_watch_goes_on_over_a_restart() {
    let server = Server::start().await;
    let first = server.create_config_map("a", json!({})).await;
    server.create_config_map("b", json!({})).await;
    let revision = first["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    let server = server.restart().await;
    let mut watch = Watch::open(
        &server,
        &format!("{CONFIG_MAPS}?watch=1&resourceVersion={revision}"),
    )
    .await;
    assert_eq!(watch.words().await, pair("ADDED", "b"));
}

#[tokio::test]
async fn a_watch_from_now_on_begins_with_the_request() {
    let server = Server::start().await;
    server.create_config_map("before", json!({})).await;
    let query = "watch=1&sendInitialEvents=false&resourceVersionMatch=NotOlderThan";
    let mut watch = Watch::open(&server, &format!("{CONFIG_MAPS}?{query}")).await;
    server.create_config_map("after", json!({})).await;
    assert_eq!(watch.words().await, pair("ADDED", "after"));
}

#[tokio::test]
async fn a_revision_lost_in_a_crash_is_too_old_to_watch_from() {
    let server = Server::start().await;
    let made = server.create_config_map("a", json!({})).await;
    let revision: u64 = made["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    // What is on disk at this moment is what a crash would leave.
    let folder = tempfile::tempdir().unwrap();
    for file in ["apiserver.db", "apiserver.db-wal"] {
        std::fs::copy(server.folder.path().join(file), folder.path().join(file)).unwrap();
    }
    let api = apiserver::ApiServer::open(apiserver::Config::at(folder.path()))
        .await
        .unwrap();
    let token = api.admin_token().to_owned();
    let crashed = Server { api, folder, token };
    let mut watch = Watch::open(
        &crashed,
        &format!("{CONFIG_MAPS}?watch=1&resourceVersion={}", revision + 10),
    )
    .await;
    let event = watch.next().await.unwrap();
    assert_eq!(
        (&event["type"], &event["object"]["code"]),
        (&json!("ERROR"), &json!(410))
    );
    assert_eq!(event["object"]["reason"], "Expired");
    assert!(watch.next().await.is_none());
    let mut watch = Watch::open(
        &crashed,
        &format!("{CONFIG_MAPS}?watch=1&resourceVersion={}", revision - 1),
    )
    .await;
    assert_eq!(watch.words().await, pair("ADDED", "a"));
}

#[tokio::test]
async fn tables_are_watched_as_tables() {
    let server = Server::start().await;
    server.create_config_map("a", json!({"k": "v"})).await;
    let request = Request::get(format!("{CONFIG_MAPS}?watch=1"))
        .header("authorization", format!("Bearer {}", server.token))
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");
    let response = server.send(request.body(Body::empty()).unwrap()).await;
    let mut watch = Watch {
        body: response.into_body().into_data_stream(),
        rest: Vec::new(),
    };
    let event = watch.next().await.unwrap();
    assert_eq!(event["object"]["kind"], "Table");
    assert_eq!(event["object"]["rows"][0]["cells"][1], 1);
    server.create_config_map("b", json!({})).await;
    let event = watch.next().await.unwrap();
    assert!(
        event["object"]["columnDefinitions"].is_null(),
        "columns are told once"
    );
}
