//! `/stats/summary` and `/metrics/resource`: what the node's containers use.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Json;
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::Server;
use crate::kubelet::Known;
use crate::shim::ContainerUsage;

async fn usage(server: &Server) -> Vec<(Known, Vec<ContainerUsage>)> {
    let asked = server.pods.all().into_iter().map(|known| async move {
        let usage = match &known.shim {
            // A pod that ends while it is asked uses nothing.
            Some(shim) => shim.usage().await.unwrap_or_default(),
            None => Vec::new(),
        };
        (known, usage)
    });
    let mut all = futures::future::join_all(asked).await;
    all.sort_by_key(|(known, _)| (known.pod.namespace(), known.pod.name_any()));
    all
}

pub(super) async fn summary(State(server): State<Arc<Server>>) -> Json<Value> {
    let now = Timestamp::now().to_string();
    let pods = usage(&server).await;
    let total = |of: fn(&ContainerUsage) -> u64| -> u64 {
        pods.iter().flat_map(|(_, usage)| usage).map(of).sum()
    };
    let node = json!({
        "nodeName": server.identity.name,
        "cpu": {"time": now, "usageCoreNanoSeconds": total(|usage| usage.cpu_nanos)},
        "memory": {"time": now, "workingSetBytes": total(|usage| usage.memory_bytes)},
    });
    let pods: Vec<Value> = pods
        .iter()
        .map(|(known, usage)| {
            let containers: Vec<Value> = usage
                .iter()
                .map(|container| {
                    json!({
                        "name": container.name,
                        "cpu": {"time": now, "usageCoreNanoSeconds": container.cpu_nanos},
                        "memory": {"time": now, "usageBytes": container.memory_bytes, "workingSetBytes": container.memory_bytes},
                    })
                })
                .collect();
            let sum = |of: fn(&ContainerUsage) -> u64| -> u64 { usage.iter().map(of).sum() };
            json!({
                "podRef": {"name": known.pod.name_any(), "namespace": known.pod.namespace(), "uid": known.pod.uid()},
                "startTime": known.pod.status.as_ref().and_then(|status| status.start_time.clone()),
                "containers": containers,
                "cpu": {"time": now, "usageCoreNanoSeconds": sum(|usage| usage.cpu_nanos)},
                "memory": {"time": now, "workingSetBytes": sum(|usage| usage.memory_bytes)},
                "process_stats": {"process_count": sum(|usage| usage.processes)},
            })
        })
        .collect();
    Json(json!({"node": node, "pods": pods}))
}

pub(super) async fn resource_metrics(State(server): State<Arc<Server>>) -> String {
    let pods = usage(&server).await;
    let mut text = String::new();
    let mut metric =
        |name: &str, kind: &str, help: &str, of: &dyn Fn(&ContainerUsage) -> String| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (known, usage) in &pods {
                for container in usage {
                    let _ = writeln!(
                        text,
                        "{name}{{container=\"{}\",namespace=\"{}\",pod=\"{}\"}} {}",
                        container.name,
                        known.pod.namespace().unwrap_or_default(),
                        known.pod.name_any(),
                        of(container)
                    );
                }
            }
        };
    metric(
        "container_cpu_usage_seconds_total",
        "counter",
        "Processor time used by the container in seconds",
        &|usage| format!("{}", usage.cpu_nanos as f64 / 1e9),
    );
    metric(
        "container_memory_working_set_bytes",
        "gauge",
        "Memory in use by the container in bytes",
        &|usage| usage.memory_bytes.to_string(),
    );
    text
}
