//! Lists: pages, orders, filters, and their price among a million runs.

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
