//! What a client sees of discovery: given objects, when a request comes, then this answer.

use axum::body::Body;
use http::Method;
use serde_json::json;

use crate::server::{Server, crd};

#[tokio::test]
async fn plain_discovery_names_every_group_and_resource() {
    let server = Server::start().await;
    let groups = server.get("/apis").await.expect(200);
    let names: Vec<_> = groups["groups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| &group["name"])
        .collect();
    assert!(
        names.contains(&&json!("apps")) && names.contains(&&json!("rbac.authorization.k8s.io"))
    );
    let resources = server.get("/api/v1").await.expect(200);
    let find = |name: &str| {
        resources["resources"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["name"] == name)
            .cloned()
    };
    let pods = find("pods").unwrap();
    assert_eq!(
        (&pods["shortNames"], &pods["namespaced"]),
        (&json!(["po"]), &json!(true))
    );
    assert_eq!(find("pods/log").unwrap()["verbs"], json!(["get"]));
    server.get("/apis/nonsense").await.expect(404);
    server.get("/apis/nonsense/v1/things").await.expect(404);
}

#[tokio::test]
async fn aggregated_discovery_comes_in_the_version_asked_for() {
    let server = Server::start().await;
    for version in ["v2", "v2beta1"] {
        let media = format!(
            "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList,application/json"
        );
        let list = server
            .request(Method::GET, "/apis", &[("accept", &media)], Body::empty())
            .await
            .expect(200);
        assert_eq!(list["apiVersion"], format!("apidiscovery.k8s.io/{version}"));
        let apps = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .find(|group| group["metadata"]["name"] == "apps")
            .unwrap();
        let resources = apps["versions"][0]["resources"].as_array().unwrap();
        let deployments = resources
            .iter()
            .find(|resource| resource["resource"] == "deployments")
            .unwrap();
        assert_eq!(deployments["responseKind"]["kind"], "Deployment");
        assert!(
            deployments["subresources"]
                .as_array()
                .unwrap()
                .iter()
                .any(|below| below["subresource"] == "scale")
        );
    }
}

#[tokio::test]
async fn schemas_are_published_for_built_in_and_custom_kinds() {
    let server = Server::start().await;
    server
        .post(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &crd(),
        )
        .await
        .expect(201);
    let index = server.get("/openapi/v3").await.expect(200);
    let path = index["paths"]["apis/example.com/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap()
        .to_owned();
    let document = server.get(&path).await.expect(200);
    let widget = &document["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(
        widget["properties"]["spec"]["properties"]["colour"]["default"],
        "red"
    );
    assert_eq!(
        widget["x-kubernetes-group-version-kind"][0]["kind"],
        "Widget"
    );
    let apps = server.get("/openapi/v3/apis/apps/v1").await.expect(200);
    let schemas = apps["components"]["schemas"].as_object().unwrap();
    assert!(schemas.contains_key("io.k8s.api.apps.v1.Deployment"));
    // Every reference leads somewhere.
    fn check(value: &serde_json::Value, schemas: &serde_json::Map<String, serde_json::Value>) {
        match value {
            serde_json::Value::Object(fields) => {
                if let Some(name) = fields.get("$ref").and_then(|path| path.as_str()) {
                    let name = name.trim_start_matches("#/components/schemas/");
                    assert!(schemas.contains_key(name), "{name} is missing");
                }
                fields.values().for_each(|value| check(value, schemas));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|item| check(item, schemas)),
            _ => {}
        }
    }
    for document in [&apps, &document] {
        let schemas = document["components"]["schemas"].as_object().unwrap();
        check(document, schemas);
    }
}

/// The schema without its descriptions.
fn without_words(schema: &serde_json::Value) -> serde_json::Value {
    match schema {
        serde_json::Value::Object(fields) => fields
            .iter()
            .filter(|(key, value)| *key != "description" || !value.is_string())
            .map(|(key, value)| (key.clone(), without_words(value)))
            .collect(),
        serde_json::Value::Array(items) => items.iter().map(without_words).collect(),
        other => other.clone(),
    }
}

/// The pages' types of Kubernetes kinds are generated from this copy (`web/scripts/types.mjs`).
#[tokio::test]
async fn the_copy_that_the_pages_are_made_from_is_what_the_server_says() {
    let server = Server::start().await;
    let copy = include_str!("../../../../web/schemas/kubernetes.json");
    let copy: serde_json::Value = serde_json::from_str(copy).unwrap();
    let document = server.get("/openapi/v3/api/v1").await.expect(200);
    let copied = copy["components"]["schemas"].as_object().unwrap();
    assert!(copied.contains_key("io.k8s.api.core.v1.Pod"));
    for (name, schema) in copied {
        assert!(
            &without_words(&document["components"]["schemas"][name]) == schema,
            "web/schemas/kubernetes.json is stale at {name}: run `npm run schemas` in web/ against a running platform"
        );
    }
}

/// The fields of a protobuf message that hold text or messages.
fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (first, rest) = bytes.split_first().expect("more");
            *bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            shift += 7;
            if first & 0x80 == 0 {
                return value;
            }
        }
    }
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        match key & 7 {
            0 => drop(varint(&mut bytes)),
            1 => bytes = &bytes[8..],
            2 => {
                let length = varint(&mut bytes) as usize;
                let (field, rest) = bytes.split_at(length);
                found.push((key >> 3, field));
                bytes = rest;
            }
            other => panic!("wire type {other}"),
        }
    }
    found
}

