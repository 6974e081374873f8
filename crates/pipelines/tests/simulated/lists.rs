//! Lists: pages, orders, filters, and their price among a million runs.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use pipelines::store;
use serde_json::{Value, json};

use super::database;
use super::server::{ONE_STEP, Server};

async fn experiments(server: &Server, names: &[&str]) {
    for name in names {
        server
            .post(
                "/experiments",
                json!({"display_name": name, "description": format!("about {name}")}),
            )
            .await;
    }
}

fn names(page: &Value) -> Vec<&str> {
    page["experiments"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|experiment| experiment["display_name"].as_str().unwrap())
        .collect()
}

fn filter(predicates: Value) -> String {
    let text = json!({"predicates": predicates}).to_string();
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps_in_either_order() {
    let server = Server::start().await;
    experiments(&server, &["a", "b", "c", "d", "e"]).await;
    for (order, expected) in [
        ("", ["a", "b", "c", "d", "e"]),
        ("created_at%20desc", ["e", "d", "c", "b", "a"]),
        ("name%20DESC", ["e", "d", "c", "b", "a"]),
    ] {
        let mut seen = Vec::new();
        let mut token = String::new();
        loop {
            let page = server
                .get(&format!(
                    "/experiments?page_size=2&sort_by={order}&page_token={token}&namespace="
                ))
                .await;
            assert_eq!(page["total_size"], 5);
            seen.extend(names(&page).into_iter().map(str::to_owned));
            match page["next_page_token"].as_str() {
                Some(next) => token = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(seen, expected, "{order}");
    }
}

#[tokio::test]
async fn a_token_freezes_order_and_filter() {
    let server = Server::start().await;
    experiments(&server, &["a", "b", "c"]).await;
    let token = server.get("/experiments?page_size=1&sort_by=name").await["next_page_token"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        names(
            &server
                .get(&format!("/experiments?page_size=5&page_token={token}"))
                .await
        ),
        ["b", "c"]
    );
    assert_eq!(
        server
            .call(
                "GET",
                &format!("/experiments?page_token={token}&sort_by=description"),
                Value::Null
            )
            .await
            .0,
        400
    );
    for bad in [
        "/experiments?page_token=nonsense",
        "/experiments?page_size=-1",
        "/experiments?page_size=x",
        "/experiments?sort_by=color",
        "/experiments?sort_by=name%20up",
        "/experiments?filter=%7B",
    ] {
        assert_eq!(server.call("GET", bad, Value::Null).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn filters_compare_as_the_api_says() {
    let server = Server::start().await;
    experiments(&server, &["Alpha", "beta", "Gamma_1"]).await;
    for (predicates, expected) in [
        (
            json!([{"operation": 1, "key": "display_name", "stringValue": "beta"}]),
            vec!["beta"],
        ),
        (
            json!([{"op": "EQUALS", "key": "name", "string_value": "beta"}]),
            vec!["beta"],
        ),
        (
            json!([{"operation": "NOT_EQUALS", "key": "name", "stringValue": "beta"}]),
            vec!["Alpha", "Gamma_1"],
        ),
        (
            json!([{"operation": "IS_SUBSTRING", "key": "name", "stringValue": "A"}]),
            vec!["Alpha", "beta", "Gamma_1"],
        ),
        (
            json!([{"operation": 9, "key": "name", "stringValue": "_"}]),
            vec!["Gamma_1"],
        ),
        (
            json!([{"operation": "IN", "key": "name", "stringValues": {"values": ["beta", "Alpha"]}}]),
            vec!["Alpha", "beta"],
        ),
        (
            json!([{"operation": "IS_SUBSTRING", "key": "name", "stringValue": "a"}, {"operation": "LESS_THAN", "key": "name", "stringValue": "b"}]),
            vec!["Alpha", "Gamma_1"],
        ),
        (
            json!([{"operation": "GREATER_THAN", "key": "created_at", "timestampValue": "2020-01-01T00:00:00Z"}]),
            vec!["Alpha", "beta", "Gamma_1"],
        ),
        (
            json!([{"operation": "LESS_THAN", "key": "created_at", "timestamp_value": {"seconds": 1}}]),
            vec![],
        ),
    ] {
        let page = server
            .get(&format!(
                "/experiments?filter={}",
                filter(predicates.clone())
            ))
            .await;
        assert_eq!(names(&page), expected, "{predicates}");
    }
    for bad in [
        json!([{"operation": "IN", "key": "name", "stringValue": "x"}]),
        json!([{"operation": 4, "key": "name", "stringValue": "x"}]),
        json!([{"operation": 1, "key": "color", "stringValue": "x"}]),
        json!([{"operation": 1, "key": "name"}]),
    ] {
        assert_eq!(
            server
                .call(
                    "GET",
                    &format!("/experiments?filter={}", filter(bad.clone())),
                    Value::Null
                )
                .await
                .0,
            400,
            "{bad}"
        );
    }
}

/// Runs with one parameter each, in this order; the last has none.
async fn runs_with_rates(server: &Server, rates: &[Value]) -> Vec<String> {
    let first = server.run(ONE_STEP, Value::Null).await;
    let id = first["run_id"].as_str().unwrap().to_owned();
    let runs: Vec<String> = (0..rates.len())
        .map(|index| format!("run-{index}"))
        .collect();
    let (ids, rates) = (runs.clone(), rates.to_vec());
    server
        .store
        .write(move |tx| {
            let mut run = store::run::get(tx, &id)?;
            for (id, rate) in ids.iter().zip(&rates) {
                run.id.clone_from(id);
                run.display_name.clone_from(id);
                run.created_at = Timestamp::from_second(1_700_000_000).unwrap();
                let names = ["learning rate", "rate"];
                run.parameters = names
                    .map(|name| (name.to_owned(), rate.clone()))
                    .into_iter()
                    .collect();
                store::run::insert(tx, &run)?;
            }
            Ok(())
        })
        .await
        .unwrap();
    runs
}

fn run_names(page: &Value) -> Vec<&str> {
    let runs = page["runs"].as_array().into_iter().flatten();
    runs.map(|run| run["display_name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn runs_are_found_by_their_parameters() {
    let server = Server::start().await;
    runs_with_rates(
        &server,
        &[json!(0.5), json!(2), json!("2"), json!("high"), json!(true)],
    )
    .await;
    let list = async |operation: &str, value: &str| {
        let predicates = json!([{"operation": operation, "key": "parameters.learning rate", "string_value": value}]);
        let page = server
            .get(&format!("/runs?sort_by=name&filter={}", filter(predicates)))
            .await;
        let names: Vec<String> = run_names(&page).into_iter().map(str::to_owned).collect();
        assert_eq!(page["total_size"], names.len());
        names
    };
    assert_eq!(list("GREATER_THAN", "0.5").await, ["run-1", "run-4"]);
    assert_eq!(
        list("GREATER_THAN_EQUALS", "0.50").await,
        ["run-0", "run-1", "run-4"]
    );
    assert_eq!(list("LESS_THAN", "1").await, ["run-0"]);
    assert_eq!(list("EQUALS", "2").await, ["run-1", "run-2"]);
    assert_eq!(list("EQUALS", "high").await, ["run-3"]);
    assert_eq!(list("EQUALS", "true").await, ["run-4"]);
    // The run without the parameter has another value than every value.
    assert_eq!(
        list("NOT_EQUALS", "2").await,
        ["run-0", "run-3", "run-4", "test"]
    );
    for (key, operation, value) in [
        ("parameters.rate", "GREATER_THAN", "high"),
        ("parameters.rate", "IS_SUBSTRING", "1"),
        ("parameters.", "EQUALS", "1"),
        ("parameters.a\"b", "EQUALS", "1"),
        ("metrics.a\\", "EQUALS", "1"),
    ] {
        let predicates = json!([{"operation": operation, "key": key, "string_value": value}]);
        let path = format!("/runs?filter={}", filter(predicates));
        assert_eq!(
            server.call("GET", &path, Value::Null).await.0,
            400,
            "{key} {operation} {value}"
        );
    }
    let quote = json!([{"operation": "EQUALS", "key": "parameters.it's", "string_value": "1"}]);
    let page = server.get(&format!("/runs?filter={}", filter(quote))).await;
    assert_eq!(run_names(&page), [""; 0]);
}

#[tokio::test]
async fn runs_are_sorted_by_a_parameter_page_by_page_with_numbers_before_texts_and_none_first() {
    let server = Server::start().await;
    let rates = [
        json!(0.1),
        json!("b"),
        json!(3),
        json!(0.30000000000000004),
        json!("a"),
        json!(0.3),
    ];
    runs_with_rates(&server, &rates).await;
    let up = ["test", "run-0", "run-5", "run-3", "run-2", "run-4", "run-1"];
    for (order, expected) in [
        ("asc", up.to_vec()),
        ("desc", up.iter().rev().copied().collect()),
    ] {
        // The name in the key has no space: a key of an order is one word.
        let sort = format!("parameters.rate%20{order}");
        let mut seen: Vec<String> = Vec::new();
        let mut token = String::new();
        loop {
            let page = server
                .get(&format!(
                    "/runs?page_size=2&sort_by={sort}&page_token={token}"
                ))
                .await;
            seen.extend(run_names(&page).into_iter().map(str::to_owned));
            match page["next_page_token"].as_str() {
                Some(next) => token = next.to_owned(),
                None => break,
            }
        }
        assert_eq!(seen, expected, "{order}");
    }
}

#[tokio::test]
async fn a_parameter_is_looked_up_whatever_its_name_and_its_value() {
    let server = Server::start().await;
    let first = server.run(ONE_STEP, Value::Null).await;
    let id = first["run_id"].as_str().unwrap().to_owned();
    server
        .store
        .write(move |tx| {
            let mut run = store::run::get(tx, &id)?;
            for (id, value) in [
                ("list", json!([1, {"a": "b"}])),
                ("nul", json!("x\u{0}y")),
                ("backslash", json!("x\\u0000y")),
                ("large", json!(9_007_199_254_740_993_i64)),
                ("small", json!(-2.5e-300)),
                ("null", Value::Null),
                ("upper", json!("Z")),
            ] {
                run.id = id.to_owned();
                run.display_name = id.to_owned();
                run.parameters = [("it's_so.{name}?_ü".to_owned(), value)]
                    .into_iter()
                    .collect();
                store::run::insert(tx, &run)?;
            }
            Ok(())
        })
        .await
        .unwrap();
    for (operation, value, expected) in [
        ("EQUALS", r#"[1,{"a":"b"}]"#, vec!["list"]),
        ("EQUALS", "9007199254740993", vec!["large"]),
        ("EQUALS", r"x\u0000y", vec!["backslash"]),
        ("LESS_THAN", "0", vec!["small"]),
        ("GREATER_THAN", "9007199254740000", vec!["large"]),
        ("EQUALS", "Z", vec!["upper"]),
        ("EQUALS", "z", vec![]),
        ("EQUALS", "null", vec![]),
        (
            "NOT_EQUALS",
            "Z",
            vec!["backslash", "large", "list", "nul", "null", "small", "test"],
        ),
    ] {
        let predicates = json!([{"operation": operation, "key": "parameters.it's_so.{name}?_ü", "string_value": value}]);
        let page = server
            .get(&format!("/runs?sort_by=name&filter={}", filter(predicates)))
            .await;
        assert_eq!(run_names(&page), expected, "{operation} {value}");
    }
    let mut seen: Vec<String> = Vec::new();
    let mut token = String::new();
    loop {
        let path = format!(
            "/runs?page_size=1&sort_by=parameters.it's_so.%7Bname%7D%3F_%C3%BC&page_token={token}"
        );
        let page = server.get(&path).await;
        seen.extend(run_names(&page).into_iter().map(str::to_owned));
        match page["next_page_token"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    // The ids of the first two, which have no value, decide.
    seen[..2].sort();
    assert_eq!(
        seen,
        [
            "null",
            "test",
            "small",
            "large",
            "upper",
            "list",
            "nul",
            "backslash"
        ]
    );
}

#[tokio::test]
async fn a_token_made_for_another_order_is_refused() {
    let server = Server::start().await;
    server.run(ONE_STEP, Value::Null).await;
    for (sort_by, after) in [
        ("name", json!(5)),
        ("created_at", json!("x")),
        ("parameters.n", json!("x")),
        ("name", json!({"bits": 0, "text": ""})),
    ] {
        let token = json!({"sort_by": sort_by, "filter": "", "after": after, "id": "x"});
        let token = URL_SAFE_NO_PAD.encode(token.to_string());
        let path = format!("/runs?page_token={token}");
        let (status, answer) = server.call("GET", &path, Value::Null).await;
        assert_eq!(status, 400, "{sort_by}: {answer}");
    }
}

#[tokio::test]
async fn what_steps_report_as_metrics_is_shown_filtered_and_sorted_by() {
    let server = Server::start().await;
    let runs = runs_with_rates(&server, &[json!(1), json!(2)]).await;
    server
        .store
        .write(move |tx| {
            // Of what is reported twice the later one counts, whatever else was reported since.
            let reported = [
                (0, 0, json!({"accuracy": 0.75})),
                (1, 0, json!({"accuracy": 0.9})),
                (0, 1, json!({"loss": 1})),
                (1, 1, json!({"accuracy": 0.5})),
            ];
            for (run, second, metrics) in reported {
                let run = &runs[run];
                let kind = pipelines::ir::component::ArtifactType {
                    schema_title: "system.Metrics".to_owned(),
                    ..Default::default()
                };
                let artifact = pipelines::artifact::Artifact {
                    id: format!("artifact-of-{run}-{second}"),
                    name: "metrics".to_owned(),
                    kind,
                    uri: format!("minio://mlpipeline/{run}"),
                    metadata: serde_json::from_value(metrics).unwrap(),
                    custom_path: None,
                    size_bytes: None,
                    created_at: Timestamp::from_second(1_700_000_000 + second).unwrap(),
                };
                store::artifact::put(tx, "kubeflow", &artifact)?;
                store::artifact::link(
                    tx,
                    &artifact,
                    run,
                    "a-task",
                    store::artifact::LinkKind::Output,
                    "metrics",
                )?;
            }
            Ok(())
        })
        .await
        .unwrap();
    let page = server.get("/runs?sort_by=metrics.accuracy%20desc").await;
    assert_eq!(run_names(&page), ["run-0", "run-1", "test"]);
    let shown = "/runs/0/plugins_output/ferroflow.io~1metrics/entries/accuracy/value";
    assert_eq!(page.pointer(shown), Some(&json!(0.75)));
    let predicates =
        json!([{"operation": "LESS_THAN", "key": "metrics.accuracy", "string_value": "0.6"}]);
    let page = server
        .get(&format!("/runs?filter={}", filter(predicates)))
        .await;
    assert_eq!(run_names(&page), ["run-1"]);
    let whole = server.get("/runs/run-0").await;
    assert_eq!(
        whole.pointer("/plugins_output/ferroflow.io~1metrics/entries/accuracy/value"),
        Some(&json!(0.75))
    );
}

#[tokio::test]
async fn tags_filter_by_equality_and_combine() {
    let server = Server::start().await;
    for (name, tags) in [
        ("a", json!({"team": "x", "stage": "prod"})),
        ("b", json!({"team": "x"})),
        ("c", json!({})),
    ] {
        server
            .post("/pipelines", json!({"name": name, "tags": tags}))
            .await;
    }
    let list = async |predicates: Value| {
        server
            .get(&format!("/pipelines?filter={}", filter(predicates)))
            .await["total_size"]
            .clone()
    };
    assert_eq!(
        list(json!([{"operation": "EQUALS", "key": "tags.team", "stringValue": "x"}])).await,
        2
    );
    assert_eq!(list(json!([{"operation": "EQUALS", "key": "tags.team", "stringValue": "x"}, {"operation": "EQUALS", "key": "tags.stage", "stringValue": "prod"}])).await, 1);
    let (status, _) = server
        .call(
            "GET",
            &format!(
                "/pipelines?filter={}",
                filter(
                    json!([{"operation": "NOT_EQUALS", "key": "tags.team", "stringValue": "x"}])
                )
            ),
            Value::Null,
        )
        .await;
    assert_eq!(status, 400);
    let id = server.get("/pipelines").await["pipelines"][0]["pipeline_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let kept = server
        .call(
            "PATCH",
            &format!("/pipelines/{id}"),
            json!({"display_name": "A"}),
        )
        .await
        .1;
    assert_eq!(
        (kept["display_name"].as_str(), kept["tags"]["team"].as_str()),
        (Some("A"), Some("x"))
    );
    assert!(
        server
            .call("PATCH", &format!("/pipelines/{id}"), json!({"tags": {}}))
            .await
            .1
            .get("tags")
            .is_none()
    );
}

/// A few thousand rows here stand for the million of `benches/runs.rs`: the plan is what is tested, that no page costs more the
/// deeper it lies or the more rows there are.
#[tokio::test]
async fn a_page_of_runs_reads_an_index_and_counts_nothing() {
    let server = Server::start().await;
    let run = server.run(ONE_STEP, Value::Null).await;
    let id = run["run_id"].as_str().unwrap().to_owned();
    server
        .store
        .write(move |tx| {
            let mut run = store::run::get(tx, &id)?;
            for index in 0..database::MANY {
                run.id = format!("run-{index:08}");
                run.created_at = Timestamp::from_second(1_700_000_000 + index / 3).unwrap();
                store::run::insert(tx, &run)?;
            }
            Ok(())
        })
        .await
        .unwrap();
    for path in [
        "/runs?page_size=200",
        "/runs?page_size=200&sort_by=created_at%20desc",
    ] {
        let page = server.get(path).await;
        assert_eq!(
            (page["runs"].as_array().unwrap().len(), &page["total_size"]),
            (200, &json!(database::MANY + 1))
        );
        let next = server
            .get(&format!(
                "{path}&page_token={}",
                page["next_page_token"].as_str().unwrap()
            ))
            .await;
        assert_eq!(next["runs"].as_array().unwrap().len(), 200);
    }
    let plan = server
        .store
        .read(|db| database::plan(db, "SELECT id FROM run WHERE 1 = 1 AND (run.created_at, run.id) < (1700000300, 'x') ORDER BY run.created_at DESC, run.id DESC LIMIT 201"))
        .await
        .unwrap();
    assert!(database::follows_an_index(&plan), "{plan:?}");
}
