//! What a client sees of services: given objects, when a request comes, then this answer.

use serde_json::{Value, json};

use crate::server::Server;

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn a_service_gets_an_address_and_keeps_it() {
    let server = Server::start().await;
    let made = server
        .post(SERVICES, &service("web", json!({"ports": [{"port": 80}]})))
        .await
        .expect(201);
    let address = made["spec"]["clusterIP"].as_str().unwrap();
    assert!(address.starts_with("10.96."), "{address}");
    assert_eq!(made["spec"]["clusterIPs"], json!([address]));
    let mut wanted = made.clone();
    wanted["spec"]["ports"][0]["port"] = 81.into();
    let after = server
        .put(&format!("{SERVICES}/web"), &wanted)
        .await
        .expect(200);
    assert_eq!(after["spec"]["clusterIP"], address);
}

#[tokio::test]
async fn an_address_is_given_to_one_service_at_a_time() {
    let server = Server::start().await;
    let spec = json!({"clusterIP": "10.96.7.7", "ports": [{"port": 80}]});
    server
        .post(SERVICES, &service("one", spec.clone()))
        .await
        .expect(201);
    let words = server
        .post(SERVICES, &service("two", spec.clone()))
        .await
        .refused(422);
    assert!(
        words.contains("provided IP is already allocated"),
        "{words}"
    );
    server
        .delete(&format!("{SERVICES}/one"), None)
        .await
        .expect(200);
    server
        .post(SERVICES, &service("two", spec))
        .await
        .expect(201);
    let outside = json!({"clusterIP": "10.1.1.1", "ports": [{"port": 80}]});
    let words = server
        .post(SERVICES, &service("three", outside))
        .await
        .refused(422);
    assert!(words.contains("not in the valid range"), "{words}");
}

#[tokio::test]
async fn headless_services_have_none_and_node_ports_are_in_range() {
    let server = Server::start().await;
    let headless = json!({"clusterIP": "None", "ports": [{"port": 80}]});
    let made = server
        .post(SERVICES, &service("headless", headless))
        .await
        .expect(201);
    assert_eq!(made["spec"]["clusterIP"], "None");
    let open = json!({"type": "NodePort", "ports": [{"port": 80}]});
    let made = server
        .post(SERVICES, &service("open", open))
        .await
        .expect(201);
    let port = made["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    assert!((30_000..=32_767).contains(&port));
    let taken = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]});
    let words = server
        .post(SERVICES, &service("taken", taken))
        .await
        .refused(422);
    assert!(
        words.contains("provided port is already allocated"),
        "{words}"
    );
}

#[tokio::test]
async fn addresses_are_remembered_over_a_restart() {
    let server = Server::start().await;
    let spec = json!({"clusterIP": "10.96.7.7", "ports": [{"port": 80}]});
    server
        .post(SERVICES, &service("one", spec.clone()))
        .await
        .expect(201);
    let server = server.restart().await;
    server
        .post(SERVICES, &service("two", spec))
        .await
        .expect(422);
    let own = server
        .get(&format!("{SERVICES}/kubernetes"))
        .await
        .expect(200);
    assert_eq!(own["spec"]["clusterIP"], "10.96.0.1");
}
