//! What a client sees of custom: given objects, when a request comes, then this answer.

use std::time::Duration;

use serde_json::{Value, json};

use crate::server::{Server, crd};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

fn widget(name: &str, size: i64) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size}})
}

async fn with_widgets() -> Server {
    let server = Server::start().await;
    let made = server.post(DEFINITIONS, &crd()).await.expect(201);
    let conditions = made["status"]["conditions"].as_array().unwrap();
    assert!(
        conditions
            .iter()
            .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
    );
    assert_eq!(made["status"]["acceptedNames"]["singular"], "widget");
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    server
}

#[tokio::test]
async fn a_definition_is_served_as_soon_as_it_is_stored() {
    let server = with_widgets().await;
    let made = server.post(WIDGETS, &widget("w", 3)).await.expect(201);
    assert_eq!(
        made["spec"]["colour"], "red",
        "defaults of the schema are filled in"
    );
    assert_eq!(made["metadata"]["generation"], 1);
    let group = server.get("/apis/example.com").await.expect(200);
    assert_eq!(group["preferredVersion"]["version"], "v1");
}

#[tokio::test]
async fn schema_and_rules_are_enforced() {
    let server = with_widgets().await;
    let words = server.post(WIDGETS, &widget("w", 0)).await.refused(422);
    assert!(words.contains("spec.size"), "{words}");
    let words = server.post(WIDGETS, &widget("w", 500)).await.refused(422);
    assert!(words.contains("too large to ship"), "{words}");
    let mut missing = widget("w", 1);
    missing["spec"] = json!({});
    let words = server.post(WIDGETS, &missing).await.refused(422);
    assert!(words.contains("spec.size: Required value"), "{words}");
    let mut unknown = widget("w", 1);
    unknown["spec"]["odd"] = 1.into();
    let kept = server.post(WIDGETS, &unknown).await;
    assert_eq!(kept.warnings, [r#"299 - "unknown field \"spec.odd\"""#]);
    assert!(kept.expect(201)["spec"].get("odd").is_none());
}

#[tokio::test]
async fn status_and_scale_are_doors_of_their_own() {
    let server = with_widgets().await;
    let path = format!("{WIDGETS}/w");
    let mut object = widget("w", 1);
    object["status"] = json!({"phase": "Odd"});
    let mut made = server.post(WIDGETS, &object).await.expect(201);
    assert!(made.get("status").is_none());
    made["status"] = json!({"phase": "Ready", "replicas": 2});
    made["spec"]["size"] = 9.into();
    let after = server
        .put(&format!("{path}/status"), &made)
        .await
        .expect(200);
    assert_eq!(
        (&after["status"]["phase"], &after["spec"]["size"]),
        (&json!("Ready"), &json!(1))
    );
    let scale = server
        .patch(
            &format!("{path}/scale"),
            "merge",
            &json!({"spec": {"replicas": 4}}),
        )
        .await
        .expect(200);
    assert_eq!(
        (&scale["spec"]["replicas"], &scale["status"]["replicas"]),
        (&json!(4), &json!(2))
    );
    assert_eq!(server.get(&path).await.expect(200)["spec"]["replicas"], 4);
}

#[tokio::test]
async fn every_served_version_shows_the_same_object() {
    let server = with_widgets().await;
    server.post(WIDGETS, &widget("w", 3)).await.expect(201);
    let answer = server
        .get("/apis/example.com/v1beta1/namespaces/default/widgets/w")
        .await;
    assert_eq!(
        answer.warnings,
        [r#"299 - "example.com/v1beta1 Widget is deprecated""#]
    );
    let old = answer.expect(200);
    assert_eq!(
        (&old["apiVersion"], &old["spec"]["size"]),
        (&json!("example.com/v1beta1"), &json!(3))
    );
}

#[tokio::test]
async fn its_columns_and_selectable_fields_work() {
    let server = with_widgets().await;
    server.post(WIDGETS, &widget("w", 3)).await.expect(201);
    let mut blue = widget("b", 4);
    blue["spec"]["colour"] = "blue".into();
    server.post(WIDGETS, &blue).await.expect(201);
    let list = server
        .get(&format!("{WIDGETS}?fieldSelector=spec.colour%3Dblue"))
        .await
        .expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(list["items"][0]["metadata"]["name"], "b");
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = server
        .request(
            http::Method::GET,
            WIDGETS,
            &accept,
            axum::body::Body::empty(),
        )
        .await
        .expect(200);
    let columns: Vec<_> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| &column["name"])
        .collect();
    assert_eq!(columns, ["Name", "Size", "Phase"]);
    assert_eq!(table["rows"][1]["cells"], json!(["w", 3, null]));
}

#[tokio::test]
async fn a_definition_that_cannot_be_served_is_refused_with_the_place() {
    let server = Server::start().await;
    let mut bad = crd();
    bad["metadata"]["name"] = "other.example.com".into();
    let words = server.post(DEFINITIONS, &bad).await.refused(422);
    assert!(words.contains("metadata.name"), "{words}");
    let mut bad = crd();
    bad["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
        .as_object_mut()
        .unwrap()
        .remove("type");
    let words = server.post(DEFINITIONS, &bad).await.refused(422);
    assert!(
        words.contains("spec.versions[0].schema.openAPIV3Schema"),
        "{words}"
    );
}

#[tokio::test]
async fn removing_a_definition_removes_its_objects_first() {
    let server = with_widgets().await;
    let mut held = widget("w", 1);
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.post(WIDGETS, &held).await.expect(201);
    server.post(WIDGETS, &widget("free", 1)).await.expect(201);
    let path = format!("{DEFINITIONS}/widgets.example.com");
    server.delete(&path, None).await.expect(200);
    until(|| async { server.get(&format!("{WIDGETS}/free")).await.code == 404 }).await;
    assert!(server.get(&path).await.expect(200)["metadata"]["deletionTimestamp"].is_string());
    server
        .patch(
            &format!("{WIDGETS}/w"),
            "merge",
            &json!({"metadata": {"finalizers": null}}),
        )
        .await
        .expect(200);
    until(|| async { server.get(&path).await.code == 404 }).await;
    until(|| async { server.get(WIDGETS).await.code == 404 }).await;
}

#[tokio::test]
async fn a_watch_ends_with_the_definition_of_what_it_watches() {
    use futures::StreamExt as _;
    let server = with_widgets().await;
    let request = http::Request::get(format!("{WIDGETS}?watch=1"))
        .header("authorization", format!("Bearer {}", server.token))
        .body(axum::body::Body::empty())
        .unwrap();
    let mut events = server.send(request).await.into_body().into_data_stream();
    server
        .delete(&format!("{DEFINITIONS}/widgets.example.com"), None)
        .await
        .expect(200);
    let ended = tokio::time::timeout(Duration::from_secs(20), async {
        while events.next().await.is_some() {}
    });
    ended.await.expect("the watch ends");
}

/// Waits for a condition.
async fn until<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) {
    let waiting = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("it becomes so in time");
}

#[tokio::test]
async fn custom_objects_survive_a_restart() {
    let server = with_widgets().await;
    server.post(WIDGETS, &widget("w", 3)).await.expect(201);
    let server = server.restart().await;
    assert_eq!(
        server.get(&format!("{WIDGETS}/w")).await.expect(200)["spec"]["size"],
        3
    );
}

#[tokio::test]
async fn an_update_must_say_which_version_it_replaces() {
    let server = with_widgets().await;
    server.post(WIDGETS, &widget("w", 3)).await.expect(201);
    let words = server
        .put(&format!("{WIDGETS}/w"), &widget("w", 4))
        .await
        .refused(422);
    assert!(
        words.contains("metadata.resourceVersion: Invalid value"),
        "{words}"
    );
}

#[tokio::test]
async fn rules_that_were_not_looked_at_are_mentioned() {
    let server = with_widgets().await;
    let mut wrong = widget("w", 1);
    wrong["spec"]["size"] = "large".into();
    let words = server.post(WIDGETS, &wrong).await.refused(422);
    assert!(
        words.contains("some validation rules were not checked"),
        "{words}"
    );
}