fn field(message: &[u8], number: u64) -> &[u8] {
    let found = fields(message)
        .into_iter()
        .find(|(known, _)| *known == number);
    found.unwrap_or_else(|| panic!("no field {number}")).1
}

#[tokio::test]
async fn the_older_document_says_the_same_as_json_and_as_protobuf() {
    use http_body_util::BodyExt;
    let server = Server::start().await;
    server
        .post(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &crd(),
        )
        .await
        .expect(201);
    let document = server.get("/openapi/v2").await.expect(200);
    assert_eq!(document["swagger"], "2.0");
    let definitions = document["definitions"].as_object().unwrap();
    let pod_spec = &definitions["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
    assert_eq!(pod_spec["x-kubernetes-patch-merge-key"], "name");
    assert_eq!(
        pod_spec["items"]["$ref"],
        "#/definitions/io.k8s.api.core.v1.Container"
    );
    assert_eq!(
        definitions["com.example.v1.Widget"]["x-kubernetes-group-version-kind"][0]["kind"],
        "Widget"
    );
    let patch =
        &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    let names: Vec<_> = patch["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert!(
        names.contains(&&json!("fieldValidation")),
        "kubectl looks for it: {names:?}"
    );
    fn check(value: &serde_json::Value, definitions: &serde_json::Map<String, serde_json::Value>) {
        match value {
            serde_json::Value::Object(fields) => {
                if let Some(name) = fields.get("$ref").and_then(|path| path.as_str()) {
                    let name = name
                        .strip_prefix("#/definitions/")
                        .expect("the older place");
                    assert!(definitions.contains_key(name), "{name} is missing");
                }
                fields.values().for_each(|value| check(value, definitions));
            }
            serde_json::Value::Array(items) => {
                items.iter().for_each(|item| check(item, definitions))
            }
            _ => {}
        }
    }
    check(&document, definitions);

    let ask = |known: &str| {
        let request = http::Request::get("/openapi/v2")
            .header("authorization", format!("Bearer {}", server.token))
            .header(
                "accept",
                "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
            )
            .header("if-none-match", known);
        server.send(request.body(Body::empty()).unwrap())
    };
    let answer = ask("\"other\"").await;
    assert_eq!(
        answer.headers()["content-type"],
        "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
    );
    let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(field(&bytes, 1), b"2.0");
    let mut names = Vec::new();
    let mut merge_key = None;
    for (_, definition) in fields(field(&bytes, 9)) {
        let name = std::str::from_utf8(field(definition, 1)).unwrap();
        names.push(name);
        if name == "io.k8s.api.core.v1.PodSpec" {
            let properties = fields(field(field(definition, 2), 25));
            let containers = properties
                .iter()
                .find(|(_, one)| field(one, 1) == b"containers")
                .unwrap()
                .1;
            let extensions = fields(field(containers, 2))
                .into_iter()
                .filter(|(number, _)| *number == 31);
            let found = extensions
                .map(|(_, one)| one)
                .find(|one| field(one, 1) == b"x-kubernetes-patch-merge-key");
            merge_key = found.map(|one| field(field(one, 2), 2).to_vec());
        }
    }
    names.sort_unstable();
    assert_eq!(names, definitions.keys().collect::<Vec<_>>());
    assert_eq!(merge_key.as_deref(), Some(&b"\"name\""[..]));
    assert_eq!(ask(&tag).await.status(), 304);
}

#[tokio::test]
async fn version_health_and_metrics_answer() {
    let server = Server::start().await;
    assert_eq!(
        server.get("/version").await.expect(200)["gitVersion"],
        "v1.33.13+ferroflow"
    );
    for path in ["/healthz", "/livez", "/readyz", "/readyz/ping"] {
        assert_eq!(server.get(path).await.expect(200), json!("ok"));
    }
    let metrics = server.get("/metrics").await.expect(200);
    assert!(
        metrics
            .as_str()
            .unwrap()
            .contains("apiserver_request_total"),
        "{metrics}"
    );
}

#[tokio::test]
async fn large_answers_are_packed_for_those_who_can_unpack_them() {
    use http_body_util::BodyExt as _;
    let server = Server::start().await;
    let ask = |encoding: &'static str| {
        let request = http::Request::get("/openapi/v3/apis/apps/v1")
            .header("authorization", format!("Bearer {}", server.token))
            .header("accept-encoding", encoding);
        server.send(request.body(Body::empty()).unwrap())
    };
    let packed = ask("gzip").await;
    assert_eq!(packed.headers()["content-encoding"], "gzip");
    let packed = packed.into_body().collect().await.unwrap().to_bytes();
    let plain = ask("identity").await;
    assert!(!plain.headers().contains_key("content-encoding"));
    let plain = plain.into_body().collect().await.unwrap().to_bytes();
    assert!(packed.len() * 3 < plain.len());
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(
        &mut flate2::read::GzDecoder::new(packed.as_ref()),
        &mut unpacked,
    )
    .unwrap();
    assert_eq!(unpacked, plain);
}

