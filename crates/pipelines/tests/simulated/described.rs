//! The API document against the API: every route is in it, and every answer is made of what it declares. Runs of every kind
//! are held against it where they are made (`compiled.rs`).

use serde_json::{Value, json};

use super::server::{ONE_STEP, Server, spec};

const PREFIX: &str = "/apis/v2beta1";

fn document() -> &'static Value {
    pipelines::api::openapi::document()
}

/// Paths of the document without the prefix, each once, verbs after a colon left out.
fn described() -> Vec<String> {
    let paths = document()["paths"].as_object().unwrap();
    let mut found: Vec<String> = paths
        .keys()
        .map(|path| path.strip_prefix(PREFIX).unwrap())
        .map(|path| match path.split_once("}:") {
            Some((before, _)) => format!("{before}}}"),
            None => path.to_owned(),
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Paths of the router below the prefix. axum cannot list its routes, so its source is read.
fn routed() -> Vec<String> {
    let source = include_str!("../../src/api/router.rs");
    let nested = source.split(".nest(").next().unwrap();
    let mut found: Vec<String> = nested
        .split(".route(")
        .skip(1)
        .map(|rest| rest.split('"').nth(1).unwrap().to_owned())
        .collect();
    found.sort();
    found
}

#[test]
fn every_route_is_described_and_nothing_else_is() {
    // What is absent, and a relic that old clients ask for, is no part of what the API offers.
    let left_out = ["/recurringruns", "/visualizations", "/auth", "/filters"];
    let routed: Vec<String> = routed()
        .into_iter()
        .filter(|path| !left_out.iter().any(|absent| path.starts_with(absent)))
        .collect();
    assert_eq!(described(), routed);
}

#[tokio::test]
async fn the_document_is_served_to_anybody() {
    let server = Server::start().await;
    assert_eq!(server.get("/openapi.json").await["openapi"], "3.0.3");
}

#[tokio::test]
async fn answers_are_made_of_what_is_described() {
    let server = Server::start().await;
    let run = server.run(ONE_STEP, json!({"n": 4.0})).await;
    let id = run["run_id"].as_str().unwrap();
    check("Run", &run);
    check("RunList", &server.get("/runs").await);
    check("TaskList", &server.get(&format!("/runs/{id}/tasks")).await);
    let pipeline = server
        .post("/pipelines", json!({"name": "p", "tags": {"a": "b"}}))
        .await;
    check("Pipeline", &pipeline);
    let versions = format!(
        "/pipelines/{}/versions",
        pipeline["pipeline_id"].as_str().unwrap()
    );
    let version = server
        .post(
            &versions,
            json!({"name": "v", "pipeline_spec": spec(ONE_STEP)}),
        )
        .await;
    check("PipelineVersion", &version);
    check("PipelineList", &server.get("/pipelines").await);
    check("PipelineVersionList", &server.get(&versions).await);
    check("ExperimentList", &server.get("/experiments").await);
    check("ArtifactList", &server.get("/artifacts").await);
    check("ArtifactTaskList", &server.get("/artifact_tasks").await);
    check("Health", &server.get("/healthz").await);
    let (status, refusal) = server.call("GET", "/runs/none", Value::Null).await;
    assert_eq!(status, 404);
    check("Error", &refusal);
}

#[test]
#[should_panic(expected = "Run.nonsense is not described")]
fn a_field_that_nobody_described_is_noticed() {
    check("Run", &json!({"run_id": "a", "nonsense": 1}));
}

#[test]
#[should_panic(expected = "Run.state is \"RESTING\"")]
fn a_word_that_nobody_described_is_noticed() {
    check("Run", &json!({"run_id": "a", "state": "RESTING"}));
}

/// Holds an answer against a schema of the document; unlike JSON Schema, a field that is not declared is wrong.
pub fn check(schema: &str, value: &Value) {
    holds(&document()["components"]["schemas"][schema], value, schema);
}

fn holds(schema: &Value, value: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return holds(&document()["components"]["schemas"][name], value, at);
    }
    match schema["type"].as_str() {
        Some("object") => {
            let Some(fields) = value.as_object() else {
                panic!("{at} is {value}, not a mapping");
            };
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(
                    fields.contains_key(name.as_str().unwrap()),
                    "{at} has no {name}"
                );
            }
            for (name, field) in fields {
                let at = format!("{at}.{name}");
                match (
                    schema["properties"].get(name),
                    schema.get("additionalProperties"),
                ) {
                    (Some(inner), _) | (None, Some(inner)) => holds(inner, field, &at),
                    (None, None) => panic!("{at} is not described"),
                }
            }
        }
        Some("array") => {
            let Some(items) = value.as_array() else {
                panic!("{at} is {value}, not a list");
            };
            for (index, item) in items.iter().enumerate() {
                holds(&schema["items"], item, &format!("{at}[{index}]"));
            }
        }
        Some("string") => {
            let words = schema["enum"].as_array();
            let is_known = words.is_none_or(|words| words.contains(value));
            assert!(value.is_string() && is_known, "{at} is {value}");
        }
        Some("integer") => assert!(value.is_i64() || value.is_u64(), "{at} is {value}"),
        Some("number") => assert!(value.is_number(), "{at} is {value}"),
        Some("boolean") => assert!(value.is_boolean(), "{at} is {value}"),
        // Anything.
        _ => assert_eq!(
            schema.get("type"),
            None,
            "{at}: a type that this test does not know"
        ),
    }
}
