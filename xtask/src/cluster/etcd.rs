//! The store below the API server, on loopback inside the cluster's network.

use std::process::Command;

use super::hold::{Inside, Start, answers};

/// Where it listens.
pub const CLIENTS: &str = "127.0.0.1:2379";

/// Starts etcd. Nothing in it outlives the cluster, so it need not wait for the disk.
pub fn start(inside: &Inside) -> Start {
    let mut command = Command::new("etcd");
    let clients = format!("http://{CLIENTS}");
    command
        .arg("--data-dir")
        .arg(inside.place.root().join("etcd"))
        .args(["--unsafe-no-fsync", "--listen-client-urls", &clients])
        .args(["--advertise-client-urls", &clients])
        .args(["--listen-peer-urls", "http://127.0.0.1:2380"]);
    Start {
        command,
        is_ready: Box::new(|_| answers(CLIENTS, "/health")),
    }
}
