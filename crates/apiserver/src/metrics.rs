//! Counters of the API server, under the names that Kubernetes dashboards know.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What a request was.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    verb: String,
    code: u32,
}

/// What took how long.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    verb: String,
}

/// All counters.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Outcome, Counter>,
    seconds: Family<Kind, Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<Outcome, Counter>::default();
        let seconds = Family::<Kind, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.000_25, 4.0, 9))
        });
        registry.register(
            "apiserver_request",
            "Requests by method and status code",
            requests.clone(),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "Time from a request to its answer, or to the start of a stream",
            seconds.clone(),
        );
        Self {
            registry,
            requests,
            seconds,
        }
    }
}

impl Metrics {
    /// Counts an answered request.
    pub fn count(&self, verb: &str, code: u16, took: Duration) {
        self.requests
            .get_or_create(&Outcome {
                verb: verb.to_owned(),
                code: code.into(),
            })
            .inc();
        self.seconds
            .get_or_create(&Kind {
                verb: verb.to_owned(),
            })
            .observe(took.as_secs_f64());
    }

    /// The text that a scraper reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Err(err) = prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            tracing::warn!(error = %err, "writing metrics");
        }
        text
    }
}
