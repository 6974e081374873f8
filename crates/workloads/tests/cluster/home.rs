//! A whole home for a test: API server on a temporary folder, controllers, one node, and a kubelet that only walks
//! pods through their phases.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running home.
pub struct Home {
    /// The administrator's client.
    pub client: Client,
    shutdown: CancellationToken,
    _folder: tempfile::TempDir,
    /// Where the local provisioner makes volumes.
    pub volumes: std::path::PathBuf,
}

impl Drop for Home {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Home {
    /// A home whose node has four CPUs, 8 GiB and no GPU.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A home with a changed configuration.
    pub async fn with(change: impl FnOnce(&mut workloads::Config)) -> Self {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        // Another test of this process may have set it already.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .try_init();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = apiserver::Config::at(folder.path());
        // An address for documentation: nobody connects to it, and the server refuses loopback there.
        config.advertise = ([192, 0, 2, 1], 7443).into();
        let server = apiserver::ApiServer::open(config)
            .await
            .expect("the server opens");
        let client = server.admin_client();
        let volumes = folder.path().join("volumes");
        let mut config = workloads::Config {
            gpu_fallback: false,
            memory_fallback: false,
            volumes_dir: Some(volumes.clone()),
            root_ca: Some("PEM".to_owned()),
        };
        change(&mut config);
        let shutdown = CancellationToken::new();
        let clients = {
            let clients: std::collections::HashMap<&str, Client> = workloads::IDENTITIES
                .iter()
                .map(|name| (*name, server.client(&server.token_for("kube-system", name))))
                .collect();
            move |name: &str| clients.get(name).expect("the identity is listed").clone()
        };
        tokio::spawn(workloads::run(clients, config, shutdown.clone()));
        add_node(&client).await;
        tokio::spawn(kubelet(client.clone(), shutdown.clone()));
        // Before its account is there, a namespace takes no pods.
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
        eventually(
            || async { accounts.get_opt("default").await.expect("it is answered") },
            Option::is_some,
        )
        .await;
        Self {
            client,
            shutdown,
            _folder: folder,
            volumes,
        }
    }

    /// The API of a namespaced kind in `default`.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates an object in `default`.
    pub async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + serde::Serialize,
        K::DynamicType: Default,
    {
        let object: K = serde_json::from_value(object).expect("a valid object");
        self.api::<K>()
            .create(&PostParams::default(), &object)
            .await
            .expect("it is created")
    }

    /// Changes an object in `default` by a merge patch.
    pub async fn patch<K>(&self, name: &str, patch: Value) -> K
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        self.api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .expect("it is changed")
    }

    /// Waits until the object of this name in `default` satisfies `is_so`.
    pub async fn until<K>(&self, name: &str, is_so: impl Fn(&K) -> bool) -> K
    where
        K: Resource<Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
        K::DynamicType: Default,
    {
        let found = self
            .until_any(&format!("metadata.name={name}"), is_so)
            .await;
        found.unwrap_or_else(|seen| panic!("{name} did not get there; last seen: {seen:#?}"))
    }

    async fn until_any<K>(&self, fields: &str, is_so: impl Fn(&K) -> bool) -> Result<K, Option<K>>
    where
        K: Resource<Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
        K::DynamicType: Default,
    {
        let config = watcher::Config::default().fields(fields);
        let mut objects = Box::pin(
            watcher(self.api::<K>(), config)
                .default_backoff()
                .applied_objects(),
        );
        let mut last = None;
        let search = async {
            while let Some(object) = objects.next().await {
                let Ok(object) = object else { continue };
                if is_so(&object) {
                    return Some(object);
                }
                last = Some(object);
            }
            None
        };
        match tokio::time::timeout(PATIENCE, search).await {
            Ok(Some(object)) => Ok(object),
            _ => Err(last),
        }
    }

    /// Waits until the objects of a kind in `default` satisfy `is_so`.
    pub async fn until_all<K>(&self, is_so: impl Fn(&[K]) -> bool) -> Vec<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        let api = self.api::<K>();
        let list = || async {
            api.list(&Default::default())
                .await
                .expect("the list is answered")
                .items
        };
        eventually(list, |objects| is_so(objects)).await
    }
}

/// Asks again until the answer satisfies `is_so`.
pub async fn eventually<T, F, R>(mut ask: F, is_so: impl Fn(&T) -> bool) -> T
where
    T: Debug,
    F: FnMut() -> R,
    R: Future<Output = T>,
{
    let start = tokio::time::Instant::now();
    loop {
        let answer = ask().await;
        if is_so(&answer) {
            return answer;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "it did not come about; last answer: {answer:#?}"
        );
        // Between two looks others have to get their turn.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn add_node(client: &Client) {
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "n1"}},
    }))
    .expect("a valid node");
    let nodes: Api<Node> = Api::all(client.clone());
    nodes
        .create(&PostParams::default(), &node)
        .await
        .expect("the node is created");
    let amounts = json!({"cpu": "4", "memory": "8Gi", "pods": "1000"});
    let status = json!({"status": {
        "capacity": amounts, "allocatable": amounts,
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": null}],
    }});
    nodes
        .patch_status("n1", &PatchParams::default(), &Patch::Merge(status))
        .await
        .expect("the node reports");
}

/// Runs what is bound: a pod named in its annotations to end does so, any other gets ready; deleted pods go.
async fn kubelet(client: Client, shutdown: CancellationToken) {
    let pods =
        watcher(Api::<Pod>::all(client.clone()), watcher::Config::default()).default_backoff();
    let mut pods = std::pin::pin!(
        pods.applied_objects()
            .take_until(shutdown.cancelled_owned())
    );
    let mut next_address = 0_u32;
    while let Some(pod) = pods.next().await {
        let Ok(pod) = pod else { continue };
        let is_bound = pod
            .spec
            .as_ref()
            .is_some_and(|spec| spec.node_name.is_some());
        if !is_bound {
            continue;
        }
        let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        if pod.metadata.deletion_timestamp.is_some() {
            let _ = api
                .delete(
                    &pod.name_any(),
                    &DeleteParams {
                        grace_period_seconds: Some(0),
                        ..Default::default()
                    },
                )
                .await;
            continue;
        }
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.clone())
            .unwrap_or_default();
        if phase != "Pending" {
            continue;
        }
        next_address += 1;
        let address = format!("10.1.{}.{}", next_address / 250, next_address % 250 + 1);
        let status = match pod.annotations().get("test/ends").map(String::as_str) {
            Some(phase) => {
                let code = i32::from(phase == "Failed");
                json!({"phase": phase, "containerStatuses": [{
                    "name": "main", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
                    "state": {"terminated": {"exitCode": code, "finishedAt": "2026-01-01T00:00:00Z"}},
                }]})
            }
            None => {
                let now = k8s_openapi::jiff::Timestamp::now();
                let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now);
                json!({"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": [
                    {"type": "Ready", "status": "True", "lastTransitionTime": now},
                ]})
            }
        };
        let _ = api
            .patch_status(
                &pod.name_any(),
                &PatchParams::default(),
                &Patch::Strategic(json!({"status": status})),
            )
            .await;
    }
}

/// A pod body of one container.
pub fn pod(name: &str, requests: Value) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "image": "x", "resources": {"requests": requests, "limits": requests}}]},
    })
}
