//! The pipelines API as any client sees it, reached through the API server's service proxy, so that the
//! same command works on this machine and against a cluster.

use anyhow::{Context, Result, anyhow, bail};
use futures::AsyncBufRead;
use http::{HeaderValue, Request, request};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::{Cluster, refusal};

/// Where the pipelines API answers behind any Kubernetes API.
const PREFIX: &str = "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy/apis/v2beta1";

/// Who calls a cluster's pipelines API: its API server's proxy passes no credentials on, so a token goes beside them.
const ACCOUNT: (&str, &str) = ("kubeflow", "pipeline-runner");
/// How long one command may take, in seconds.
const TOKEN_LIFE: i64 = 12 * 3600;

/// A client of the pipelines API.
#[derive(Clone)]
pub struct Kfp {
    client: kube::Client,
    token: Option<HeaderValue>,
}

/// One run, as far as the command line shows it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Run {
    /// Its id.
    pub run_id: String,
    /// Its name.
    pub display_name: String,
    /// The experiment it belongs to.
    pub experiment_id: String,
    /// PENDING, RUNNING, SUCCEEDED, FAILED, …
    pub state: String,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; the epoch while it runs.
    pub finished_at: String,
    /// Why it failed.
    pub error: Option<RunError>,
    /// Its steps, in the full view.
    pub tasks: Vec<Task>,
}

/// Why a run failed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RunError {
    /// In words.
    pub message: String,
}

/// One step, condition, loop or nested pipeline.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Task {
    /// Its id.
    pub task_id: String,
    /// Key in its pipeline.
    pub name: String,
    /// As the author named it.
    pub display_name: String,
    /// RUNNING, SUCCEEDED, CACHED, …
    pub state: String,
    /// ROOT, RUNTIME, LOOP, …
    pub r#type: String,
    /// The task it belongs to.
    pub parent_task_id: String,
    /// RFC 3339.
    pub start_time: String,
    /// RFC 3339; the epoch while it runs.
    pub end_time: String,
    /// Why it is in this state.
    pub status_metadata: StatusMetadata,
}

/// Why a step is in its state.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StatusMetadata {
    /// In words.
    pub message: String,
}

impl Run {
    /// Whether nothing more will happen.
    pub fn is_finished(&self) -> bool {
        matches!(
            self.state.as_str(),
            "SUCCEEDED" | "FAILED" | "SKIPPED" | "CANCELED"
        )
    }

    /// Steps that are containers.
    pub fn steps(&self) -> impl Iterator<Item = &Task> {
        self.tasks.iter().filter(|task| task.r#type == "RUNTIME")
    }
}

impl Kfp {
    /// A client over `client`.
    pub fn new(client: kube::Client) -> Self {
        Self {
            client,
            token: None,
        }
    }

    /// A client of what is installed on a cluster, with a token that the caller must be allowed to make.
    pub async fn on_cluster(cluster: &Cluster) -> Result<Self> {
        let (namespace, account) = ACCOUNT;
        let wanted = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![pipelines::api::AUDIENCE.to_owned()],
                expiration_seconds: Some(TOKEN_LIFE),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let accounts = kube::Api::<ServiceAccount>::namespaced(cluster.client.clone(), namespace);
        let made = accounts
            .create_token_request(account, &PostParams::default(), &wanted)
            .await
            .map_err(|error| match &error {
                kube::Error::Api(status) if status.code == 404 => anyhow!(
                    "no Pipelines is installed in the cluster of the context {}; install it with: kfctl apply -f kfdef_k8s_istio.v1.7.0.yaml --context {}",
                    cluster.context,
                    cluster.context
                ),
                kube::Error::Api(status) if status.code == 403 => anyhow!(
                    "you may not act as {namespace}/{account} in the cluster of the context {}: ask for the right to create serviceaccounts/token there",
                    cluster.context
                ),
                _ => refusal(cluster, &error),
            })?;
        let token = made.status.map(|status| status.token).unwrap_or_default();
        let mut token = HeaderValue::from_str(&token).context("read the token")?;
        token.set_sensitive(true);
        Ok(Self {
            client: cluster.client.clone(),
            token: Some(token),
        })
    }

    fn request(&self, method: &str, path: &str) -> request::Builder {
        let request = Request::builder()
            .method(method)
            .uri(format!("{PREFIX}{path}"));
        match &self.token {
            Some(token) => request.header(pipelines::api::TOKEN_HEADER, token),
            None => request,
        }
    }

