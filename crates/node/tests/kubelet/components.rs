//! Our own components: pods that run as tasks of this process.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, ListParams, LogParams, PostParams};
use node::builtin::{Failure, LogLayer, PodContext, Table};
use serde_json::{Value, json};
use tracing_subscriber::prelude::*;

use crate::home::Home;

pub const NAMESPACE: &str = "kubeflow";

/// Answers on port 8888, says so in its log, and counts its pods with its own identity.
async fn greeter(pod: PodContext) -> Result<(), Failure> {
    tracing::info!(args = ?pod.args, "greeter of {}", pod.name);
    if pod.env("CRASH").is_some() {
        panic!("told to");
    }
    let router = axum::Router::new().route("/healthz", axum::routing::get(|| async { "ok" }));
    Ok(pod.serve(8888, router).await?)
}

pub async fn deploy(home: &Home, name: &str, env: Value) -> Result<()> {
    let labels = json!({"app": name});
    let container = json!({
        "name": "main", "image": "ferroflow/kfctl:0.1.0", "args": ["greet", "--loud"], "env": env,
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8888}},
    });
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": {"ferroflow.io/built-in": "true"}},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }))?;
    let installer = home.installer();
    Api::<Deployment>::namespaced(installer, NAMESPACE)
        .create(&PostParams::default(), &deployment)
        .await?;
    Ok(())
}

pub async fn until(
    home: &Home,
    app: &str,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let pods: Api<Pod> = Api::namespaced(home.client.clone(), NAMESPACE);
    let mut last = Value::Null;
    for _ in 0..3000 {
        for pod in pods
            .list(&ListParams::default().labels(&format!("app={app}")))
            .await?
            .items
        {
            last = serde_json::to_value(pod)?;
            if wanted(&last) {
                return Ok(last);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("no pod of {app} was {what}: {last:#}")
}

pub fn is_ready(pod: &Value) -> bool {
    pod["status"]["containerStatuses"][0]["ready"] == true
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_is_a_pod_with_its_own_log_readiness_and_restarts() -> Result<()> {
    let _ = tracing_subscriber::registry().with(LogLayer).try_init();
    let mut home = Home::with(Table::default().with("greet", greeter)).await?;
    home.namespace(NAMESPACE).await?;
    deploy(&home, "greeter", json!([])).await?;
    let pod = until(&home, "greeter", "ready", is_ready).await?;
    assert_eq!(
        pod["metadata"]["annotations"]["ferroflow.io/built-in"], "true",
        "{pod:#}"
    );
    let name = pod["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let pods: Api<Pod> = Api::namespaced(home.client.clone(), NAMESPACE);
    let log = pods.logs(&name, &LogParams::default()).await?;
    assert!(
        log.contains(&format!("greeter of {name} args=[\"--loud\"]")),
        "{log}"
    );

    // The node comes back: the same pod runs again, and nobody waits for a back-off.
    home.lose_node().await;
    home.start_node().await?;
    let again = until(&home, "greeter", "ready again", |pod| {
        pod["status"]["containerStatuses"][0]["restartCount"] == 1 && is_ready(pod)
    })
    .await?;
    assert_eq!(again["metadata"]["name"], pod["metadata"]["name"]);

    pods.delete(&name, &DeleteParams::default()).await?;
    until(&home, "greeter", "replaced", |pod| {
        pod["metadata"]["name"] != name.as_str() && is_ready(pod)
    })
    .await?;
    home.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_the_exit_of_a_container_and_nothing_more() -> Result<()> {
    let home = Home::with(Table::default().with("greet", greeter)).await?;
    home.namespace(NAMESPACE).await?;
    deploy(&home, "crasher", json!([{"name": "CRASH", "value": "1"}])).await?;
    let pod = until(&home, "crasher", "restarted", |pod| {
        pod["status"]["containerStatuses"][0]["restartCount"].as_u64() > Some(0)
    })
    .await?;
    let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!(
        (&last["exitCode"], &last["message"]),
        (&json!(101), &json!("panicked: told to"))
    );
    deploy(&home, "greeter", json!([])).await?;
    until(&home, "greeter", "ready", is_ready).await?;
    home.end().await
}
