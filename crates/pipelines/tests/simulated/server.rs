//! The component without a cluster: requests go straight into the router.

use std::sync::Arc;

use artifacts::{LocalStore, Stores};
use axum::Router;
use axum::body::Body;
use http_body_util::BodyExt as _;
use pipelines::api::{AccessPolicy, Api, Caller};
use pipelines::engine::{self, Engine, Memory, Policy, RunChange};
use pipelines::store::Store;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::database;
use super::played::{Journal, Player};

pub struct Server {
    folder: tempfile::TempDir,
    pub store: Arc<Store>,
    pub engine: Engine,
    pub journal: Arc<Journal>,
    router: Router,
}

impl Server {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = database::open(folder.path()).await;
        let stores = Stores::local(LocalStore::open(folder.path().join("artifacts")).unwrap());
        let lease = engine::take_lease(&store, "test").await.unwrap();
        let (engine, reports, mut inbox) = engine::channel();
        let journal = Arc::new(Journal::default());
        let memory = Memory {
            store: Arc::clone(&store),
            lease,
            stores: stores.clone(),
        };
        let player = Player {
            reports,
            journal: Arc::clone(&journal),
            artifacts: folder.path().join("artifacts"),
        };
        let running = engine.clone();
        tokio::spawn(async move {
            let (policy, stop) = (Policy::default(), CancellationToken::new());
            engine::run(running, &mut inbox, memory, policy, Arc::new(player), stop).await
        });
        let access = AccessPolicy::Fixed(Caller {
            user: "test".into(),
            groups: vec![],
            uid: String::new(),
            pod: None,
        });
        let api = Api {
            store: Arc::clone(&store),
            engine: engine.clone(),
            stores,
            access,
            namespace: "kubeflow".into(),
            service_account: "pipeline-runner".into(),
            client: None,
            allows_private_urls: false,
            steps: pipelines::api::step::Running::default(),
        };
        Self {
            folder,
            store,
            engine,
            journal,
            router: pipelines::api::router(Arc::new(api)),
        }
    }

    pub fn artifacts(&self) -> std::path::PathBuf {
        self.folder.path().join("artifacts")
    }

    pub async fn send(&self, request: http::Request<Body>) -> http::Response<Body> {
        let service = tower::util::MapRequestLayer::new(pipelines::api::router::plain_path::<Body>);
        tower::Layer::layer(&service, self.router.clone())
            .oneshot(request)
            .await
            .unwrap()
    }

    pub async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        let answer = self
            .send(
                http::Request::builder()
                    .method(method)
                    .uri(format!("/apis/v2beta1{path}"))
                    .body(body)
                    .unwrap(),
            )
            .await;
        let status = answer.status().as_u16();
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&text).unwrap_or_default())
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.call("GET", path, Value::Null).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    pub async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call("POST", path, body).await;
        assert_eq!(status, 200, "{path}: {answer}");
        answer
    }

    /// Runs a document to its end and gives the full view of the run.
    pub async fn run(&self, document: &str, parameters: Value) -> Value {
        let document = pipelines::ir::Document::parse(document).unwrap();
        let mut changes = self.engine.watch();
        let run = self.post("/runs", json!({"display_name": "test", "pipeline_spec": document.to_api(), "runtime_config": {"parameters": parameters}})).await;
        let id = run["run_id"].as_str().unwrap().to_owned();
        self.wait(&mut changes, &id, |change| {
            change.run.as_ref().is_some_and(|run| run.state.is_final())
        })
        .await;
        self.get(&format!("/runs/{id}?view=FULL")).await
    }

    /// Waits for a change of a run.
    pub async fn wait(
        &self,
        changes: &mut Receiver<Arc<RunChange>>,
        id: &str,
        is_it: impl Fn(&RunChange) -> bool,
    ) {
        let wait = async {
            loop {
                let change = changes.recv().await.unwrap();
                if change.run_id == id && is_it(&change) {
                    return;
                }
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), wait)
            .await
            .unwrap_or_else(|_| panic!("run {id} did not get there"));
    }
}

/// A document of one step without outputs.
pub const ONE_STEP: &str = r"
pipelineInfo: {name: one}
schemaVersion: 2.1.0
deploymentSpec: {executors: {exec-a: {container: {image: busybox, command: [say, hello]}}}}
components: {comp-a: {executorLabel: exec-a}}
root:
  dag: {tasks: {a: {componentRef: {name: comp-a}}}}
  inputDefinitions: {parameters: {n: {parameterType: NUMBER_INTEGER, defaultValue: 3.0}}}
";

pub fn spec(document: &str) -> Value {
    pipelines::ir::Document::parse(document).unwrap().to_api()
}
