//! Workers that take keys from a queue and reconcile them until shut down. A failure or a panic of one reconcile is
//! logged once and retried with backoff; it never ends the controller.

use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::queue::Queue;

/// What a reconcile asks for next: `None` waits for a change, a duration asks to look again by then.
pub type Next = Option<Duration>;

/// One controller: its name, its queue and how many workers it has.
pub struct Controller<T> {
    /// Name in logs and metrics.
    pub name: &'static str,
    /// Keys to reconcile.
    pub queue: Arc<Queue<T>>,
    /// Reconciles that may run at the same time.
    pub workers: usize,
    /// Where counts and durations go.
    pub metrics: Arc<Metrics>,
}

impl<T> Controller<T>
where
    T: Clone + Eq + Hash + Display + Send + Sync + 'static,
{
    /// Runs until shut down; work in progress is finished first.
    pub async fn run<F, R, E>(self, shutdown: CancellationToken, reconcile: F)
    where
        F: Fn(T) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<Next, E>> + Send,
        E: std::error::Error + Send + 'static,
    {
        let mut workers = JoinSet::new();
        for _ in 0..self.workers {
            let (queue, shutdown, reconcile, metrics) = (
                self.queue.clone(),
                shutdown.clone(),
                reconcile.clone(),
                self.metrics.clone(),
            );
            let name = self.name;
            workers.spawn(async move {
                loop {
                    let key = tokio::select! {
                        biased;
                        () = shutdown.cancelled() => return,
                        key = queue.take() => key,
                    };
                    let started = Instant::now();
                    let outcome = AssertUnwindSafe(reconcile(key.clone()))
                        .catch_unwind()
                        .await;
                    let succeeded = settle(name, &queue, &key, outcome);
                    metrics.reconciled(name, succeeded, started.elapsed());
                    queue.done(&key);
                }
            });
        }
        while workers.join_next().await.is_some() {}
    }
}

fn settle<T, E>(
    name: &str,
    queue: &Queue<T>,
    key: &T,
    outcome: std::thread::Result<Result<Next, E>>,
) -> bool
where
    T: Clone + Eq + Hash + Display,
    E: std::error::Error + 'static,
{
    match outcome {
        Ok(Ok(next)) => {
            queue.forget(key);
            if let Some(delay) = next {
                queue.add_after(key.clone(), delay);
            }
            true
        }
        Ok(Err(error)) => {
            let text = objects::chain(&error);
            if is_conflict(&error) {
                // Somebody else changed it first: ordinary life, and the next attempt sees the change.
                tracing::debug!(controller = name, object = %key, error = text, "reconcile of {key} starts over");
            } else {
                tracing::warn!(controller = name, object = %key, error = text, "reconcile of {key} failed");
            }
            queue.add_backoff(key.clone());
            false
        }
        Err(_) => {
            tracing::error!(controller = name, object = %key, "reconcile of {key} panicked");
            queue.add_backoff(key.clone());
            false
        }
    }
}

fn is_conflict(error: &(dyn std::error::Error + 'static)) -> bool {
    error
        .downcast_ref::<kube::Error>()
        .is_some_and(crate::write::is_conflict)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failing_and_a_panicking_reconcile_are_tried_again() {
        let queue = Arc::new(Queue::default());
        queue.add("a");
        let attempts = Arc::new(AtomicUsize::new(0));
        let shutdown = CancellationToken::new();
        let (counter, stop) = (attempts.clone(), shutdown.clone());
        let controller = Controller {
            name: "test",
            queue: queue.clone(),
            workers: 2,
            metrics: Arc::new(Metrics::default()),
        };
        controller
            .run(shutdown, move |_key| {
                let (counter, stop) = (counter.clone(), stop.clone());
                async move {
                    match counter.fetch_add(1, Ordering::SeqCst) {
                        0 => Err(std::io::Error::other("first")),
                        1 => panic!("second"),
                        _ => {
                            stop.cancel();
                            Ok(None)
                        }
                    }
                }
            })
            .await;
        assert_eq!(attempts.load(Ordering::SeqCst), 3);
    }
}
