//! Our own components. On one machine they are tasks in the pods that their Deployments make (`table`); elsewhere each
//! is a process of its own (`standalone`). Each file turns what either home offers into what its crate needs.

mod console;
mod gateway;
mod local_storage;
mod node;
mod pipelines;
pub mod standalone;
mod telemetry;
mod workloads;

use ::node::builtin::{Failure, Table};

/// Where every pod finds its service-account token.
const TOKEN_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Every component that runs as a built-in pod, by the subcommand that the installed Deployments name.
pub fn table() -> Table {
    Table::default()
        .with("controller pipelines", |pod| async {
            pipelines::in_pod(pod).await.map_err(Into::<Failure>::into)
        })
        .with("controller console", |pod| async {
            console::in_pod(pod).await.map_err(Into::<Failure>::into)
        })
        .with("controller gateway", |pod| async {
            gateway::in_pod(pod).await.map_err(Into::<Failure>::into)
        })
}
