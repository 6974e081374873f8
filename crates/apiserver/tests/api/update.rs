//! What a client sees of update: given objects, when a request comes, then this answer.

use serde_json::json;

use crate::server::{CONFIG_MAPS, DEPLOYMENTS, PODS, Server, deployment, pod};

#[tokio::test]
async fn an_update_from_a_stale_revision_is_a_conflict() {
    let server = Server::start().await;
    let first = server.create_config_map("a", json!({"k": "1"})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let mut second = first.clone();
    second["data"]["k"] = "2".into();
    server.put(&path, &second).await.expect(200);
    let words = server.put(&path, &second).await.refused(409);
    assert!(
        words.contains(
            "the object has been modified; please apply your changes to the latest version"
        ),
        "{words}"
    );
}

#[tokio::test]
async fn an_update_that_changes_nothing_makes_no_revision() {
    let server = Server::start().await;
    let made = server.create_config_map("a", json!({"k": "1"})).await;
    let same = server
        .put(&format!("{CONFIG_MAPS}/a"), &made)
        .await
        .expect(200);
    assert_eq!(
        same["metadata"]["resourceVersion"],
        made["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn the_generation_counts_changes_of_the_spec_alone() {
    let server = Server::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    let mut object = server
        .post(DEPLOYMENTS, &deployment("web"))
        .await
        .expect(201);
    object["metadata"]["labels"] = json!({"x": "y"});
    let mut labelled = server.put(&path, &object).await.expect(200);
    assert_eq!(labelled["metadata"]["generation"], 1);
    labelled["spec"]["replicas"] = 3.into();
    assert_eq!(
        server.put(&path, &labelled).await.expect(200)["metadata"]["generation"],
        2
    );
}

#[tokio::test]
async fn spec_and_status_are_written_through_their_own_doors() {
    let server = Server::start().await;
    let path = format!("{DEPLOYMENTS}/web");
    let mut object = server
        .post(DEPLOYMENTS, &deployment("web"))
        .await
        .expect(201);
    object["spec"]["replicas"] = 5.into();
    object["status"] = json!({"replicas": 4});
    let through_status = server
        .put(&format!("{path}/status"), &object)
        .await
        .expect(200);
    assert_eq!(
        (
            &through_status["spec"]["replicas"],
            &through_status["status"]["replicas"]
        ),
        (&json!(1), &json!(4))
    );
    assert_eq!(through_status["metadata"]["generation"], 1);
    let mut object = through_status;
    object["spec"]["replicas"] = 6.into();
    object["status"] = json!({"replicas": 9});
    let through_object = server.put(&path, &object).await.expect(200);
    assert_eq!(
        (
            &through_object["spec"]["replicas"],
            &through_object["status"]["replicas"]
        ),
        (&json!(6), &json!(4))
    );
}

#[tokio::test]
async fn identity_and_creation_time_cannot_be_changed() {
    let server = Server::start().await;
    let made = server.create_config_map("a", json!({})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let mut other = made.clone();
    other["metadata"]["creationTimestamp"] = "2001-01-01T00:00:00Z".into();
    other["data"] = json!({"changed": "yes"});
    let kept = server.put(&path, &other).await.expect(200);
    assert_eq!(
        kept["metadata"]["creationTimestamp"],
        made["metadata"]["creationTimestamp"]
    );
    other["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000".into();
    assert!(
        server
            .put(&path, &other)
            .await
            .refused(409)
            .contains("UID in precondition")
    );
    other["metadata"] = json!({"name": "b"});
    assert!(
        server
            .put(&path, &other)
            .await
            .refused(400)
            .contains("does not match the name on the URL")
    );
}

#[tokio::test]
async fn scale_reads_and_writes_the_replicas() {
    let server = Server::start().await;
    server
        .post(DEPLOYMENTS, &deployment("web"))
        .await
        .expect(201);
    let path = format!("{DEPLOYMENTS}/web/scale");
    let mut scale = server.get(&path).await.expect(200);
    assert_eq!(scale["kind"], "Scale");
    assert_eq!(scale["status"]["selector"], "app=web");
    scale["spec"]["replicas"] = 7.into();
    assert_eq!(
        server.put(&path, &scale).await.expect(200)["spec"]["replicas"],
        7
    );
    let patched = server
        .patch(&path, "merge", &json!({"spec": {"replicas": 2}}))
        .await
        .expect(200);
    assert_eq!(patched["spec"]["replicas"], 2);
    assert_eq!(
        server.get(&format!("{DEPLOYMENTS}/web")).await.expect(200)["spec"]["replicas"],
        2
    );
}

#[tokio::test]
async fn a_pod_is_bound_to_a_node_once() {
    let server = Server::start().await;
    server.default_account().await;
    server.post(PODS, &pod("p")).await.expect(201);
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"},
        "target": {"kind": "Node", "name": "n1"}});
    let path = format!("{PODS}/p/binding");
    assert_eq!(
        server.post(&path, &binding).await.expect(201)["status"],
        "Success"
    );
    let bound = server.get(&format!("{PODS}/p")).await.expect(200);
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");
    assert!(
        server
            .post(&path, &binding)
            .await
            .refused(409)
            .contains("already assigned to node \"n1\"")
    );
}

#[tokio::test]
async fn whoever_lets_a_deleted_object_go_sees_it_without_its_finalizer() {
    let server = Server::start().await;
    let mut object = crate::server::config_map("a", json!({}));
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    server.post(CONFIG_MAPS, &object).await.expect(201);
    let path = format!("{CONFIG_MAPS}/a");
    let mut held = server.delete(&path, None).await.expect(200);
    held["metadata"]["finalizers"] = json!([]);
    let last = server.put(&path, &held).await.expect(200);
    assert!(last["metadata"].get("finalizers").is_none(), "{last:#}");
    server.get(&path).await.expect(404);
}

#[tokio::test]
async fn the_address_of_a_pod_is_the_first_of_its_addresses() {
    let server = Server::start().await;
    server.default_account().await;
    server.post(PODS, &pod("p")).await.expect(201);
    let status = format!("{PODS}/p/status");
    for (given, expected) in [
        (json!({"podIP": "10.1.2.3"}), "10.1.2.3"),
        (json!({"podIP": "10.1.2.4"}), "10.1.2.4"),
    ] {
        let pod = server
            .patch(&status, "merge", &json!({"status": given}))
            .await
            .expect(200);
        assert_eq!(pod["status"]["podIPs"], json!([{"ip": expected}]));
    }
}
