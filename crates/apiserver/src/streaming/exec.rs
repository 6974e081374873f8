//! exec, attach and port-forward: found the kubelet, the rest is between it and the client.

use axum::extract::Request;
use objects::Status;

use super::{container, forward, kubelet, query, websocket};
use crate::error::ApiError;
use crate::verbs::{Call, Reply};

/// `pods/{name}/exec`, `/attach` and `/portforward`.
pub async fn run(call: &Call, request: Request) -> Result<Reply, ApiError> {
    let pod = call.current()?;
    let node = kubelet::node_of(&pod).ok_or_else(|| {
        ApiError::bad_request(format!("pod {} does not have a host assigned", call.name))
    })?;
    if !forward::is_upgrade(request.headers()) {
        return Err(Status::bad_request("Upgrade request required").into());
    }
    let mut parameters = Vec::new();
    let path = if call.subresource == "portforward" {
        // Only the protocol over WebSocket names them here, and kubelets know them by this name.
        let ports: Vec<&str> = call.query.all("ports").collect();
        if !ports.is_empty() {
            parameters.push(("port", ports.join(",")));
        }
        format!("/portForward/{}/{}", call.namespace, call.name)
    } else {
        let phase = pod["status"]["phase"].as_str().unwrap_or_default();
        if matches!(phase, "Succeeded" | "Failed") {
            let doing = match call.subresource.as_str() {
                "exec" => "exec into",
                _ => "attach to",
            };
            return Err(ApiError::bad_request(format!(
                "cannot {doing} a container in a completed pod; current phase is {phase}"
            )));
        }
        let container = container(&pod, call.query.get("container"))?;
        for (ours, theirs) in [
            ("stdin", "input"),
            ("stdout", "output"),
            ("stderr", "error"),
            ("tty", "tty"),
        ] {
            if call.query.flag(ours) {
                parameters.push((theirs, "1".to_owned()));
            }
        }
        if call.subresource == "exec" {
            if call.query.get("command").is_none() {
                return Err(ApiError::bad_request(
                    "you must specify at least 1 command for the container",
                ));
            }
            parameters.extend(
                call.query
                    .all("command")
                    .map(|word| ("command", word.to_owned())),
            );
        }
        format!(
            "/{}/{}/{}/{container}",
            call.subresource, call.namespace, call.name
        )
    };
    let connection = kubelet::connect(call, node).await?;
    let target = format!("{path}?{}", query(&parameters));
    let response =
        if call.subresource == "portforward" && websocket::is_tunnel_wanted(request.headers()) {
            websocket::tunnel(connection, request, &target, node).await?
        } else {
            forward::send(connection, request, &target, node, &call.user).await?
        };
    Ok(Reply::Response(Box::new(response)))
}
