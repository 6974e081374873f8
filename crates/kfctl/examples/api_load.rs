//! How much an API server takes from one client over TLS: `KUBECONFIG=… api_load [SECONDS]` prints one figure a line.
//! The same program asks the embedded Kubernetes and a real one for `cargo xtask bench homes`; it judges nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use http::{Method, Request};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, PostParams};
use kube::client::Body;
use kube::{Api, Client};
use serde_json::{Value, json};

/// Tasks that send one request after the other.
const WORKERS: usize = 32;
/// Connections that they share: a client of kube-rs keeps its own pool.
const CLIENTS: usize = 4;
/// Streams that hear of every change.
const WATCHERS: usize = 100;
const NAMESPACE: &str = "api-load";
const BASE: &str = "/api/v1/namespaces/api-load/configmaps";

/// One request: method, path, media type, body.
type Asked = (Method, String, &'static str, String);

#[tokio::main]
async fn main() -> Result<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(5), |text| text.parse())?;
    let limit = Duration::from_secs(seconds);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        clients.push(
            Client::try_default()
                .await
                .context("read the kubeconfig that KUBECONFIG names")?,
        );
    }
    let namespaces: Api<Namespace> = Api::all(clients[0].clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .context("create the namespace api-load")?;
    let measured = measure(&clients, limit).await;
    namespaces
        .delete(NAMESPACE, &DeleteParams::default())
        .await?;
    measured
}

async fn measure(clients: &[Client], limit: Duration) -> Result<()> {
    let created = rate(clients, limit, |worker, round| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("c{worker}-{round}"), "labels": {"app": "load"}},
            "data": {"text": "x".repeat(300)}});
        (
            Method::POST,
            BASE.to_owned(),
            "application/json",
            object.to_string(),
        )
    })
    .await?;
    println!("create {created:.0}");
    let got = rate(clients, limit, |worker, _| {
        (
            Method::GET,
            format!("{BASE}/c{worker}-0"),
            "",
            String::new(),
        )
    })
    .await?;
    println!("get {got:.0}");
    let patched = rate(clients, limit, patch).await?;
    println!("patch {patched:.0}");
    let applied = rate(clients, limit, |worker, round| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("a{worker}")}, "data": {"round": round.to_string()}});
        let path = format!("{BASE}/a{worker}?fieldManager=load&force=true");
        (
            Method::PATCH,
            path,
            "application/apply-patch+yaml",
            object.to_string(),
        )
    })
    .await?;
    println!("apply {applied:.0}");
    let listed = rate(clients, limit, |_, _| {
        (Method::GET, format!("{BASE}?limit=500"), "", String::new())
    })
    .await?;
    println!("list {listed:.0}");
    println!("watch {:.0}", watch(clients, limit).await?);
    Ok(())
}

fn patch(worker: usize, round: u64) -> Asked {
    let body = json!({"data": {"round": round.to_string()}});
    (
        Method::PATCH,
        format!("{BASE}/c{worker}-0"),
        "application/merge-patch+json",
        body.to_string(),
    )
}

/// Requests a second of [`WORKERS`] tasks, each of which reads every answer to its end.
async fn rate(
    clients: &[Client],
    limit: Duration,
    asked: impl Fn(usize, u64) -> Asked + Send + Sync + 'static,
) -> Result<f64> {
    let asked = Arc::new(asked);
    let begun = Instant::now();
    let mut running = Vec::new();
    for worker in 0..WORKERS {
        let (client, asked) = (clients[worker % clients.len()].clone(), asked.clone());
        running.push(tokio::spawn(async move {
            let mut round = 0;
            while begun.elapsed() < limit {
                send(&client, asked(worker, round))
                    .await?
                    .collect()
                    .await
                    .map_err(|error| anyhow::anyhow!("read an answer: {error}"))?;
                round += 1;
            }
            anyhow::Ok(round)
        }));
    }
    let mut total = 0;
    for task in running {
        total += task.await??;
    }
    Ok(total as f64 / begun.elapsed().as_secs_f64())
}

/// Events a second that all watchers together were sent, while [`WORKERS`] tasks write.
async fn watch(clients: &[Client], limit: Duration) -> Result<f64> {
    let list = (Method::GET, format!("{BASE}?limit=1"), "", String::new());
    let answer = send(&clients[0], list).await?.collect().await;
    let answer = answer.map_err(|error| anyhow::anyhow!("read a list: {error}"))?;
    let answer: Value = serde_json::from_slice(&answer.to_bytes())?;
    let revision = answer["metadata"]["resourceVersion"]
        .as_str()
        .context("a list has a revision")?;
    let seen = Arc::new(AtomicU64::new(0));
    let mut watchers = Vec::new();
    for number in 0..WATCHERS {
        let path = format!("{BASE}?watch=1&resourceVersion={revision}");
        let asked = (Method::GET, path, "", String::new());
        let body = send(&clients[number % clients.len()], asked).await?;
        let seen = seen.clone();
        watchers.push(tokio::spawn(async move {
            let mut chunks = body.into_data_stream().into_stream();
            while let Some(Ok(chunk)) = chunks.next().await {
                let lines = chunk.iter().filter(|byte| **byte == b'\n').count();
                seen.fetch_add(lines as u64, Ordering::Relaxed);
            }
        }));
    }
    let begun = Instant::now();
    rate(clients, limit, patch).await?;
    // Only what came while there was more to come: the rest would flatter a server that is far behind.
    let events = seen.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    for watcher in watchers {
        watcher.abort();
    }
    Ok(events)
}

/// Sends one request; anything but success is an error with the server's words.
async fn send(client: &Client, (method, path, media, body): Asked) -> Result<Body> {
    let mut request = Request::builder().method(method).uri(&path);
    if !media.is_empty() {
        request = request.header("content-type", media);
    }
    let response = client
        .send(request.body(Body::from(body.into_bytes()))?)
        .await?;
    ensure!(
        response.status().is_success(),
        "{path} answered {}",
        response.status()
    );
    Ok(response.into_body())
}
