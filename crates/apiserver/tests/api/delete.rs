//! What a client sees of delete: given objects, when a request comes, then this answer.

use serde_json::{Value, json};

use crate::server::{CONFIG_MAPS, DEPLOYMENTS, PODS, Server, deployment, pod};

#[tokio::test]
async fn a_deleted_object_is_gone_and_the_answer_names_it() {
    let server = Server::start().await;
    let made = server.create_config_map("a", json!({})).await;
    let answer = server
        .delete(&format!("{CONFIG_MAPS}/a"), None)
        .await
        .expect(200);
    assert_eq!(
        (&answer["kind"], &answer["status"]),
        (&json!("Status"), &json!("Success"))
    );
    assert_eq!(answer["details"]["uid"], made["metadata"]["uid"]);
    let words = server.get(&format!("{CONFIG_MAPS}/a")).await.refused(404);
    assert_eq!(words, "configmaps \"a\" not found");
}

#[tokio::test]
async fn preconditions_protect_from_deleting_another_object() {
    let server = Server::start().await;
    let made = server.create_config_map("a", json!({})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let wrong = json!({"preconditions": {"uid": "00000000-0000-0000-0000-000000000000"}});
    server.delete(&path, Some(wrong)).await.expect(409);
    let stale = json!({"preconditions": {"resourceVersion": "1"}});
    server.delete(&path, Some(stale)).await.expect(409);
    let right = json!({"preconditions": {"uid": made["metadata"]["uid"]}});
    server.delete(&path, Some(right)).await.expect(200);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_removed() {
    let server = Server::start().await;
    let mut object = crate::server::config_map("a", json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/one", "example.com/two"]);
    server.post(CONFIG_MAPS, &object).await.expect(201);
    let path = format!("{CONFIG_MAPS}/a");
    server.delete(&path, None).await.expect(200);
    let held = server.get(&path).await.expect(200);
    assert!(held["metadata"]["deletionTimestamp"].is_string());
    let more = json!({"metadata": {"finalizers": ["example.com/one", "example.com/two", "example.com/late"]}});
    let words = server.patch(&path, "merge", &more).await.refused(422);
    assert!(
        words.contains("no new finalizers can be added if the object is being deleted"),
        "{words}"
    );
    server
        .patch(
            &path,
            "merge",
            &json!({"metadata": {"finalizers": ["example.com/two"]}}),
        )
        .await
        .expect(200);
    server
        .patch(&path, "merge", &json!({"metadata": {"finalizers": null}}))
        .await
        .expect(200);
    server.get(&path).await.expect(404);
}

#[tokio::test]
async fn propagation_is_written_down_for_the_garbage_collector() {
    let server = Server::start().await;
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        let name = policy.to_lowercase();
        server
            .post(DEPLOYMENTS, &deployment(&name))
            .await
            .expect(201);
        let path = format!("{DEPLOYMENTS}/{name}");
        server
            .delete(&path, Some(json!({"propagationPolicy": policy})))
            .await
            .expect(200);
        let held = server.get(&path).await.expect(200);
        assert_eq!(held["metadata"]["finalizers"], json!([finalizer]));
    }
    server
        .post(DEPLOYMENTS, &deployment("background"))
        .await
        .expect(201);
    server
        .delete(&format!("{DEPLOYMENTS}/background"), None)
        .await
        .expect(200);
    server
        .get(&format!("{DEPLOYMENTS}/background"))
        .await
        .expect(404);
}

async fn running_pod(server: &Server) -> Value {
    server.default_account().await;
    server.post(PODS, &pod("p")).await.expect(201);
    let binding =
        json!({"apiVersion": "v1", "kind": "Binding", "target": {"kind": "Node", "name": "n1"}});
    server
        .post(&format!("{PODS}/p/binding"), &binding)
        .await
        .expect(201);
    server
        .patch(
            &format!("{PODS}/p/status"),
            "merge",
            &json!({"status": {"phase": "Running"}}),
        )
        .await
        .expect(200)
}

#[tokio::test]
async fn a_running_pod_ends_gracefully_and_is_removed_by_its_kubelet() {
    let server = Server::start().await;
    running_pod(&server).await;
    let path = format!("{PODS}/p");
    let ending = server.delete(&path, None).await.expect(200);
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
    let hurried = server
        .delete(&path, Some(json!({"gracePeriodSeconds": 5})))
        .await
        .expect(200);
    assert_eq!(hurried["metadata"]["deletionGracePeriodSeconds"], 5);
    let later = server
        .delete(&path, Some(json!({"gracePeriodSeconds": 60})))
        .await
        .expect(200);
    assert_eq!(
        later["metadata"]["deletionGracePeriodSeconds"], 5,
        "a deletion cannot be put off"
    );
    server
        .delete(&path, Some(json!({"gracePeriodSeconds": 0})))
        .await
        .expect(200);
    server.get(&path).await.expect(404);
}

#[tokio::test]
async fn a_pod_that_never_reached_a_node_is_removed_at_once() {
    let server = Server::start().await;
    server.default_account().await;
    server.post(PODS, &pod("p")).await.expect(201);
    server.delete(&format!("{PODS}/p"), None).await.expect(200);
    server.get(&format!("{PODS}/p")).await.expect(404);
}

#[tokio::test]
async fn an_eviction_respects_the_disruption_budget() {
    let server = Server::start().await;
    running_pod(&server).await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "p"}}}});
    server.post(budgets, &budget).await.expect(201);
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}});
    let refused = server.post(&format!("{PODS}/p/eviction"), &eviction).await;
    assert_eq!(
        refused.body["details"]["causes"][0]["reason"],
        "DisruptionBudget"
    );
    refused.expect(429);
    server
        .delete(&format!("{budgets}/b"), None)
        .await
        .expect(200);
    server
        .post(&format!("{PODS}/p/eviction"), &eviction)
        .await
        .expect(201);
    let pod = server.get(&format!("{PODS}/p")).await.expect(200);
    assert!(pod["metadata"]["deletionTimestamp"].is_string());
}

