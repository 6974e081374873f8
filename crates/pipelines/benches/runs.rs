//! What a page of 200 costs among a million runs, and what the engine costs per step.

use std::sync::{Arc, LazyLock};

use divan::Bencher;
use jiff::Timestamp;
use pipelines::run::{Run, RunState};
use pipelines::store::{self, Store, list::Request};
use serde_json::{Map, json};

const RUNS: i64 = 1_000_000;

struct Million {
    _folder: tempfile::TempDir,
    store: Arc<Store>,
}

static MILLION: LazyLock<Million> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("p.db")).unwrap();
    store
        .write_now(|tx| {
            let document = pipelines::ir::Document {
                pipeline: json!({"pipelineInfo": {"name": "bench"}, "pad": "x".repeat(10_000)}),
                platform: None,
            };
            let spec_hash = store::spec::put(tx, &document)?;
            for index in 0..RUNS {
                store::run::insert(tx, &run(index, &spec_hash))?;
            }
            Ok(())
        })
        .unwrap();
    Million {
        _folder: folder,
        store,
    }
});

fn run(index: i64, spec_hash: &str) -> Run {
    let at = Timestamp::from_second(1_700_000_000 + index / 2).unwrap();
    Run {
        id: uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, &index.to_le_bytes()).to_string(),
        namespace: String::new(),
        experiment_id: format!("e{}", index % 10),
        display_name: format!("run {index}"),
        description: String::new(),
        is_archived: index % 7 == 0,
        state: if index % 5 == 0 {
            RunState::Failed
        } else {
            RunState::Succeeded
        },
        state_history: vec![],
        error: None,
        created_at: at,
        scheduled_at: at,
        finished_at: Some(at),
        pipeline_id: String::new(),
        pipeline_version_id: String::new(),
        spec_hash: spec_hash.to_owned(),
        parameters: Map::new(),
        pipeline_root: String::new(),
        service_account: String::new(),
        plugins_input: Map::new(),
        resource_name: "bench-abcde".into(),
        shared_paths: vec![],
    }
}

fn main() {
    divan::main();
}

#[divan::bench(args = ["created_at", "created_at desc", "name"])]
fn page_of_200(bencher: Bencher, sort_by: &str) {
    page(bencher, None, sort_by, "");
}

#[divan::bench]
fn page_of_200_of_one_experiment(bencher: Bencher) {
    page(bencher, Some("e3"), "created_at desc", "");
}

#[divan::bench]
fn page_of_200_that_are_not_archived(bencher: Bencher) {
    page(
        bencher,
        None,
        "created_at desc",
        r#"{"predicates":[{"operation":"NOT_EQUALS","key":"storage_state","stringValue":"ARCHIVED"}]}"#,
    );
}

#[divan::bench]
fn page_of_200_failed(bencher: Bencher) {
    page(
        bencher,
        None,
        "created_at desc",
        r#"{"predicates":[{"operation":"EQUALS","key":"state","stringValue":"FAILED"}]}"#,
    );
}

fn page(bencher: Bencher, experiment: Option<&str>, sort_by: &str, filter: &str) {
    let request = Request {
        page_size: 200,
        sort_by: sort_by.into(),
        filter: filter.into(),
        ..Request::default()
    };
    let store = &MILLION.store;
    bencher.bench(|| {
        store
            .read_now(|db| store::run::list(db, None, experiment, &request))
            .unwrap()
            .items
            .len()
    });
}
