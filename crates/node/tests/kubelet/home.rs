//! A whole small platform for one test: API server, controllers and node over a temporary folder, in this process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use apiserver::authn::User;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{AttachParams, DeleteParams, ListParams, LogParams, PostParams};
use kube::{Api, Client};
use node::builtin::{HostListeners, Table};
use node::{Config, Dependencies, Node};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Names another copy of the program, where the built one cannot be read.
pub const PROGRAM_VARIABLE: &str = "FERROFLOW_KUBELET_TEST_PROGRAM";

/// The program that is executed again as holder and shim.
pub fn program() -> PathBuf {
    std::env::var_os(PROGRAM_VARIABLE).map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_node-shim-test")),
        PathBuf::from,
    )
}

/// Nothing that a test waits for takes longer, whatever else the machine does.
const LONGEST_WAIT: Duration = Duration::from_secs(180);

/// The platform.
pub struct Home {
    data: tempfile::TempDir,
    server: apiserver::ApiServer,
    node: Option<Node>,
    components: Table,
    stop: CancellationToken,
    pub client: Client,
}

impl Home {
    pub async fn start() -> Result<Self> {
        Self::with(Table::default()).await
    }

    /// A platform with components of its own.
    pub async fn with(components: Table) -> Result<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let data = tempfile::tempdir()?;
        let server = apiserver::ApiServer::open(apiserver::Config {
            // Where the pod network serves the API to pods.
            advertise: ([10, 1, 0, 1], 6443).into(),
            ..apiserver::Config::at(data.path().join("api"))
        })
        .await?;
        let stop = CancellationToken::new();
        let config = workloads::Config {
            gpu_fallback: false,
            memory_fallback: false,
            volumes_dir: Some(data.path().join("volumes")),
            root_ca: Some("a certificate".into()),
        };
        let controllers = server.clone();
        let clients = move |identity: &str| {
            controllers.client(&controllers.token_for("kube-system", identity))
        };
        tokio::spawn(workloads::run(clients, config, stop.clone()));
        let client = server.admin_client();
        let mut home = Self {
            data,
            server,
            node: None,
            components,
            stop,
            client,
        };
        let class = serde_json::to_vec(&workloads::default_storage_class())?;
        home.client
            .request::<Value>(
                http::Request::post("/apis/storage.k8s.io/v1/storageclasses").body(class)?,
            )
            .await?;
        home.start_node().await?;
        Ok(home)
    }

    pub async fn start_node(&mut self) -> Result<()> {
        let server = self.server.clone();
        let token = |user: User| server.client(&server.issue(user));
        let dependencies = Dependencies {
            client: token(User::node("here")),
            proxy_client: token(User::node("here")),
            client_factory: {
                let server = server.clone();
                std::sync::Arc::new(move |token: &str| server.client(token))
            },
            components: self.components.clone(),
            host_listeners: HostListeners::default(),
        };
        let mut config = Config::new("here", self.data.path(), program());
        // Packages come from a folder, so that no test needs the internet.
        let wheels = self.data.path().join("wheels");
        config.settings = vec![
            ("PIP_NO_INDEX".into(), "1".into()),
            ("PIP_FIND_LINKS".into(), wheels.display().to_string()),
        ];
        config.host_paths = vec![self.data.path().join("shared")];
        let node = Node::start(config, dependencies).await?;
        self.server.backend().register_kubelet(
            "here",
            tower::util::BoxCloneSyncService::new(Kubelet(node.http())),
        );
        self.node = Some(node);
        Ok(())
    }

    /// As if the server had been killed: nothing is told to anybody.
    pub async fn lose_node(&mut self) {
        drop(self.node.take().expect("a node").stop(false).await);
    }

    /// The node, while there is one.
    pub fn node(&self) -> &Node {
        self.node.as_ref().expect("a node")
    }

    /// The node's HTTP API, as a kube-apiserver asks it.
    pub fn kubelet(&self) -> axum::Router {
        self.node().http()
    }

    /// The same, and the holder killed with it.
    pub async fn lose_node_and_holder(&mut self) {
        let network = self
            .node
            .as_ref()
            .and_then(Node::network)
            .expect("a network");
        let holder = network.holder().clone();
        self.lose_node().await;
        let record = self.data.path().join("node/network/holder.json");
        let record: Value =
            serde_json::from_slice(&std::fs::read(record).expect("a record")).expect("JSON");
        let pid = i32::try_from(record["pid"].as_i64().expect("a number")).expect("a pid");
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGKILL,
        )
        .expect("killed");
        holder.ended().await.expect("ended");
    }

    /// Which network namespace is the node's.
    pub fn network_namespace(&self) -> PathBuf {
        let network = self
            .node
            .as_ref()
            .and_then(Node::network)
            .expect("a network");
        std::fs::read_link(network.holder().namespace_paths().1).expect("a namespace")
    }

    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Stops the node in order, as `kfctl down` does, without ending the test.
    pub async fn drain_node(&mut self) -> Result<()> {
        let node = self.node.take().expect("a node");
        node.drain().await;
        Ok(node.stop(false).await?)
    }

    /// Ends everything, the holder included.
    pub async fn end(mut self) -> Result<()> {
        if let Some(node) = self.node.take() {
            node.drain().await;
            node.stop(true).await?;
        }
        self.stop.cancel();
        self.server.close().await;
        Ok(())
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates an object of any kind in namespace `default`.
    pub async fn create(&self, object: Value) -> Result<()> {
        let path = match object["kind"].as_str() {
            Some("ConfigMap") => "configmaps",
            Some("Secret") => "secrets",
            Some("PersistentVolumeClaim") => "persistentvolumeclaims",
            Some("Service") => "services",
            other => bail!("no path for {other:?}"),
        };
        let request = http::Request::post(format!("/api/v1/namespaces/default/{path}"))
            .body(serde_json::to_vec(&object)?)?;
        self.client.request::<Value>(request).await?;
        Ok(())
    }

    /// Creates a pod called `name`, bound to the node by the scheduler.
    pub async fn run(&self, name: &str, spec: Value) -> Result<()> {
        self.run_labelled(name, json!({}), spec).await
    }

    /// The same with labels.
    pub async fn run_labelled(&self, name: &str, labels: Value, spec: Value) -> Result<()> {
        let metadata = json!({"name": name, "labels": labels});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        let pod: Pod = serde_json::from_value(pod)?;
        let deadline = tokio::time::Instant::now() + LONGEST_WAIT;
        // The first pod may come before its namespace has an account.
        while tokio::time::Instant::now() < deadline {
            match self.pods().create(&PostParams::default(), &pod).await {
                Err(kube::Error::Api(status)) if status.message.contains("serviceaccount") => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                other => return other.map(drop).context("create a pod"),
            }
        }
        bail!("namespace default got no account")
    }

    /// Creates a namespace.
    pub async fn namespace(&self, name: &str) -> Result<()> {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        let request =
            http::Request::post("/api/v1/namespaces").body(serde_json::to_vec(&object)?)?;
        self.client.request::<Value>(request).await?;
        Ok(())
    }

    /// A client of the one identity whose Deployments may run as tasks.
    pub fn installer(&self) -> Client {
        self.server.client(&self.server.issue(User::installer()))
    }

    /// Waits until the pod is as wanted.
    pub async fn until(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = tokio::time::Instant::now() + LONGEST_WAIT;
        let mut last = Value::Null;
        while tokio::time::Instant::now() < deadline {
            last = serde_json::to_value(self.pods().get(name).await?)?;
            if wanted(&last) {
                return Ok(last);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let events = self.events(name).await?;
        bail!(
            "pod {name} never was {what}; status: {:#}; events: {events:#?}",
            last["status"]
        )
    }

    pub async fn until_phase(&self, name: &str, phase: &str) -> Result<Value> {
        self.until(name, phase, |pod| pod["status"]["phase"] == phase)
            .await
    }

    /// Waits until a node that was started again has found the pod.
    pub async fn until_known(&self, name: &str) -> Result<()> {
        let deadline = tokio::time::Instant::now() + LONGEST_WAIT;
        let router = self.node.as_ref().expect("a node").http();
        while tokio::time::Instant::now() < deadline {
            let request = http::Request::get("/pods").body(axum::body::Body::empty())?;
            let answer = tower::ServiceExt::oneshot(router.clone(), request).await?;
            let body = http_body_util::BodyExt::collect(answer.into_body())
                .await?
                .to_bytes();
            let pods: Value = serde_json::from_slice(&body)?;
            if pods["items"]
                .as_array()
                .is_some_and(|all| all.iter().any(|pod| pod["metadata"]["name"] == name))
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        bail!("the node does not know pod {name}")
    }

    pub async fn until_gone(&self, name: &str) -> Result<()> {
        let deadline = tokio::time::Instant::now() + LONGEST_WAIT;
        while tokio::time::Instant::now() < deadline {
            if self.pods().get_opt(name).await?.is_none() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        bail!("pod {name} is still there")
    }

    pub async fn delete(&self, name: &str, grace_s: u32) -> Result<()> {
        let parameters = DeleteParams {
            grace_period_seconds: Some(grace_s),
            ..DeleteParams::default()
        };
        self.pods().delete(name, &parameters).await?;
        Ok(())
    }

    pub async fn log(&self, name: &str) -> Result<String> {
        Ok(self.pods().logs(name, &LogParams::default()).await?)
    }

    /// Runs a command in a pod through the API; what it printed, and the status it ended with.
    pub async fn exec(&self, name: &str, command: &[&str]) -> Result<(String, String)> {
        let parameters = AttachParams::default().stderr(false);
        let mut running = self
            .pods()
            .exec(name, command.iter().copied(), &parameters)
            .await?;
        let ended = running.take_status().context("no status")?;
        let mut printed = String::new();
        let mut stdout = running.stdout().context("no output")?;
        tokio::io::AsyncReadExt::read_to_string(&mut stdout, &mut printed).await?;
        let status = ended
            .await
            .context("the connection ended without a status")?;
        let causes = status
            .details
            .into_iter()
            .flat_map(|details| details.causes.into_iter().flatten());
        let code = causes.into_iter().find_map(|cause| cause.message);
        Ok((printed, code.or(status.status).unwrap_or_default()))
    }

    /// Reasons and messages of what was said about a pod.
    pub async fn events(&self, name: &str) -> Result<Vec<(String, String)>> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let list = events
            .list(&ListParams::default().fields(&format!("involvedObject.name={name}")))
            .await?;
        Ok(list
            .items
            .into_iter()
            .map(|e| (e.reason.unwrap_or_default(), e.message.unwrap_or_default()))
            .collect())
    }

    /// The folder of a pod's files.
    pub fn folder(&self, pod: &Value) -> PathBuf {
        let text = |field: &str| {
            pod["metadata"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        self.data().join("pods").join(format!(
            "{}_{}_{}",
            text("namespace"),
            text("name"),
            text("uid")
        ))
    }
}

/// A test that failed half-way leaves holder and shims behind, each with our folder among its arguments.
impl Drop for Home {
    fn drop(&mut self) {
        let folder = self.data.path().as_os_str().as_encoded_bytes().to_vec();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let is_ours = arguments
                .split(|byte| *byte == 0)
                .skip(1)
                .any(|argument| argument.starts_with(&folder));
            if is_ours {
                let pid = nix::unistd::Pid::from_raw(pid);
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

/// The router as the service that an API server in this process asks.
#[derive(Clone)]
struct Kubelet(axum::Router);

impl tower::Service<http::Request<axum::body::Body>> for Kubelet {
    type Response = http::Response<axum::body::Body>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<axum::body::Body>) -> Self::Future {
        let router = self.0.clone();
        Box::pin(async move { Ok(tower::ServiceExt::oneshot(router, request).await?) })
    }
}

/// A container that runs a shell script.
pub fn shell(script: &str) -> Value {
    json!({"name": "main", "image": "busybox", "command": ["sh", "-c", script]})
}

/// A pod that runs one shell script once.
pub fn once(script: &str) -> Value {
    json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [shell(script)]})
}
