//! Runs over the API: what is refused, what is shown, what can be done to them.

use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::server::{ONE_STEP, Server, spec};

/// A step that goes on until it is stopped.
fn held() -> String {
    ONE_STEP.replace("[say, hello]", "[hold]")
}

#[tokio::test]
async fn a_run_shows_what_it_was_given_and_how_it_went() {
    let server = Server::start().await;
    let run = server.run(ONE_STEP, json!({"n": 4.0})).await;
    assert_eq!(
        run["runtime_config"]["parameters"].to_string(),
        r#"{"n":4}"#
    );
    assert_eq!(run["pipeline_spec"], spec(ONE_STEP));
    assert_eq!(run["storage_state"], "AVAILABLE");
    let states: Vec<&str> = run["state_history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| change["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["PENDING", "RUNNING", "SUCCEEDED"]);
    assert!(run.get("description").is_none(), "zero values are left out");
    let step = run["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|task| task["name"] == "a")
        .unwrap();
    assert_eq!(
        (
            step["type"].as_str(),
            step["scope_path"].as_str(),
            step["state"].as_str()
        ),
        (Some("RUNTIME"), Some("root.a"), Some("SUCCEEDED"))
    );
    let root = run["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|task| task["type"] == "ROOT")
        .unwrap();
    assert_eq!(
        root["child_tasks"],
        json!([{"task_id": step["task_id"], "name": "a"}])
    );
}

#[tokio::test]
async fn a_run_that_makes_no_sense_is_refused_with_the_field_and_nothing_is_kept() {
    let server = Server::start().await;
    for (body, code, words) in [
        (
            json!({"pipeline_spec": spec(ONE_STEP)}),
            3,
            "display_name is required",
        ),
        (
            json!({"display_name": "x"}),
            3,
            "exactly one of pipeline_spec",
        ),
        (
            json!({"display_name": "x", "pipeline_spec": spec(ONE_STEP), "nonsense": 1}),
            3,
            "unknown field nonsense",
        ),
        (
            json!({"display_name": "x", "pipeline_spec": spec(ONE_STEP), "runtime_config": {"parameters": {"n": "three"}}}),
            3,
            "runtime_config.parameters.n: must be an integral number",
        ),
        (
            json!({"display_name": "x", "pipeline_spec": spec(ONE_STEP), "runtime_config": {"parameters": {"m": 1}}}),
            3,
            "no such parameter; known: n",
        ),
        (
            json!({"display_name": "x", "pipeline_spec": spec(ONE_STEP), "runtime_config": {"pipeline_root": "gs://mine/x"}}),
            3,
            "lies in a store that is not configured",
        ),
        (
            json!({"display_name": "x", "pipeline_spec": spec(ONE_STEP), "plugins_output": {"a": {}}}),
            3,
            "plugins_output is set by the server only",
        ),
        (
            json!({"display_name": "x", "pipeline_spec": spec(ONE_STEP), "plugins_input": {"ferroflow.io/mounts": {"mounts": [{"hostPath": "../x", "mountPath": "/y"}]}}}),
            3,
            "hostPath must be an absolute path",
        ),
        (
            json!({"display_name": "x", "pipeline_spec": spec(ONE_STEP), "experiment_id": "none"}),
            5,
            "experiment none not found",
        ),
        (
            json!({"display_name": "x", "pipeline_version_reference": {"pipeline_id": "none"}}),
            5,
            "version of pipeline none not found",
        ),
    ] {
        let (status, answer) = server.call("POST", "/runs", body).await;
        assert_eq!(
            (status, &answer["code"]),
            (if code == 5 { 404 } else { 400 }, &json!(code)),
            "{answer}"
        );
        assert!(
            answer["message"].as_str().unwrap().contains(words),
            "{answer}"
        );
        assert_eq!(answer["error"], answer["message"]);
        assert_eq!(
            answer["details"][0]["@type"],
            "type.googleapis.com/google.rpc.Status"
        );
    }
    assert_eq!(server.get("/runs").await, json!({}));
}

#[tokio::test]
async fn a_run_by_reference_shows_only_the_reference() {
    let server = Server::start().await;
    let pipeline = server
        .post("/pipelines", json!({"display_name": "p"}))
        .await["pipeline_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let version = server
        .post(
            &format!("/pipelines/{pipeline}/versions"),
            json!({"display_name": "v", "pipeline_spec": spec(ONE_STEP)}),
        )
        .await["pipeline_version_id"]
        .clone();
    for reference in [
        json!({"pipeline_id": pipeline, "pipeline_version_id": version}),
        json!({"pipeline_id": pipeline}),
    ] {
        let run = server
            .post(
                "/runs",
                json!({"display_name": "x", "pipeline_version_reference": reference}),
            )
            .await;
        assert_eq!(
            run["pipeline_version_reference"],
            json!({"pipeline_id": pipeline, "pipeline_version_id": version})
        );
        assert!(run.get("pipeline_spec").is_none());
    }
}

#[tokio::test]
async fn a_run_without_an_experiment_goes_to_the_default_one() {
    let server = Server::start().await;
    let run = server.run(ONE_STEP, Value::Null).await;
    let experiment = server
        .get(&format!(
            "/experiments/{}",
            run["experiment_id"].as_str().unwrap()
        ))
        .await;
    assert_eq!(experiment["display_name"], "Default");
    assert_eq!(experiment["last_run_created_at"], run["created_at"]);
    let (status, _) = server
        .call(
            "DELETE",
            &format!("/experiments/{}", run["experiment_id"].as_str().unwrap()),
            Value::Null,
        )
        .await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn archiving_hides_a_run_and_leaves_its_state() {
    let server = Server::start().await;
    let run = server.run(ONE_STEP, Value::Null).await;
    let (id, experiment) = (
        run["run_id"].as_str().unwrap(),
        run["experiment_id"].as_str().unwrap(),
    );
    let unarchived = "/runs?filter=%7B%22predicates%22%3A%5B%7B%22operation%22%3A%22NOT_EQUALS%22%2C%22key%22%3A%22storage_state%22%2C%22stringValue%22%3A%22ARCHIVED%22%7D%5D%7D";
    assert_eq!(
        server
            .post(&format!("/runs/{id}:archive"), Value::Null)
            .await,
        json!({})
    );
    let archived = server.get(&format!("/runs/{id}")).await;
    assert_eq!(
        (
            archived["storage_state"].as_str(),
            archived["state"].as_str()
        ),
        (Some("ARCHIVED"), Some("SUCCEEDED"))
    );
    assert_eq!(server.get(unarchived).await, json!({}));
    server
        .post(&format!("/runs/{id}:unarchive"), Value::Null)
        .await;
    assert_eq!(server.get(unarchived).await["total_size"], 1);
    server
        .post(&format!("/experiments/{experiment}:archive"), Value::Null)
        .await;
    assert_eq!(
        server.get(unarchived).await,
        json!({}),
        "the experiment took its run along"
    );
    let (status, answer) = server
        .call("POST", &format!("/runs/{id}:unarchive"), Value::Null)
        .await;
    assert_eq!((status, &answer["code"]), (400, &json!(9)));
}

#[tokio::test]
async fn terminating_is_possible_once_and_retrying_only_after_a_failure() {
    let server = Server::start().await;
    let mut changes = server.engine.watch();
    let run = server
        .post(
            "/runs",
            json!({"display_name": "x", "pipeline_spec": spec(&held())}),
        )
        .await;
    assert_eq!(run["state"], "PENDING");
    let id = run["run_id"].as_str().unwrap();
    server
        .wait(&mut changes, id, |change| {
            change
                .tasks
                .iter()
                .any(|task| task.name == "a" && task.state == pipelines::task::State::Running)
        })
        .await;
    assert_eq!(
        server
            .call("POST", &format!("/runs/{id}:retry"), Value::Null)
            .await
            .0,
        400,
        "it has not ended"
    );
    assert_eq!(
        server
            .post(&format!("/runs/{id}:terminate"), json!({}))
            .await,
        json!({})
    );
    assert_eq!(
        server.get(&format!("/runs/{id}")).await["state"],
        "CANCELING"
    );
    server
        .wait(&mut changes, id, |change| {
            change.run.as_ref().is_some_and(|run| run.state.is_final())
        })
        .await;
    let ended = server.get(&format!("/runs/{id}")).await;
    assert_eq!(
        (ended["state"].as_str(), ended["error"]["message"].as_str()),
        (Some("FAILED"), Some("cancelled by user"))
    );
    assert_eq!(
        server
            .call("POST", &format!("/runs/{id}:terminate"), Value::Null)
            .await
            .0,
        400
    );
    server.post(&format!("/runs/{id}:retry"), Value::Null).await;
    assert_eq!(server.get(&format!("/runs/{id}")).await["state"], "RUNNING");
    assert_eq!(
        server
            .call("POST", &format!("/runs/{id}:dance"), Value::Null)
            .await
            .0,
        400
    );
}

#[tokio::test]
async fn the_stream_of_a_run_begins_with_its_state_and_ends_with_its_deletion() {
    let server = Server::start().await;
    let run = server.run(ONE_STEP, Value::Null).await;
    let id = run["run_id"].as_str().unwrap();
    let answer = server
        .send(
            http::Request::get(format!("/apis/v2beta1/runs/{id}:watch"))
                .body(axum::body::Body::empty())
                .unwrap(),
        )
        .await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut body = answer.into_body();
    let mut next = async || {
        String::from_utf8(
            body.frame()
                .await
                .unwrap()
                .unwrap()
                .into_data()
                .unwrap()
                .to_vec(),
        )
        .unwrap()
    };
    let first = next().await;
    let data = first
        .lines()
        .find_map(|line| line.strip_prefix("data: "))
        .unwrap();
    let shown: Value = serde_json::from_str(data).unwrap();
    assert_eq!(
        (
            shown["state"].as_str(),
            shown["tasks"].as_array().unwrap().len()
        ),
        (Some("SUCCEEDED"), 2)
    );
    server
        .call("DELETE", &format!("/runs/{id}"), Value::Null)
        .await;
    assert!(next().await.starts_with("event: deleted"));
}

#[tokio::test]
async fn what_is_not_there_yet_says_so() {
    let server = Server::start().await;
    let (status, answer) = server.call("POST", "/recurringruns", json!({})).await;
    assert_eq!((status, &answer["code"]), (501, &json!(12)));
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("recurring runs are not part of this version")
    );
    let (status, answer) = server.call("GET", "/nonsense", Value::Null).await;
    assert_eq!((status, &answer["code"]), (404, &json!(5)));
}

#[tokio::test]
async fn doubled_slashes_are_tolerated() {
    let server = Server::start().await;
    let answer = server
        .send(
            http::Request::get("//apis/v2beta1/healthz")
                .body(axum::body::Body::empty())
                .unwrap(),
        )
        .await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn lineage_is_listed_from_both_ends() {
    let server = Server::start().await;
    let document = include_str!("../pipelines/compiled/artifacts.yaml");
    let run = server.run(document, Value::Null).await;
    let artifacts = server.get("/artifacts?sort_by=name").await;
    let names: Vec<&str> = artifacts["artifacts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|artifact| artifact["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["data", "metrics", "model"]);
    let data = artifacts["artifacts"][0]["artifact_id"].as_str().unwrap();
    let links = server
        .get(&format!("/artifact_tasks?artifact_id={data}"))
        .await;
    let mut kinds: Vec<&str> = links["artifact_tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|link| link["type"].as_str().unwrap())
        .collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["OUTPUT", "TASK_OUTPUT_INPUT", "TASK_OUTPUT_INPUT"]);
    let node = run["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|task| task["name"] == "make-dataset")
        .unwrap()["task_id"]
        .as_str()
        .unwrap();
    let read = server
        .get(&format!(
            "/runs/{}/nodes/{node}/artifacts/data:read",
            run["run_id"].as_str().unwrap()
        ))
        .await;
    assert_eq!(read["data"], "ZGF0YQ==");
}

#[tokio::test]
async fn an_artifact_is_served_inertly_and_never_from_outside_the_store() {
    let server = Server::start().await;
    let run = server
        .run(
            include_str!("../pipelines/compiled/artifacts.yaml"),
            Value::Null,
        )
        .await;
    let task = run["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|task| task["name"] == "make-dataset")
        .unwrap();
    let uri = task["outputs"]["artifacts"][0]["artifacts"][0]["uri"]
        .as_str()
        .unwrap();
    let key = uri.strip_prefix("minio://mlpipeline/").unwrap();
    let get = async |key: &str| {
        server
            .send(
                http::Request::get(format!(
                    "/artifacts/get?source=minio&bucket=mlpipeline&key={key}&peek=2"
                ))
                .body(axum::body::Body::empty())
                .unwrap(),
            )
            .await
    };
    let answer = get(key).await;
    assert_eq!(answer.headers()["content-type"], "application/octet-stream");
    assert!(
        answer.headers()["content-disposition"]
            .to_str()
            .unwrap()
            .starts_with("attachment")
    );
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "da");
    for bad in ["../p.db", "v2/../../p.db", "%2e%2e/p.db", "/etc/passwd"] {
        assert_eq!(get(bad).await.status(), 400, "{bad}");
    }
}
