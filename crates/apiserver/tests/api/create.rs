//! What a client sees of create: given objects, when a request comes, then this answer.

use axum::body::Body;
use http::Method;
use serde_json::json;

use crate::server::{CONFIG_MAPS, DEPLOYMENTS, PODS, Server, config_map, deployment, pod};

#[tokio::test]
async fn a_created_object_gets_identity_times_and_a_revision() {
    let server = Server::start().await;
    let made = server.create_config_map("a", json!({"k": "v"})).await;
    let metadata = &made["metadata"];
    assert_eq!(metadata["namespace"], "default");
    assert_eq!(metadata["uid"].as_str().unwrap().len(), 36);
    assert!(
        metadata["creationTimestamp"]
            .as_str()
            .unwrap()
            .ends_with('Z')
    );
    assert!(
        metadata["resourceVersion"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );
    assert_eq!(metadata["managedFields"][0]["manager"], "test");
    assert_eq!(
        metadata["managedFields"][0]["fieldsV1"]["f:data"]["f:k"],
        json!({})
    );
    assert_eq!(
        server.get(&format!("{CONFIG_MAPS}/a")).await.expect(200),
        made
    );
}

#[tokio::test]
async fn a_taken_name_is_refused_in_the_words_clients_match_on() {
    let server = Server::start().await;
    server.create_config_map("a", json!({})).await;
    let answer = server.post(CONFIG_MAPS, &config_map("a", json!({}))).await;
    assert_eq!(answer.body["reason"], "AlreadyExists");
    assert_eq!(answer.body["details"]["kind"], "configmaps");
    assert_eq!(answer.refused(409), "configmaps \"a\" already exists");
}

#[tokio::test]
async fn a_name_is_generated_from_its_prefix() {
    let server = Server::start().await;
    let object =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "run-"}});
    let made = server.post(CONFIG_MAPS, &object).await.expect(201);
    let name = made["metadata"]["name"].as_str().unwrap();
    assert!(
        name.starts_with("run-") && name.len() == "run-".len() + 5,
        "{name}"
    );
}

#[tokio::test]
async fn defaults_and_the_first_generation_are_filled_in() {
    let server = Server::start().await;
    let made = server
        .post(DEPLOYMENTS, &deployment("web"))
        .await
        .expect(201);
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(made["spec"]["replicas"], 1);
    assert_eq!(made["spec"]["template"]["spec"]["restartPolicy"], "Always");
}

#[tokio::test]
async fn a_dry_run_answers_like_a_creation_and_stores_nothing() {
    let server = Server::start().await;
    let made = server
        .post(&format!("{DEPLOYMENTS}?dryRun=All"), &deployment("web"))
        .await
        .expect(201);
    assert_eq!(made["spec"]["replicas"], 1);
    server.get(&format!("{DEPLOYMENTS}/web")).await.expect(404);
}

#[tokio::test]
async fn unknown_and_doubled_fields_warn_or_refuse_as_asked() {
    let server = Server::start().await;
    let text = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"NAME"},"data":{"a":"1","a":"2"},"color":"red"}"#;
    let send = |name: &'static str, mode: &'static str| {
        let server = &server;
        async move {
            let path = format!("{CONFIG_MAPS}?fieldValidation={mode}");
            server
                .request(
                    Method::POST,
                    &path,
                    &[],
                    Body::from(text.replace("NAME", name)),
                )
                .await
        }
    };
    let strict = send("strict", "Strict").await;
    let words = strict.refused(400);
    assert!(
        words
            .contains("strict decoding error: unknown field \"color\", duplicate field \"data.a\""),
        "{words}"
    );
    let warned = send("warned", "Warn").await;
    assert_eq!(
        warned.warnings,
        [
            r#"299 - "unknown field \"color\"""#,
            r#"299 - "duplicate field \"data.a\"""#
        ]
    );
    let stored = warned.expect(201);
    assert!(
        stored.get("color").is_none(),
        "unknown fields are not stored"
    );
    assert!(send("ignored", "Ignore").await.warnings.is_empty());
}

#[tokio::test]
async fn bad_bodies_get_a_clear_status() {
    let server = Server::start().await;
    for (body, code) in [
        ("{", 400),
        ("[]", 400),
        (r#"{"kind":"ConfigMap"}"#, 400),
        (
            r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"}}"#,
            400,
        ),
        (
            r#"{"apiVersion":"v2","kind":"ConfigMap","metadata":{"name":"x"}}"#,
            400,
        ),
        (
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"../x"}}"#,
            422,
        ),
        (
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{}}"#,
            422,
        ),
        (
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","namespace":"other"}}"#,
            400,
        ),
        (
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x","resourceVersion":"5"}}"#,
            400,
        ),
        (
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x"},"data":{"a":1}}"#,
            400,
        ),
        ("", 400),
    ] {
        let answer = server
            .request(Method::POST, CONFIG_MAPS, &[], Body::from(body))
            .await;
        assert_eq!(answer.body["kind"], "Status", "{body}");
        assert!(!answer.body["message"].as_str().unwrap().is_empty());
        assert_eq!(answer.code.as_u16(), code, "{body}: {:#}", answer.body);
    }
}

