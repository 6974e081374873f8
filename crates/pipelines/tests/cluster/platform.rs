//! An API server, a played node and the component, on a temporary folder.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apiserver::ApiServer;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use pipelines::serve::Connection;
use pipelines::{Config, serve};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::node::{self, Journal};

/// How long anything may take.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub struct Platform {
    folder: tempfile::TempDir,
    pub server: ApiServer,
    pub client: Client,
    pub journal: Arc<Journal>,
    stop: CancellationToken,
    component: Option<tokio::task::JoinHandle<()>>,
    pub url: String,
    pub token: String,
    http: reqwest::Client,
}

impl Platform {
    pub async fn start() -> Self {
        let mut platform = Self::without_component().await;
        platform.start_component().await;
        platform
    }

    pub async fn without_component() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let server = ApiServer::open(apiserver::Config::at(folder.path().join("api")))
            .await
            .unwrap();
        server
            .backend()
            .register_kubelet(node::NAME, node::kubelet());
        let client = server.admin_client();
        for (path, object) in [
            (
                "/api/v1/namespaces",
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kubeflow"}}),
            ),
            (
                "/api/v1/nodes",
                json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node::NAME}}),
            ),
            (
                "/api/v1/namespaces/kubeflow/serviceaccounts",
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "pipeline-runner"}}),
            ),
        ] {
            post(&client, path, &object).await;
        }
        let journal = Arc::new(Journal::default());
        let stop = CancellationToken::new();
        tokio::spawn(node::play(
            client.clone(),
            folder.path().join("artifacts"),
            Arc::clone(&journal),
            stop.clone(),
        ));
        let token = server.admin_token().to_owned();
        Self {
            folder,
            server,
            client,
            journal,
            stop,
            component: None,
            url: String::new(),
            token,
            http: reqwest::Client::new(),
        }
    }

    pub fn artifacts(&self) -> PathBuf {
        self.folder.path().join("artifacts")
    }

    /// Starts the component, or another one in place of a killed one.
    pub async fn start_component(&mut self) {
        let (url, connections) = connections().await;
        self.url = url;
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let mut config = Config::new(
            self.client.clone(),
            pipelines::Database::Folder(self.folder.path().join("data")),
            self.artifacts(),
            "ferroflow/kfctl:test".into(),
            connections,
        );
        config.ready = Some(ready);
        self.component = Some(tokio::spawn(async move {
            serve(config, CancellationToken::new()).await.unwrap();
        }));
        is_ready.await.unwrap();
    }

    /// Ends the component in the middle of whatever it does.
    pub async fn kill_component(&mut self) {
        let component = self.component.take().unwrap();
        component.abort();
        let _ = component.await;
    }

    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = self
            .http
            .request(
                method.parse().unwrap(),
                format!("{}/apis/v2beta1{path}", self.url),
            )
            .bearer_auth(&self.token);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json().await.unwrap_or_default())
    }

    pub async fn text(&self, path: &str) -> String {
        self.http
            .get(format!("{}/apis/v2beta1{path}", self.url))
            .bearer_auth(&self.token)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    /// Submits tasks over a component with an output (`comp-n`), one with an artifact (`comp-m`) and one with neither.
    pub async fn submit(&self, tasks: &str) -> String {
        let document = format!(
            r"
pipelineInfo: {{name: demo}}
schemaVersion: 2.1.0
deploymentSpec: {{executors: {{exec-a: {{container: {{image: busybox, command: [run], args: ['{{{{$}}}}']}}}}}}}}
components:
  comp-a: {{executorLabel: exec-a}}
  comp-n:
    executorLabel: exec-a
    inputDefinitions: {{parameters: {{x: {{parameterType: NUMBER_INTEGER, isOptional: true}}}}}}
    outputDefinitions: {{parameters: {{Output: {{parameterType: NUMBER_INTEGER}}}}}}
  comp-m:
    executorLabel: exec-a
    outputDefinitions: {{artifacts: {{model: {{artifactType: {{schemaTitle: system.Model}}}}}}}}
root: {{dag: {{tasks: {tasks}}}}}
"
        );
        self.submit_document(&document).await
    }

    pub async fn submit_document(&self, document: &str) -> String {
        let document = pipelines::ir::Document::parse(document).unwrap();
        let (status, run) = self
            .call(
                "POST",
                "/runs",
                Some(json!({"display_name": "test", "pipeline_spec": document.to_api()})),
            )
            .await;
        assert_eq!(status, 200, "{run}");
        run["run_id"].as_str().unwrap().to_owned()
    }

    pub async fn run(&self, id: &str) -> Value {
        self.call("GET", &format!("/runs/{id}?view=FULL"), None)
            .await
            .1
    }

    pub async fn wait_for(&self, id: &str, state: &str) -> Value {
        self.wait(id, &format!("state {state}"), |run| run["state"] == state)
            .await
    }

    /// Waits until a run is as wished.
    pub async fn wait(&self, id: &str, wish: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let since = Instant::now();
        loop {
            let run = self.run(id).await;
            if is_so(&run) {
                return run;
            }
            assert!(
                since.elapsed() < PATIENCE,
                "no {wish} after {PATIENCE:?}: {run:#}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn eventually<F: Future<Output = bool>>(&self, wish: &str, is_so: impl Fn() -> F) {
        let since = Instant::now();
        while !is_so().await {
            assert!(since.elapsed() < PATIENCE, "not {wish} after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "kubeflow")
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(component) = &self.component {
            component.abort();
        }
    }
}

/// Connections to an address of their own.
pub async fn connections() -> (String, BoxStream<'static, Connection>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = async_stream::stream! {
        while let Ok((stream, _)) = listener.accept().await {
            yield Connection { io: Box::new(stream), is_trusted: false };
        }
    };
    (url, connections.boxed())
}

pub async fn post(client: &Client, path: &str, object: &Value) {
    let request = http::Request::post(path)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(object).unwrap())
        .unwrap();
    client.request_text(request).await.unwrap();
}

pub fn task<'a>(run: &'a Value, name: &str) -> &'a Value {
    run["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|task| task["name"] == name)
        .unwrap_or_else(|| panic!("no task {name} in {run:#}"))
}
