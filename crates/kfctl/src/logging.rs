//! The server's own log: a file in the data folder. Built-in components log to their pods' files instead.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::instance::DataFolder;

/// Starts logging for a server on `data`. `FERROFLOW_LOG` chooses what is logged, as `RUST_LOG` would.
pub fn start(data: &DataFolder) -> Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(data.log())
        .with_context(|| format!("open {}", data.log().display()))?;
    let filter = EnvFilter::try_from_env("FERROFLOW_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,kube=warn,hyper=warn"));
    let own = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(std::sync::Mutex::new(file))
        .with_filter(filter_fn(|_| !node::builtin::is_in_pod()));
    tracing_subscriber::registry()
        .with(filter)
        .with(own)
        .with(node::builtin::LogLayer)
        .try_init()
        .context("start logging")
}

/// Starts logging for a component that is a process of its own: to standard error, as containers do.
pub fn to_stderr() -> Result<()> {
    let filter = EnvFilter::try_from_env("FERROFLOW_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,kube=warn,hyper=warn"));
    let own = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(filter)
        .with(own)
        .try_init()
        .context("start logging")
}
