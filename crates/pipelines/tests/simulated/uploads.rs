//! Pipelines and versions: uploads, names, what is refused.

use axum::body::Body;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::server::{ONE_STEP, Server, spec};

async fn upload(server: &Server, query: &str, file: &str, content: &[u8]) -> (u16, Value) {
    let mut body = format!("--xyz\r\nContent-Disposition: form-data; name=\"uploadfile\"; filename=\"{file}\"\r\nContent-Type: application/octet-stream\r\n\r\n").into_bytes();
    body.extend(content);
    body.extend(b"\r\n--xyz--\r\n");
    let request = http::Request::post(format!("/apis/v2beta1/pipelines/{query}"))
        .header("content-type", "multipart/form-data; boundary=xyz")
        .body(Body::from(body))
        .unwrap();
    let answer = server.send(request).await;
    let status = answer.status().as_u16();
    (
        status,
        serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap(),
    )
}

#[tokio::test]
async fn an_upload_makes_a_pipeline_and_its_first_version() {
    let server = Server::start().await;
    let (status, pipeline) = upload(
        &server,
        "upload?name=mine&description=about",
        "p.yaml",
        ONE_STEP.as_bytes(),
    )
    .await;
    assert_eq!(
        (
            status,
            pipeline["display_name"].as_str(),
            pipeline["description"].as_str()
        ),
        (200, Some("mine"), Some("about"))
    );
    let id = pipeline["pipeline_id"].as_str().unwrap();
    let versions = server
        .get(&format!(
            "/pipelines/{id}/versions?page_token=&page_size=10&sort_by="
        ))
        .await;
    assert_eq!(versions["pipeline_versions"][0]["name"], "mine");
    assert_eq!(
        versions["pipeline_versions"][0]["pipeline_spec"],
        spec(ONE_STEP)
    );
    let (status, version) = upload(
        &server,
        &format!("upload_version?name=second&pipelineid={id}"),
        "p.yaml",
        ONE_STEP.as_bytes(),
    )
    .await;
    assert_eq!((status, version["pipeline_id"].as_str()), (200, Some(id)));
    assert_eq!(server.get("/pipelines/names/mine").await["pipeline_id"], id);
    assert_eq!(
        server
            .call("DELETE", &format!("/pipelines/{id}"), Value::Null)
            .await
            .0,
        400,
        "it has versions"
    );
    assert_eq!(
        server
            .call(
                "DELETE",
                &format!("/pipelines/{id}?cascade=true"),
                Value::Null
            )
            .await
            .0,
        200
    );
    assert_eq!(
        server
            .call("GET", &format!("/pipelines/{id}"), Value::Null)
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn both_documents_survive_upload_reading_and_running() {
    let server = Server::start().await;
    let document = format!(
        "{ONE_STEP}---\nplatforms: {{kubernetes: {{deploymentSpec: {{executors: {{exec-a: {{nodeSelector: {{labels: {{disk: fast}}}}}}}}}}}}}}\n"
    );
    let (_, pipeline) = upload(&server, "upload?name=both", "p.yaml", document.as_bytes()).await;
    let id = pipeline["pipeline_id"].as_str().unwrap();
    let read = server.get(&format!("/pipelines/{id}/versions")).await["pipeline_versions"][0]["pipeline_spec"].clone();
    assert_eq!(
        read["platform_spec"]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-a"]["nodeSelector"]
            ["labels"]["disk"],
        "fast"
    );
    let run = server
        .post("/runs", json!({"display_name": "x", "pipeline_spec": read}))
        .await;
    assert_eq!(run["pipeline_spec"], read);
}

#[tokio::test]
async fn bad_uploads_answer_in_the_upload_shape_and_leave_nothing() {
    let server = Server::start().await;
    for (query, file, content) in [
        ("upload?name=a", "p.yaml", "".as_bytes()),
        ("upload?name=a", "p.yaml", b"a: ["),
        ("upload?name=a", "p.yaml", b"pipelineInfo: {}\n"),
        ("upload?name=a", "p.zip", b"PK\x03\x04broken"),
        ("upload?name=a", "p.tar.gz", b"\x1f\x8bbroken"),
        ("upload?name=a", "p.txt", b"hello"),
        ("upload?name=a&tags=nonsense", "p.yaml", ONE_STEP.as_bytes()),
        ("upload_version?name=a", "p.yaml", ONE_STEP.as_bytes()),
    ] {
        let (status, answer) = upload(&server, query, file, content).await;
        assert_eq!(status, 400, "{query} {file}: {answer}");
        assert!(!answer["error_message"].as_str().unwrap().is_empty());
    }
    let long = "x".repeat(500);
    assert_eq!(
        upload(
            &server,
            &format!("upload?name={long}"),
            "p.yaml",
            ONE_STEP.as_bytes()
        )
        .await
        .0,
        400
    );
    assert_eq!(
        upload(
            &server,
            "upload_version?name=a&pipelineid=none",
            "p.yaml",
            ONE_STEP.as_bytes()
        )
        .await
        .0,
        404
    );
    assert_eq!(server.get("/pipelines").await, json!({}));
}

#[tokio::test]
async fn a_taken_name_is_a_conflict() {
    let server = Server::start().await;
    upload(&server, "upload?name=mine", "p.yaml", ONE_STEP.as_bytes()).await;
    let (status, answer) = upload(&server, "upload?name=mine", "p.yaml", ONE_STEP.as_bytes()).await;
    assert_eq!(status, 409);
    assert!(
        answer["error_message"]
            .as_str()
            .unwrap()
            .contains("already exists"),
        "{answer}"
    );
    server
        .post("/experiments", json!({"display_name": "e"}))
        .await;
    let (status, answer) = server
        .call("POST", "/experiments", json!({"display_name": "e"}))
        .await;
    assert_eq!((status, &answer["code"]), (409, &json!(6)));
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("Please specify a new name")
    );
}

#[tokio::test]
async fn names_may_be_in_any_script() {
    let server = Server::start().await;
    let pipeline = server
        .post("/pipelines", json!({"display_name": "训练 !@#$%"}))
        .await;
    assert_eq!(pipeline["name"], "训练 !@#$%");
}