#[tokio::test]
async fn a_body_above_three_megabytes_is_refused() {
    let server = Server::start().await;
    let object = config_map("big", json!({"a": "x".repeat(3 << 20)}));
    let answer = server.post(CONFIG_MAPS, &object).await;
    assert_eq!(answer.body["reason"], "RequestEntityTooLarge");
    answer.expect(413);
}

#[tokio::test]
async fn yaml_is_as_good_as_json() {
    let server = Server::start().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-yaml}\ndata: {a: 'yes'}\n";
    let headers = [("content-type", "application/yaml")];
    let made = server
        .request(Method::POST, CONFIG_MAPS, &headers, Body::from(yaml))
        .await
        .expect(201);
    assert_eq!(made["data"]["a"], "yes");
}

#[tokio::test]
async fn a_pod_waits_for_its_service_account_and_then_mounts_its_token() {
    let server = Server::start().await;
    let mut wanted = pod("p");
    wanted["spec"]
        .as_object_mut()
        .unwrap()
        .remove("automountServiceAccountToken");
    let words = server.post(PODS, &wanted).await.refused(403);
    assert!(
        words.contains("serviceaccount \"default\" not found"),
        "{words}"
    );
    server.default_account().await;
    let made = server.post(PODS, &wanted).await.expect(201);
    assert_eq!(made["spec"]["serviceAccountName"], "default");
    assert_eq!(
        made["spec"]["containers"][0]["volumeMounts"][0]["mountPath"],
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    assert_eq!(made["status"]["phase"], "Pending");
}

#[tokio::test]
async fn nothing_is_created_in_a_namespace_that_is_not_there() {
    let server = Server::start().await;
    let words = server
        .post(
            "/api/v1/namespaces/nowhere/configmaps",
            &config_map("a", json!({})),
        )
        .await
        .refused(404);
    assert_eq!(words, "namespaces \"nowhere\" not found");
}

#[tokio::test]
async fn events_are_one_thing_under_two_names() {
    let server = Server::start().await;
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "message": "hello",
        "reason": "Tried", "type": "Normal", "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}});
    server
        .post("/api/v1/namespaces/default/events", &event)
        .await
        .expect(201);
    let path = "/apis/events.k8s.io/v1/namespaces/default/events?fieldSelector=regarding.name%3Dp";
    let list = server.get(path).await.expect(200);
    assert_eq!(list["apiVersion"], "events.k8s.io/v1");
    assert_eq!(
        (
            &list["items"][0]["note"],
            &list["items"][0]["regarding"]["name"]
        ),
        (&json!("hello"), &json!("p"))
    );
    let old = server
        .get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp")
        .await
        .expect(200);
    assert_eq!(old["items"][0]["message"], "hello");
}

#[tokio::test]
async fn what_is_stored_but_not_acted_on_says_so() {
    let server = Server::start().await;
    let webhook = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "w"}, "webhooks": []});
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    let answer = server.post(path, &webhook).await;
    assert!(
        answer.warnings[0].contains("does not call webhooks"),
        "{:?}",
        answer.warnings
    );
    answer.expect(201);
}

#[tokio::test]
async fn the_writer_owns_defaults_and_nobody_owns_what_admission_adds() {
    let server = Server::start().await;
    server.default_account().await;
    let made = server.post(PODS, &pod("p")).await.expect(201);
    let owned = &made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
    assert_eq!(owned["f:dnsPolicy"], json!({}), "{owned:#}");
    for added in ["f:serviceAccountName", "f:tolerations", "f:priority", "."] {
        assert!(owned.get(added).is_none(), "{added} is owned: {owned:#}");
    }
    assert_eq!(made["spec"]["serviceAccountName"], "default");
}

#[tokio::test]
async fn an_object_whose_types_are_wrong_is_a_bad_request() {
    let server = Server::start().await;
    for (data, words) in [
        (
            json!({"k": 1}),
            "json: cannot unmarshal number into Go struct field ConfigMap.data.k of type string",
        ),
        (
            json!([]),
            "json: cannot unmarshal array into Go struct field ConfigMap.data of type object",
        ),
    ] {
        let refusal = server.post(CONFIG_MAPS, &config_map("a", data)).await;
        let message = refusal.refused(400);
        assert!(message.ends_with(words), "{message}");
    }
    let mut object = config_map("a", json!({}));
    object["binaryData"] = json!({"b": "!!"});
    let message = server.post(CONFIG_MAPS, &object).await.refused(400);
    assert!(message.ends_with("illegal base64 data at input byte 0"));
    let nothing = server.post(CONFIG_MAPS, &json!(null)).await.refused(422);
    assert!(nothing.contains("name or generateName is required"));
}

#[tokio::test]
async fn a_finalizer_says_whose_it_is() {
    let server = Server::start().await;
    let mut object = config_map("a", json!({}));
    object["metadata"]["finalizers"] = json!(["plain"]);
    let message = server.post(CONFIG_MAPS, &object).await.refused(422);
    assert!(
        message.contains("metadata.finalizers[0]: Invalid value: \"plain\": name is neither"),
        "{message}"
    );
    object["metadata"]["finalizers"] = json!(["orphan", "example.com/hold"]);
    server.post(CONFIG_MAPS, &object).await.expect(201);
}