    /// Submits `run`.
    pub async fn create_run(&self, run: &Value) -> Result<Run> {
        self.call("POST", "/runs", Some(run))
            .await
            .context("submit the run")
    }

    /// One run with its steps.
    pub async fn run(&self, id: &str) -> Result<Run> {
        self.call("GET", &format!("/runs/{id}?view=FULL"), None)
            .await
    }

    /// Ends a run; its steps' pods are stopped.
    pub async fn terminate(&self, id: &str) -> Result<()> {
        let _: Value = self
            .call("POST", &format!("/runs/{id}:terminate"), None)
            .await
            .context("end the run")?;
        Ok(())
    }

    /// The newest runs.
    pub async fn runs(&self, limit: u16) -> Result<Vec<Run>> {
        #[derive(Deserialize)]
        struct List {
            #[serde(default)]
            runs: Vec<Run>,
        }
        let list: List = self
            .call(
                "GET",
                &format!("/runs?page_size={limit}&sort_by=created_at%20desc"),
                None,
            )
            .await?;
        Ok(list.runs)
    }

    /// The run of this id or name; `last` is the newest.
    pub async fn find(&self, wanted: &str) -> Result<Run> {
        if wanted.len() == 36 && wanted.bytes().filter(|byte| *byte == b'-').count() == 4 {
            return self.run(wanted).await;
        }
        let runs = self.runs(200).await?;
        let found = if wanted == "last" {
            runs.into_iter().next()
        } else {
            runs.into_iter()
                .find(|run| run.display_name == wanted || run.run_id.starts_with(wanted))
        };
        match found {
            Some(run) => self.run(&run.run_id).await,
            None if wanted == "last" => {
                bail!("no run yet; start one with: kfctl run FILE.py --follow")
            }
            None => bail!("no run is called {wanted:?}; kfctl runs lists them"),
        }
    }

    /// The id of the experiment of this name, made where it does not exist.
    pub async fn experiment(&self, name: &str) -> Result<String> {
        #[derive(Deserialize)]
        struct Experiment {
            experiment_id: String,
            #[serde(default)]
            display_name: String,
        }
        #[derive(Deserialize)]
        struct List {
            #[serde(default)]
            experiments: Vec<Experiment>,
        }
        let list: List = self.call("GET", "/experiments?page_size=200", None).await?;
        if let Some(found) = list
            .experiments
            .into_iter()
            .find(|experiment| experiment.display_name == name)
        {
            return Ok(found.experiment_id);
        }
        let body = serde_json::json!({ "display_name": name });
        let made: Experiment = self.call("POST", "/experiments", Some(&body)).await?;
        Ok(made.experiment_id)
    }

    /// Server-sent events of a run, a `data:` line each.
    pub async fn watch_run(&self, id: &str) -> Result<impl AsyncBufRead + use<>> {
        self.stream(&format!("/runs/{id}:watch")).await
    }

    /// A step's log.
    pub async fn log(
        &self,
        run: &str,
        task: &str,
        follow: bool,
    ) -> Result<impl AsyncBufRead + use<>> {
        self.stream(&format!("/runs/{run}/tasks/{task}/log?follow={follow}"))
            .await
    }

    async fn stream(&self, path: &str) -> Result<impl AsyncBufRead + use<>> {
        let request = self
            .request("GET", path)
            .body(Vec::new())
            .context("form the request")?;
        self.client.request_stream(request).await.map_err(explain)
    }

    async fn call<T: serde::de::DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T> {
        let bytes = body
            .map(serde_json::to_vec)
            .transpose()?
            .unwrap_or_default();
        let request = self
            .request(method, path)
            .header("content-type", "application/json")
            .body(bytes)
            .context("form the request")?;
        let text = self.client.request_text(request).await.map_err(explain)?;
        serde_json::from_str(&text).with_context(|| format!("read the answer to {method} {path}"))
    }
}

/// The pipelines API answers errors in its own form, which the Kubernetes client passes on as text.
fn explain(error: kube::Error) -> anyhow::Error {
    #[derive(Deserialize)]
    struct Answer {
        message: Option<String>,
        error_message: Option<String>,
    }
    if let kube::Error::Api(status) = &error {
        if let Ok(answer) = serde_json::from_str::<Answer>(&status.message)
            && let Some(message) = answer.message.or(answer.error_message)
        {
            return anyhow::anyhow!(message);
        }
        return anyhow::anyhow!(status.message.clone());
    }
    error.into()
}
