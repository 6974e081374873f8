//! The kubelet's HTTP API: how the API server reaches the pods of this node. Who may ask is decided before: in process
//! only the API server holds this service, on a port `guard` asks the API about each caller.

mod logs;
mod stats;

mod port_forward;
mod remote;

mod channels;
mod process;
mod query;
mod streams;
mod upgrade;
mod websocket;

mod guard;
mod secure;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{any, get};
use serde_json::{Value, json};

use crate::kubelet::{Identity, Known, PodIndex};
use crate::net::NodeNetwork;

pub use guard::Guard;
pub use secure::{Error, Keys, serve};

/// What the HTTP API answers from.
#[derive(Debug, Clone)]
pub struct Server {
    /// The pods of this node.
    pub pods: PodIndex,
    /// The node.
    pub identity: Identity,
    /// The pod network, if there is one.
    pub network: Option<NodeNetwork>,
}

/// A refusal in plain words, as kubelets give them.
#[derive(Debug)]
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, self.1).into_response()
    }
}

/// All routes.
pub fn router(server: Server) -> Router {
    Router::new()
        // For kubectl logs, exec and attach, by way of the API server.
        .route(
            "/containerLogs/{namespace}/{pod}/{container}",
            get(logs::container_logs),
        )
        .route("/exec/{namespace}/{pod}/{container}", any(remote::exec))
        .route("/attach/{namespace}/{pod}/{container}", any(remote::attach))
        .route(
            "/portForward/{namespace}/{pod}",
            any(port_forward::port_forward),
        )
        // For whoever watches the node.
        .route("/pods", get(pods))
        .route("/healthz", get(|| async { "ok" }))
        .route("/stats/summary", get(stats::summary))
        .route("/metrics/resource", get(stats::resource_metrics))
        .with_state(Arc::new(server))
}

async fn pods(State(server): State<Arc<Server>>) -> Json<Value> {
    let mut items: Vec<Value> = server
        .pods
        .all()
        .iter()
        .map(|known| serde_json::to_value(&*known.pod).unwrap_or_default())
        .collect();
    items.sort_by_key(|pod| {
        (
            pod["metadata"]["namespace"].to_string(),
            pod["metadata"]["name"].to_string(),
        )
    });
    Json(json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
}

impl Server {
    fn pod(&self, namespace: &str, pod: &str) -> Result<Known, Refused> {
        self.pods.get(namespace, pod).ok_or_else(|| {
            Refused(
                StatusCode::NOT_FOUND,
                format!("pod {pod:?} in namespace {namespace:?} is not on this node"),
            )
        })
    }
}

#[cfg(test)]
mod tests;
