//! `/portForward`: connections into a pod, over SPDY or WebSocket. They are made inside of the pod's own network, to its
//! loopback, so that servers which listen only there are reached, and nobody takes them for the node's own.

mod spdy_pairs;
mod websocket;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, RawQuery, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::net::{TcpSocket, TcpStream};

use super::upgrade::Upgrade;
use super::{Refused, Server, query};
use crate::net::NodeNetwork;
use crate::shim;

/// The protocol over SPDY, and one name of that over WebSocket.
const VERSION: &str = "portforward.k8s.io";
/// What is spoken over WebSocket.
const WEBSOCKET: &[&str] = &["v4.channel.k8s.io", VERSION];

pub(super) async fn port_forward(
    State(server): State<Arc<Server>>,
    Path((namespace, pod)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Refused> {
    let target = Arc::new(Target::of(&server, &namespace, &pod)?);
    Ok(match Upgrade::read(request, &[VERSION], WEBSOCKET).await {
        Ok(Upgrade::Spdy(upgrade)) => {
            upgrade.accept(move |connection| spdy_pairs::serve(connection, target))
        }
        Ok(Upgrade::WebSocket(upgrade)) => {
            let ports = query::ports(query.as_deref().unwrap_or_default());
            let Some(ports) = ports.filter(|ports| !ports.is_empty()) else {
                let text =
                    "query parameter \"port\" must name the ports to forward, each 1 to 65535";
                return Err(Refused(StatusCode::BAD_REQUEST, text.into()));
            };
            upgrade
                .on_upgrade(move |socket| websocket::serve(socket, target, ports))
                .into_response()
        }
        Err(refusal) => refusal,
    })
}

/// The pod whose ports are reached.
struct Target {
    pod: String,
    uid: String,
    shim: Option<shim::Pod>,
    address: IpAddr,
    network: Option<NodeNetwork>,
    /// Made in the pod's network and not used yet.
    sockets: Mutex<Vec<TcpSocket>>,
}

impl Target {
    fn of(server: &Server, namespace: &str, pod: &str) -> Result<Self, Refused> {
        let known = server.pod(namespace, pod)?;
        let is_running = known.runs.values().any(|(_, runs)| *runs);
        let Some(address) = known.ip.filter(|_| is_running) else {
            let text =
                format!("unable to forward ports of pod {pod:?}: none of its containers runs");
            return Err(Refused(StatusCode::BAD_REQUEST, text));
        };
        Ok(Self {
            pod: pod.to_owned(),
            uid: known.pod.metadata.uid.clone().unwrap_or_default(),
            shim: known.shim,
            address,
            network: server.network.clone(),
            sockets: Mutex::default(),
        })
    }

    /// Connects to a port of the pod; in the words that clients print why it cannot be.
    async fn connect(&self, port: u16) -> Result<TcpStream, String> {
        self.dial(port).await.map_err(|error| {
            format!(
                "error forwarding port {port} to pod {}, uid {}: failed to connect to localhost:{port} inside the pod: {error}",
                self.pod, self.uid
            )
        })
    }

    async fn dial(&self, port: u16) -> io::Result<TcpStream> {
        if let Some(socket) = self.socket().await? {
            let stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
            stream.set_nodelay(true)?;
            return Ok(stream);
        }
        // A component of ours has no network of its own; a pod without isolation has the host's.
        match (&self.network, self.address) {
            (Some(network), IpAddr::V4(address)) => network
                .dial(SocketAddrV4::new(address, port))
                .await
                .map_err(|error| {
                    std::error::Error::source(&error).map_or_else(
                        || io::Error::other(error.to_string()),
                        |cause| io::Error::other(cause.to_string()),
                    )
                }),
            (_, address) => TcpStream::connect((address, port)).await,
        }
    }

    /// A socket inside of the pod's network, if it has one.
    async fn socket(&self) -> io::Result<Option<TcpSocket>> {
        let Some(shim) = &self.shim else {
            return Ok(None);
        };
        let pool = || self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = pool().pop() {
            return Ok(Some(socket));
        }
        match shim.sockets().await {
            Ok(mut more) => {
                let socket = more.pop();
                pool().append(&mut more);
                Ok(socket)
            }
            // It has no network of its own, or is from a version that makes none.
            Err(shim::Error::Refused(_)) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}
