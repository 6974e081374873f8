//! What a client sees of patch: given objects, when a request comes, then this answer.

use serde_json::json;

use crate::server::{CONFIG_MAPS, DEPLOYMENTS, Server, config_map, deployment};

#[tokio::test]
async fn a_merge_patch_replaces_lists_and_a_strategic_one_merges_them() {
    let server = Server::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    server
        .post(DEPLOYMENTS, &deployment("web"))
        .await
        .expect(201);
    let sidecar = json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "busybox"}]}}}});
    let both = server
        .patch(&path, "strategic-merge", &sidecar)
        .await
        .expect(200);
    assert_eq!(
        both["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let one = server.patch(&path, "merge", &sidecar).await.expect(200);
    assert_eq!(
        one["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_json_patch_is_all_or_nothing() {
    let server = Server::start().await;
    server.create_config_map("a", json!({"k": "1"})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let bad = json!([{"op": "replace", "path": "/data/k", "value": "2"}, {"op": "test", "path": "/data/k", "value": "9"}]);
    server.patch(&path, "json", &bad).await.expect(422);
    assert_eq!(server.get(&path).await.expect(200)["data"]["k"], "1");
    let good = json!([{"op": "replace", "path": "/data/k", "value": "2"}]);
    assert_eq!(
        server.patch(&path, "json", &good).await.expect(200)["data"]["k"],
        "2"
    );
}

#[tokio::test]
async fn an_unknown_form_of_patch_is_named_with_the_known_ones() {
    let server = Server::start().await;
    server.create_config_map("a", json!({})).await;
    let words = server
        .patch(&format!("{CONFIG_MAPS}/a"), "odd", &json!({}))
        .await
        .refused(415);
    assert!(words.contains("application/apply-patch+yaml"), "{words}");
}

#[tokio::test]
async fn apply_creates_merges_and_lets_go_of_fields() {
    let server = Server::start().await;
    let path = format!("{CONFIG_MAPS}/a?fieldManager=one");
    server
        .patch(
            &path,
            "apply",
            &config_map("a", json!({"x": "1", "y": "2"})),
        )
        .await
        .expect(201);
    let other = format!("{CONFIG_MAPS}/a?fieldManager=two");
    let both = server
        .patch(&other, "apply", &config_map("a", json!({"z": "3"})))
        .await
        .expect(200);
    assert_eq!(both["data"], json!({"x": "1", "y": "2", "z": "3"}));
    let less = server
        .patch(&path, "apply", &config_map("a", json!({"x": "1"})))
        .await
        .expect(200);
    assert_eq!(
        less["data"],
        json!({"x": "1", "z": "3"}),
        "what its only manager no longer wants is gone"
    );
    let managers: Vec<_> = less["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["manager"].clone())
        .collect();
    assert_eq!(managers, ["one", "two"]);
}

#[tokio::test]
async fn apply_refuses_to_take_another_managers_field_unless_forced() {
    let server = Server::start().await;
    server
        .patch(
            &format!("{CONFIG_MAPS}/a?fieldManager=one"),
            "apply",
            &config_map("a", json!({"x": "1"})),
        )
        .await
        .expect(201);
    let path = format!("{CONFIG_MAPS}/a?fieldManager=two");
    let answer = server
        .patch(&path, "apply", &config_map("a", json!({"x": "2"})))
        .await;
    assert_eq!(
        answer.body["details"]["causes"][0]["reason"],
        "FieldManagerConflict"
    );
    assert_eq!(answer.body["details"]["causes"][0]["field"], ".data.x");
    answer.expect(409);
    let forced = server
        .patch(
            &format!("{path}&force=true"),
            "apply",
            &config_map("a", json!({"x": "2"})),
        )
        .await
        .expect(200);
    assert_eq!(forced["data"]["x"], "2");
}

#[tokio::test]
async fn apply_without_a_manager_is_refused() {
    let server = Server::start().await;
    let words = server
        .patch(
            &format!("{CONFIG_MAPS}/a"),
            "apply",
            &config_map("a", json!({})),
        )
        .await
        .refused(422);
    assert!(words.contains("fieldManager: Required value"), "{words}");
}

#[tokio::test]
async fn the_same_apply_twice_makes_one_revision() {
    let server = Server::start().await;
    let path = format!("{DEPLOYMENTS}/web?fieldManager=one");
    let first = server
        .patch(&path, "apply", &deployment("web"))
        .await
        .expect(201);
    let second = server
        .patch(&path, "apply", &deployment("web"))
        .await
        .expect(200);
    assert_eq!(
        first["metadata"]["resourceVersion"],
        second["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn a_patch_does_not_make_another_kind_of_an_object() {
    let server = Server::start().await;
    server.create_config_map("a", json!({"n": "1"})).await;
    let path = format!("{CONFIG_MAPS}/a");
    for (form, patch) in [
        ("merge", json!({"kind": "Secret"})),
        ("strategic-merge", json!({"apiVersion": "v2"})),
        (
            "json",
            json!([{"op": "replace", "path": "/kind", "value": "Secret"}]),
        ),
    ] {
        server.patch(&path, form, &patch).await.expect(422);
    }
    let found = server.get(&path).await.expect(200);
    assert_eq!(found["kind"], "ConfigMap");
    assert_eq!(found["apiVersion"], "v1");
}

#[tokio::test]
async fn twenty_patches_at_once_all_land() {
    let server = std::sync::Arc::new(Server::start().await);
    server.create_config_map("a", json!({})).await;
    let patches: Vec<_> = (0..20)
        .map(|n| {
            let server = server.clone();
            tokio::spawn(async move {
                let patch = json!({"data": {format!("k{n}"): "v"}});
                server
                    .patch(&format!("{CONFIG_MAPS}/a"), "merge", &patch)
                    .await
                    .expect(200);
            })
        })
        .collect();
    for patch in patches {
        patch.await.unwrap();
    }
    let data = server.get(&format!("{CONFIG_MAPS}/a")).await.expect(200)["data"].clone();
    assert_eq!(data.as_object().unwrap().len(), 20);
}

#[tokio::test]
async fn replacing_a_field_that_is_not_there_adds_it() {
    let server = Server::start().await;
    server.create_config_map("a", json!({"k": "1"})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let add = json!([{"op": "replace", "path": "/data/new", "value": "2"}]);
    let patched = server.patch(&path, "json", &add).await.expect(200);
    assert_eq!(patched["data"], json!({"k": "1", "new": "2"}));
    let unknown = json!([{"op": "jump", "path": "/data"}]);
    server.patch(&path, "json", &unknown).await.expect(422);
}

#[tokio::test]
async fn a_strict_patch_that_brings_an_unknown_field_is_invalid() {
    let server = Server::start().await;
    server.create_config_map("a", json!({})).await;
    let refused = server
        .patch(
            &format!("{CONFIG_MAPS}/a?fieldValidation=Strict"),
            "merge",
            &json!({"datum": {}}),
        )
        .await
        .expect(422);
    assert_eq!(refused["details"]["causes"][0]["field"], "patch");
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.ends_with("strict decoding error: unknown field \"datum\""),
        "{message}"
    );
}
