//! What a client sees of table: given objects, when a request comes, then this answer.

use axum::body::Body;
use http::Method;
use serde_json::{Value, json};

use crate::server::{CONFIG_MAPS, DEPLOYMENTS, Server, deployment};

async fn table(server: &Server, path: &str) -> Value {
    let accept = [(
        "accept",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    )];
    server
        .request(Method::GET, path, &accept, Body::empty())
        .await
        .expect(200)
}

#[tokio::test]
async fn kubectl_get_shows_the_columns_of_a_kind() {
    let server = Server::start().await;
    server
        .post(DEPLOYMENTS, &deployment("web"))
        .await
        .expect(201);
    let table = table(&server, DEPLOYMENTS).await;
    let columns: Vec<_> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| &column["name"])
        .collect();
    assert_eq!(
        columns[..5],
        ["Name", "Ready", "Up-to-date", "Available", "Age"]
    );
    assert_eq!(table["columnDefinitions"][5]["priority"], 1);
    let cells = &table["rows"][0]["cells"];
    assert_eq!(
        (&cells[0], &cells[1], &cells[6]),
        (&json!("web"), &json!("0/1"), &json!("python:3.11"))
    );
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
}

#[tokio::test]
async fn every_stored_kind_can_be_listed_as_a_table() {
    let server = Server::start().await;
    for builtin in apiserver::registry::builtin::BUILTINS
        .iter()
        .filter(|builtin| builtin.stored)
    {
        let base = if builtin.group.is_empty() {
            "/api/v1".into()
        } else {
            format!("/apis/{}/{}", builtin.group, builtin.version)
        };
        let table = table(&server, &format!("{base}/{}", builtin.plural)).await;
        let columns = table["columnDefinitions"].as_array().unwrap().len();
        for row in table["rows"].as_array().unwrap() {
            assert_eq!(
                row["cells"].as_array().unwrap().len(),
                columns,
                "{}",
                builtin.kind
            );
        }
    }
}

#[tokio::test]
async fn metadata_alone_can_be_asked_for() {
    let server = Server::start().await;
    server.create_config_map("a", json!({"k": "v"})).await;
    let accept = [(
        "accept",
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    )];
    let list = server
        .request(Method::GET, CONFIG_MAPS, &accept, Body::empty())
        .await
        .expect(200);
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["metadata"]["name"], "a");
    assert!(list["items"][0].get("data").is_none());
}

#[tokio::test]
async fn what_cannot_be_produced_is_said() {
    let server = Server::start().await;
    let accept = [("accept", "application/xml")];
    let answer = server
        .request(Method::GET, CONFIG_MAPS, &accept, Body::empty())
        .await;
    assert_eq!(answer.body["reason"], "NotAcceptable");
    answer.expect(406);
}

#[tokio::test]
async fn a_review_has_no_table() {
    let server = Server::start().await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    server
        .request(Method::POST, path, &accept, Body::from(review.to_string()))
        .await
        .expect(406);
}
