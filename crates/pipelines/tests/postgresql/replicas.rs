//! Two replicas over one database: one drives the runs, both answer, and the death of either loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt as _;
use kube::ResourceExt as _;
use pipelines::{Config, Database};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::node;
use super::platform::{Platform, connections};
use super::postgres;

/// One of the two.
struct Replica {
    url: String,
    leads: Arc<AtomicBool>,
    work: tokio::task::JoinHandle<()>,
}

impl Replica {
    async fn start(platform: &Platform, database: &str, identity: &str) -> Self {
        let (url, connections) = connections().await;
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let mut config = Config::new(
            platform.client.clone(),
            Database::Server(database.parse().unwrap()),
            platform.artifacts(),
            "ferroflow/kfctl:test".into(),
            connections,
        );
        config.ready = Some(ready);
        let leads = Arc::new(AtomicBool::new(false));
        let (told, identity) = (Arc::clone(&leads), identity.to_owned());
        let work = tokio::spawn(async move {
            let tell = |leads: bool| told.store(leads, Ordering::SeqCst);
            pipelines::serve::replicate(config, &identity, tell, CancellationToken::new())
                .await
                .unwrap();
        });
        is_ready.await.unwrap();
        Self { url, leads, work }
    }

    fn leads(&self) -> bool {
        self.leads.load(Ordering::SeqCst)
    }

    /// Ends it in the middle of whatever it does; it gives nothing back.
    async fn kill(self) {
        self.work.abort();
        let _ = self.work.await;
    }
}

/// The one that drives, and the other.
async fn two() -> (Platform, Replica, Replica) {
    let database = tokio::task::spawn_blocking(|| postgres::server().database())
        .await
        .unwrap();
    let platform = Platform::without_component().await;
    let driver = Replica::start(&platform, &database, "first").await;
    platform
        .eventually("driven", || async { driver.leads() })
        .await;
    let other = Replica::start(&platform, &database, "second").await;
    (platform, driver, other)
}

/// Ends a held step as its launcher would, whichever run it is of.
async fn finish(platform: &Platform, run: &str) {
    let pods = platform.pods().list(&Default::default()).await.unwrap();
    let pod = pods
        .items
        .into_iter()
        .find(|pod| {
            pod.labels().get("pipeline/runid").map(String::as_str) == Some(run)
                && pod.annotations()["pipelines.kubeflow.org/task_name"] == "hold"
        })
        .unwrap();
    let report = pod.annotations()["pipelines.ferroflow.io/report"]
        .strip_prefix("minio://mlpipeline/")
        .unwrap();
    std::fs::write(platform.artifacts().join(report), r#"{"exitCode": 0}"#).unwrap();
    node::end(&platform.pods(), &pod.name_any(), 0, "Completed").await;
}

const HELD: &str = "{hold: {componentRef: {name: comp-a}}, after: {componentRef: {name: comp-n}, dependentTasks: [hold]}}";

#[tokio::test(flavor = "multi_thread")]
async fn twenty_runs_outlive_the_replica_that_drives_them_and_no_step_succeeds_twice() {
    let (mut platform, driver, other) = two().await;
    let mut runs = Vec::new();
    for index in 0..20 {
        // Accepted by either.
        platform.url = [&driver, &other][index % 2].url.clone();
        runs.push(platform.submit(HELD).await);
    }
    platform
        .eventually("at work", || async { platform.journal.count("hold") == 20 })
        .await;
    // Some steps end while nobody drives.
    let (early, late) = runs.split_at(10);
    driver.kill().await;
    assert!(!other.leads());
    for run in early {
        finish(&platform, run).await;
    }
    platform.url.clone_from(&other.url);
    platform
        .eventually("taken over", || async { other.leads() })
        .await;
    for run in late {
        finish(&platform, run).await;
    }
    for run in &runs {
        platform.wait_for(run, "SUCCEEDED").await;
    }
    let (_, page) = platform.call("GET", "/runs", None).await;
    assert_eq!(page["total_size"], 20);
    assert_eq!(
        (
            platform.journal.count("hold"),
            platform.journal.count("after")
        ),
        (20, 20)
    );
    other.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_replica_shows_changes_as_they_come_and_passes_on_what_is_asked() {
    let (mut platform, driver, other) = two().await;
    platform.url.clone_from(&other.url);
    let mut events = Events::of(&platform, "/runs:watch").await;
    let id = platform.submit(HELD).await;
    events.until(&id, "RUNNING").await;
    assert!(driver.leads() && !other.leads());

    let act = async |verb: &str| {
        platform
            .call("POST", &format!("/runs/{id}:{verb}"), None)
            .await
    };
    let (status, refusal) = act("retry").await;
    assert_eq!(status, 400, "{refusal}");
    assert!(
        refusal["message"]
            .as_str()
            .unwrap()
            .contains("only a failed run can be retried"),
        "{refusal}"
    );
    assert_eq!(act("terminate").await, (200, json!({})));
    events.until(&id, "FAILED").await;
    assert_eq!(act("retry").await, (200, json!({})));
    events.until(&id, "RUNNING").await;
    let (status, _) = platform.call("DELETE", &format!("/runs/{id}"), None).await;
    assert_eq!(status, 200);
    events.until_deleted(&id).await;
    let (status, _) = platform.call("DELETE", &format!("/runs/{id}"), None).await;
    assert_eq!(status, 404);
    driver.kill().await;
    other.kill().await;
}

/// A stream of server-sent events.
struct Events {
    body: futures::stream::BoxStream<'static, String>,
}

impl Events {
    async fn of(platform: &Platform, path: &str) -> Self {
        let answer = reqwest::Client::new()
            .get(format!("{}/apis/v2beta1{path}", platform.url))
            .bearer_auth(&platform.token)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        let mut bytes = answer.bytes_stream();
        let body = async_stream::stream! {
            let mut text = String::new();
            while let Some(Ok(part)) = bytes.next().await {
                text.push_str(&String::from_utf8_lossy(&part));
                while let Some((event, rest)) = text.split_once("\n\n") {
                    yield event.to_owned();
                    text = rest.to_owned();
                }
            }
        };
        Self { body: body.boxed() }
    }

    async fn next_where(&mut self, wish: &str, is_it: impl Fn(&str, &Value) -> bool) {
        let wait = async {
            while let Some(event) = self.body.next().await {
                let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                let kind = line("event: ").unwrap_or_default();
                let data = serde_json::from_str(line("data: ").unwrap_or("null")).unwrap();
                if is_it(kind, &data) {
                    return;
                }
            }
            panic!("the stream ended before {wish}");
        };
        tokio::time::timeout(super::platform::PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("no event: {wish}"));
    }

    async fn until(&mut self, id: &str, state: &str) {
        self.next_where(state, |_, run| run["run_id"] == id && run["state"] == state)
            .await;
    }

    async fn until_deleted(&mut self, id: &str) {
        self.next_where("deleted", |kind, run| {
            kind == "deleted" && run["run_id"] == id
        })
        .await;
    }
}
