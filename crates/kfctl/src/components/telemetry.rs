//! What a component that runs on its own tells about itself: alive, ready, and figures in the Prometheus text format.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::routing::get;
use http::{StatusCode, header};

use crate::version;

/// The state that probes and scrapers ask for.
#[derive(Default)]
pub struct Vitals {
    is_ready: AtomicBool,
    is_leader: AtomicBool,
    lease: OnceLock<&'static str>,
}

impl Vitals {
    /// It answers, or no longer does.
    pub fn ready(&self, is_ready: bool) {
        self.is_ready.store(is_ready, Ordering::Relaxed);
    }

    /// It works only while it leads this lease.
    pub fn follows(&self, lease: &'static str) {
        let _ = self.lease.set(lease);
    }

    /// It leads, or no longer does.
    pub fn leads(&self, is_leader: bool) {
        self.is_leader.store(is_leader, Ordering::Relaxed);
    }

    /// `/healthz`, `/readyz`, `/metrics`.
    pub fn router(self: Arc<Self>, component: &'static str) -> axum::Router {
        let (ready, figures) = (self.clone(), self);
        axum::Router::new()
            .route("/healthz", get(async || "ok"))
            .route(
                "/readyz",
                get(async move || match ready.is_ready.load(Ordering::Relaxed) {
                    true => (StatusCode::OK, "ok"),
                    false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
                }),
            )
            .route(
                "/metrics",
                get(async move || {
                    let kind = "text/plain; version=0.0.4; charset=utf-8";
                    ([(header::CONTENT_TYPE, kind)], figures.text(component))
                }),
            )
    }

    fn text(&self, component: &str) -> String {
        let mut text = String::new();
        let mut figure = |name: &str, help: &str, labels: &str, value: f64| {
            let _ = write!(
                text,
                "# HELP {name} {help}\n# TYPE {name} gauge\n{name}{labels} {value}\n"
            );
        };
        figure(
            "ferroflow_build_info",
            "Version of the program",
            &format!(
                "{{component=\"{component}\",version=\"{}\"}}",
                version::FERROFLOW
            ),
            1.0,
        );
        let flag = |flag: &AtomicBool| f64::from(u8::from(flag.load(Ordering::Relaxed)));
        figure(
            "ferroflow_ready",
            "Whether the component answers",
            "",
            flag(&self.is_ready),
        );
        if let Some(lease) = self.lease.get() {
            figure(
                "ferroflow_leader",
                "Whether this process leads",
                &format!("{{lease=\"{lease}\"}}"),
                flag(&self.is_leader),
            );
        }
        figure(
            "process_resident_memory_bytes",
            "Resident memory",
            "",
            crate::memory::Usage::read().own_bytes as f64,
        );
        let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        figure(
            "process_open_fds",
            "Open descriptors",
            "",
            descriptors as f64,
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_say_whether_it_leads_only_where_there_is_a_lease() {
        let vitals = Vitals::default();
        vitals.ready(true);
        assert!(vitals.text("x").contains("\nferroflow_ready 1\n"));
        assert!(!vitals.text("x").contains("ferroflow_leader"));
        vitals.follows("ml-pipeline");
        assert!(
            vitals
                .text("x")
                .contains("ferroflow_leader{lease=\"ml-pipeline\"} 0\n")
        );
    }
}
