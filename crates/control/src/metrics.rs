//! Counts and durations of reconciles, in the Prometheus text format.

use std::sync::Mutex;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reconcile {
    controller: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Controller {
    controller: &'static str,
}

/// The metrics of the controllers of one process.
pub struct Metrics {
    registry: Mutex<Registry>,
    reconciles: Family<Reconcile, Counter>,
    seconds: Family<Controller, Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let reconciles = Family::<Reconcile, Counter>::default();
        // 0.1 ms to 6.5 s.
        let seconds = Family::<Controller, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.0001, 4.0, 9))
        });
        registry.register(
            "controller_reconciles",
            "Reconciles by controller and result",
            reconciles.clone(),
        );
        registry.register(
            "controller_reconcile_seconds",
            "Duration of reconciles",
            seconds.clone(),
        );
        Self {
            registry: Mutex::new(registry),
            reconciles,
            seconds,
        }
    }
}

impl Metrics {
    /// Counts one reconcile.
    pub fn reconciled(&self, controller: &'static str, succeeded: bool, duration: Duration) {
        let result = if succeeded { "success" } else { "error" };
        self.reconciles
            .get_or_create(&Reconcile { controller, result })
            .inc();
        self.seconds
            .get_or_create(&Controller { controller })
            .observe(duration.as_secs_f64());
    }

    /// Adds metrics of the caller's own.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self
            .registry
            .lock()
            .expect("no holder of the registry lock panics"));
    }

    /// Everything in the text format that a scrape reads.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let registry = self
            .registry
            .lock()
            .expect("no holder of the registry lock panics");
        prometheus_client::encoding::text::encode(&mut text, &registry)
            .expect("writing to a string cannot fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reconcile_is_counted_under_its_result() {
        let metrics = Metrics::default();
        metrics.reconciled("job", false, Duration::from_millis(3));
        let text = metrics.render();
        assert!(
            text.contains(r#"controller_reconciles_total{controller="job",result="error"} 1"#),
            "{text}"
        );
        assert!(text.contains("controller_reconcile_seconds_count"));
    }
}