#[tokio::test]
async fn a_document_that_a_client_has_is_not_sent_again() {
    let server = Server::start().await;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let request = |tag: &str| {
        http::Request::get("/apis")
            .header("authorization", format!("Bearer {}", server.token))
            .header("accept", accept)
            .header("if-none-match", tag)
            .body(Body::empty())
            .unwrap()
    };
    let first = server.send(request("\"\"")).await;
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(server.send(request(&tag)).await.status(), 304);
    server
        .post(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &crd(),
        )
        .await
        .expect(201);
    assert_eq!(
        server.send(request(&tag)).await.status(),
        200,
        "a new group makes a new document"
    );
}

#[tokio::test]
async fn a_path_below_which_nothing_is_served_is_a_page_that_is_not_there() {
    let server = Server::start().await;
    for path in [
        "/nothing",
        "/apis/example.com",
        "/apis/example.com/v1/namespaces/default/widgets",
    ] {
        let answer = server.get(path).await.expect(404);
        assert_eq!(answer, json!("404 page not found\n"), "{path}");
    }
    let words = server.get("/api/v1/nothings").await.refused(404);
    assert_eq!(words, "the server could not find the requested resource");
    let words = server.post("/api/v1/configmaps", &json!({})).await;
    assert_eq!(
        words.refused(405),
        "the server does not allow this method on the requested resource"
    );
}
