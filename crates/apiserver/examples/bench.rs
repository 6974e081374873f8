//! How fast the API is in process: `bench [SECONDS]` prints writes, reads, lists and watch events per second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use apiserver::{ApiServer, Config};
use axum::body::Body;
use futures::StreamExt;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;

const WRITERS: usize = 64;
const WATCHERS: usize = 1_000;
const BASE: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let seconds = std::env::args().nth(1).map_or(Ok(5), |text| text.parse())?;
    let limit = Duration::from_secs(seconds);
    let folder = tempfile::tempdir()?;
    let begun = Instant::now();
    let server = ApiServer::open(Config::at(folder.path())).await?;
    println!(
        "first start           {:>9.1} ms",
        begun.elapsed().as_secs_f64() * 1e3
    );

    let created = many(&server, limit, WRITERS, |n, round| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": format!("c{n}-{round}"), "labels": {"app": "bench"}},
            "data": {"text": "x".repeat(300)}});
        (
            Method::POST,
            BASE.to_owned(),
            "application/json",
            object.to_string(),
        )
    })
    .await;
    println!("creates               {created:>9.0} /s");
    let patched = many(&server, limit, WRITERS, |n, round| {
        let patch = json!({"data": {"round": round.to_string()}});
        (
            Method::PATCH,
            format!("{BASE}/c{n}-0"),
            "application/merge-patch+json",
            patch.to_string(),
        )
    })
    .await;
    println!("merge patches         {patched:>9.0} /s");
    let applied = many(&server, limit, WRITERS, |n, round| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("a{n}")},
            "data": {"round": round.to_string()}});
        let path = format!("{BASE}/a{n}?fieldManager=bench&force=true");
        (Method::PATCH, path, "application/apply-patch+yaml", object.to_string())
    })
    .await;
    println!("applies               {applied:>9.0} /s");
    let read = many(&server, limit, 8, |n, _| {
        (Method::GET, format!("{BASE}/c{n}-0"), "", String::new())
    })
    .await;
    println!("gets                  {read:>9.0} /s");
    let small = "/api/v1/namespaces/kube-system/configmaps";
    let listed = many(&server, limit, 8, |_, _| {
        (Method::GET, small.to_owned(), "", String::new())
    })
    .await;
    println!("small lists           {listed:>9.0} /s");
    let paged = many(&server, limit, 8, |_, _| {
        (Method::GET, format!("{BASE}?limit=500"), "", String::new())
    })
    .await;
    println!("pages of 500          {paged:>9.0} /s");

    let seen = Arc::new(AtomicU64::new(0));
    let revision = server_revision(&server).await?;
    for _ in 0..WATCHERS {
        let path = format!("{BASE}?watch=1&resourceVersion={revision}");
        let response = send(&server, Method::GET, &path, "", String::new()).await;
        let seen = seen.clone();
        tokio::spawn(async move {
            let mut body = response.into_body().into_data_stream();
            while let Some(Ok(chunk)) = body.next().await {
                let lines = chunk.iter().filter(|byte| **byte == b'\n').count();
                seen.fetch_add(lines as u64, Ordering::Relaxed);
            }
        });
    }
    let begun = Instant::now();
    let rate = many(&server, limit, 4, |n, round| {
        let patch = json!({"data": {"watched": round.to_string()}});
        (
            Method::PATCH,
            format!("{BASE}/c{n}-0"),
            "application/merge-patch+json",
            patch.to_string(),
        )
    })
    .await;
    let wanted = (rate * begun.elapsed().as_secs_f64()).round() as u64 * WATCHERS as u64;
    while seen.load(Ordering::Relaxed) * 1000 < wanted * 999 && begun.elapsed() < limit * 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = begun.elapsed().as_secs_f64();
    let seen = seen.load(Ordering::Relaxed);
    println!(
        "to {WATCHERS} watchers      {:>9.0} events/s ({rate:.0} writes/s, {seen} seen)",
        seen as f64 / took
    );
    println!("resident              {:>9.1} MB", resident_mb());
    let path = format!("{BASE}?limit=1");
    let response = send(&server, Method::GET, &path, "", String::new()).await;
    let body: serde_json::Value =
        serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?;
    let held = body["metadata"]["remainingItemCount"].as_u64().unwrap_or(0) + 1;
    let begun = Instant::now();
    let response = send(
        &server,
        Method::GET,
        &format!("{BASE}?labelSelector=app%3Dnone"),
        "",
        String::new(),
    )
    .await;
    drop(response);
    println!(
        "first selector list   {:>9.1} ms among {held}",
        begun.elapsed().as_secs_f64() * 1e3
    );
    server.close().await;
    drop(server);
    let begun = Instant::now();
    let server = ApiServer::open(Config::at(folder.path())).await?;
    println!(
        "second start          {:>9.1} ms with {held} objects",
        begun.elapsed().as_secs_f64() * 1e3
    );
    server.close().await;
    Ok(())
}

/// Requests per second of `tasks` tasks that each send one after the other.
async fn many(
    server: &ApiServer,
    limit: Duration,
    tasks: usize,
    request: impl Fn(usize, u64) -> (Method, String, &'static str, String) + Send + Sync + 'static,
) -> f64 {
    let request = Arc::new(request);
    let begun = Instant::now();
    let running: Vec<_> = (0..tasks)
        .map(|n| {
            let (server, request) = (server.clone(), request.clone());
            tokio::spawn(async move {
                let mut round = 0;
                while begun.elapsed() < limit {
                    let (method, path, media, body) = request(n, round);
                    let response = send(&server, method, &path, media, body).await;
                    assert!(
                        response.status().is_success(),
                        "{path}: {}",
                        response.status()
                    );
                    let _ = response.into_body().collect().await;
                    round += 1;
                }
                round
            })
        })
        .collect();
    let mut total = 0;
    for task in running {
        total += task.await.unwrap_or(0);
    }
    total as f64 / begun.elapsed().as_secs_f64()
}

async fn send(
    server: &ApiServer,
    method: Method,
    path: &str,
    media: &str,
    body: String,
) -> http::Response<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("user-agent", "bench/1")
        .header("authorization", format!("Bearer {}", server.admin_token()));
    if !media.is_empty() {
        request = request.header("content-type", media);
    }
    let request = request
        .body(Body::from(body))
        .expect("the request above is well formed");
    server
        .service()
        .oneshot(request)
        .await
        .unwrap_or_else(|never| match never {})
}

async fn server_revision(server: &ApiServer) -> anyhow::Result<String> {
    let response = send(
        server,
        Method::GET,
        &format!("{BASE}?limit=1"),
        "",
        String::new(),
    )
    .await;
    let body: serde_json::Value =
        serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?;
    Ok(body["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1024.0
}