#[tokio::test]
async fn deleting_a_collection_takes_what_the_selector_finds() {
    let server = Server::start().await;
    for (name, tier) in [("a", "x"), ("b", "y"), ("c", "x")] {
        let mut object = crate::server::config_map(name, json!({}));
        object["metadata"]["labels"] = json!({"tier": tier});
        server.post(CONFIG_MAPS, &object).await.expect(201);
    }
    let deleted = server
        .delete(&format!("{CONFIG_MAPS}?labelSelector=tier%3Dx"), None)
        .await
        .expect(200);
    assert_eq!(deleted["items"].as_array().unwrap().len(), 2);
    let left = server.get(CONFIG_MAPS).await.expect(200);
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn nothing_deletes_over_all_namespaces() {
    let server = Server::start().await;
    server.create_config_map("a", json!({})).await;
    for path in ["/api/v1/configmaps", "/api/v1/namespaces"] {
        server.delete(path, None).await.expect(405);
    }
    server.get(&format!("{CONFIG_MAPS}/a")).await.expect(200);
}

#[tokio::test]
async fn a_namespace_goes_when_its_finalizer_is_let_go() {
    let server = Server::start().await;
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
    server.post("/api/v1/namespaces", &object).await.expect(201);
    let mut ending = server
        .delete("/api/v1/namespaces/n", None)
        .await
        .expect(200);
    assert_eq!(ending["status"]["phase"], "Terminating");
    let words = server
        .post(
            "/api/v1/namespaces/n/configmaps",
            &crate::server::config_map("late", json!({})),
        )
        .await
        .refused(403);
    assert!(words.contains("because it is being terminated"), "{words}");
    ending["spec"]["finalizers"] = json!([]);
    server
        .put("/api/v1/namespaces/n/finalize", &ending)
        .await
        .expect(200);
    server.get("/api/v1/namespaces/n").await.expect(404);
}
