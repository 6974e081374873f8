//! Every pipeline of `tests/pipelines`, as the SDK compiled it, against what its source expects.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::Value;

use super::described;
use super::server::Server;

fn compiled() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/pipelines/compiled"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_compiled_pipeline_runs_to_what_its_source_expects() {
    let mut names: Vec<PathBuf> = std::fs::read_dir(compiled())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .collect();
    names.sort();
    assert!(names.len() >= 20, "only {} pipelines", names.len());
    let mut problems = Vec::new();
    for path in names {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let expected: Value = serde_json::from_str(
            &std::fs::read_to_string(path.with_extension("expected.json")).unwrap(),
        )
        .unwrap();
        let server = Server::start().await;
        let run = server
            .run(
                &std::fs::read_to_string(&path).unwrap(),
                expected["arguments"].clone(),
            )
            .await;
        described::check("Run", &run);
        problems.extend(
            compare(&run, &expected)
                .into_iter()
                .map(|problem| format!("{name}: {problem}")),
        );
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

fn compare(run: &Value, expected: &Value) -> Vec<String> {
    let tasks: HashMap<&str, &Value> = run["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| (task["scope_path"].as_str().unwrap(), task))
        .collect();
    let mut problems = Vec::new();
    if run["state"] != expected["state"] {
        problems.push(format!(
            "state {}, expected {}: {}",
            run["state"], expected["state"], run["error"]
        ));
    }
    let entries = |section: &str| expected[section].as_object().cloned().unwrap_or_default();
    for (path, outputs) in entries("outputs") {
        for (key, value) in outputs.as_object().unwrap() {
            let made = tasks[path.as_str()]["outputs"]["parameters"]
                .as_array()
                .and_then(|all| {
                    all.iter()
                        .find(|made| made["parameter_key"] == key.as_str())
                })
                .map(|made| &made["value"]);
            if made != Some(value) {
                problems.push(format!("{path}.{key} is {made:?}, expected {value}"));
            }
        }
    }
    for (path, state) in entries("states") {
        if tasks[path.as_str()]["state"] != state {
            problems.push(format!(
                "{path} is {}, expected {state}",
                tasks[path.as_str()]["state"]
            ));
        }
    }
    for (path, artifacts) in entries("artifacts") {
        for (key, metadata) in artifacts.as_object().unwrap() {
            let made = tasks[path.as_str()]["outputs"]["artifacts"]
                .as_array()
                .and_then(|all| all.iter().find(|made| made["artifact_key"] == key.as_str()));
            let made = made.map(|made| &made["artifacts"][0]["metadata"]);
            if made != Some(metadata) {
                problems.push(format!("{path}.{key} has {made:?}, expected {metadata}"));
            }
        }
    }
    for (path, count) in entries("attempts") {
        let attempts = tasks[path.as_str()]["status_metadata"]["custom_properties"]["attempts"]
            .as_array()
            .map_or(0, Vec::len);
        if count != attempts {
            problems.push(format!("{path} had {attempts} attempts, expected {count}"));
        }
    }
    problems
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_takes_results_over_and_names_where_they_came_from() {
    let server = Server::start().await;
    let document = std::fs::read_to_string(compiled().join("cached.yaml")).unwrap();
    let first = server.run(&document, Value::Null).await;
    assert_eq!(server.journal.total(), 3);
    let second = server.run(&document, Value::Null).await;
    assert_eq!(
        server.journal.total(),
        4,
        "only the step without caching ran again"
    );
    let find = |run: &Value, name: &str| {
        run["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|task| task["name"] == name)
            .cloned()
            .unwrap()
    };
    let cached = find(&second, "count-rows");
    described::check("Run", &second);
    assert_eq!(cached["state"], "CACHED");
    assert_eq!(
        cached["status_metadata"]["custom_properties"]["cached_from"]["run_id"],
        first["run_id"]
    );
    assert_eq!(
        cached["status_metadata"]["custom_properties"]["cached_from"]["task_id"],
        find(&first, "count-rows")["task_id"]
    );
    assert_eq!(cached["outputs"], find(&first, "count-rows")["outputs"]);
    let details = second["run_details"]["task_details"].as_array().unwrap();
    assert!(
        details
            .iter()
            .any(|detail| detail["display_name"] == "count-rows" && detail["state"] == "SUCCEEDED"),
        "released clients have no word for cached"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_whose_object_is_gone_is_made_again() {
    let server = Server::start().await;
    let document = std::fs::read_to_string(compiled().join("cached.yaml")).unwrap();
    server.run(&document, Value::Null).await;
    std::fs::remove_dir_all(server.artifacts().join("v2")).unwrap();
    server.run(&document, Value::Null).await;
    assert_eq!(server.journal.launched.lock().unwrap()["make-dataset"], 2);
}

/// Not a figure to be proud of (`benches` has none for it): a bound that a needless wait or a scan of all tasks would break.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_steps_costs_the_engine_little_per_step() {
    let server = Server::start().await;
    let tasks: String = (0..200)
        .map(|index| {
            let after = if index == 0 {
                String::new()
            } else {
                format!(", dependentTasks: [t{:03}]", index - 1)
            };
            format!("      t{index:03}: {{componentRef: {{name: comp-a}}{after}}}\n")
        })
        .collect();
    let document = super::server::ONE_STEP.replace(
        "  dag: {tasks: {a: {componentRef: {name: comp-a}}}}\n",
        &format!("  dag:\n    tasks:\n{tasks}"),
    );
    let since = std::time::Instant::now();
    let run = server.run(&document, Value::Null).await;
    let per_step = since.elapsed() / 200;
    assert_eq!(run["state"], "SUCCEEDED");
    println!("{per_step:?} per step");
    assert!(per_step.as_millis() < 50, "{per_step:?} per step");
}
