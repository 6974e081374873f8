//! Lifecycle hooks: what a container wants done right after its start and right before its end.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};

use crate::probes::{self, Prober};

/// Runs a hook. The error is what the event about it says.
pub async fn run(
    hook: &LifecycleHandler,
    container: &Container,
    prober: &Prober,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let probe = k8s_openapi::api::core::v1::Probe {
            exec: Some(exec.clone()),
            ..Default::default()
        };
        return probes::check(prober, &probe, container, Duration::from_secs(24 * 3600)).await;
    }
    if let Some(get) = &hook.http_get {
        let (status, body) = probes::http_request(prober, get, container).await?;
        return if status < 400 {
            Ok(())
        } else {
            Err(format!("HTTP status {status}: {body}"))
        };
    }
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(
            u64::try_from(sleep.seconds).unwrap_or(0),
        ))
        .await;
        return Ok(());
    }
    Err("the hook names nothing to do".to_owned())
}
