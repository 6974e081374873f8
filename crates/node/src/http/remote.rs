//! `/exec` and `/attach`, over WebSocket or SPDY.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::process::{self, Attach, Process};
use super::query::Wanted;
use super::upgrade::Upgrade;
use super::{Refused, Server, channels, streams, websocket};
use crate::kubelet::Known;
use crate::shim::{self, ExecSpec};

type Place = (String, String, String);

/// A pod, and its processes, in which this container runs.
fn running(
    server: &Server,
    (namespace, pod, container): &Place,
) -> Result<(Known, shim::Pod), Refused> {
    let known = server.pod(namespace, pod)?;
    let runs = known.runs.get(container).is_some_and(|(_, runs)| *runs);
    match known.shim.clone() {
        Some(shim) if runs => Ok((known, shim)),
        None if runs => {
            let text = format!(
                "container {container:?} is a component that runs inside the platform's own process; there is nothing to run a command in"
            );
            Err(Refused(StatusCode::BAD_REQUEST, text))
        }
        _ => Err(Refused(
            StatusCode::NOT_FOUND,
            format!("container not found ({container:?})"),
        )),
    }
}

pub(super) async fn exec(
    State(server): State<Arc<Server>>,
    Path(place): Path<Place>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Refused> {
    let (_, shim) = running(&server, &place)?;
    let wanted = Wanted::read(query.as_deref().unwrap_or_default());
    if wanted.command.is_empty() {
        return Err(Refused(
            StatusCode::BAD_REQUEST,
            "you must specify at least 1 command for the container".into(),
        ));
    }
    let spec = ExecSpec {
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
        tty: wanted.tty,
        // As containerd does: a client that went away does not end what it started.
        kill_on_disconnect: false,
        ..ExecSpec::new(&place.2, wanted.command.clone())
    };
    Ok(serve(request, wanted, process::exec(shim, spec)).await)
}

pub(super) async fn attach(
    State(server): State<Arc<Server>>,
    Path(place): Path<Place>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Refused> {
    let (known, shim) = running(&server, &place)?;
    let wanted = Wanted::read(query.as_deref().unwrap_or_default());
    let attach = Attach {
        is_stdin_once: is_stdin_once(&known, &place.2),
        container: place.2,
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr,
    };
    Ok(serve(request, wanted, process::attach(shim, attach)).await)
}

/// Whether a container's stdin ends with its first client.
fn is_stdin_once(known: &Known, container: &str) -> bool {
    let Some(spec) = &known.pod.spec else {
        return false;
    };
    let mut all = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers);
    all.any(|other| other.name == container && other.stdin_once == Some(true))
}

/// Leaves HTTP by the protocol that the client wants, and connects it to the process.
async fn serve(
    request: Request,
    wanted: Wanted,
    start: impl Future<Output = Result<Process, String>> + Send + 'static,
) -> Response {
    const WEBSOCKET: &[&str] = &[channels::V5, channels::V4, channels::V1];
    match Upgrade::read(request, streams::VERSIONS, WEBSOCKET).await {
        Ok(Upgrade::WebSocket(upgrade)) => {
            let is_first = upgrade
                .selected_protocol()
                .is_some_and(|chosen| chosen == channels::V1);
            let version = if is_first { channels::V1 } else { channels::V4 };
            upgrade
                .on_upgrade(move |socket| websocket::serve(socket, version, start))
                .into_response()
        }
        Ok(Upgrade::Spdy(upgrade)) => {
            let version = upgrade.version;
            upgrade.accept(move |connection| streams::serve(connection, wanted, version, start))
        }
        Err(refusal) => refusal,
    }
}
