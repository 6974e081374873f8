//! Deletes finished jobs once their `ttlSecondsAfterFinished` is over, with all they own.

use std::sync::Arc;
use std::time::Duration;

use control::{Controller, Key, Queue, Writer};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::PropagationPolicy;

use crate::setup::Setup;
use crate::templated::Templated;
use crate::watches::Watches;

struct Context {
    watches: Arc<Watches>,
    writer: Writer,
}

/// Starts the controller.
pub fn start(setup: &mut Setup) {
    let queue = Arc::new(Queue::default());
    let watches = setup.watches.clone();
    let wake = queue.clone();
    watches.jobs.on_change(move |change| {
        if let Some(job) = change.new.as_ref().filter(|job| expires(job).is_some()) {
            wake.add(Key::of(job.as_ref()));
        }
    });
    let context = Arc::new(Context {
        writer: setup.writer("ttl-after-finished-controller"),
        watches: watches.clone(),
    });
    let controller = Controller {
        name: "ttl-after-finished",
        queue,
        workers: 2,
        metrics: setup.metrics.clone(),
    };
    let shutdown = setup.shutdown.clone();
    setup.spawn("ttl-after-finished", async move {
        watches.jobs.synced().await;
        controller
            .run(shutdown, move |key| reconcile(key, context.clone()))
            .await;
    });
}

/// When a job is to go, if it is finished and has a time to live.
fn expires(job: &Job) -> Option<Timestamp> {
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    if job.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let end = conditions.iter().find(|held| {
        matches!(held.type_.as_str(), "Complete" | "Failed") && held.status == "True"
    })?;
    Some(end.last_transition_time.as_ref()?.0 + SignedDuration::from_secs(ttl.into()))
}

async fn reconcile(key: Key, context: Arc<Context>) -> kube::Result<control::Next> {
    let Some(job) = context.watches.jobs.cache().get(&key) else {
        return Ok(None);
    };
    let Some(at) = expires(&job) else {
        return Ok(None);
    };
    let left = at.duration_since(Timestamp::now());
    if left.is_positive() {
        return Ok(Some(Duration::from_millis(
            u64::try_from(left.as_millis()).unwrap_or(0) + 1,
        )));
    }
    let policy = Some(PropagationPolicy::Foreground);
    context
        .writer
        .delete::<Templated<Job>>(job.as_ref(), policy)
        .await?;
    tracing::debug!(object = %key, uid = job.uid(), "job {key} outlived its time");
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn job(ttl: Value, conditions: Value) -> Job {
        serde_json::from_value(json!({
            "metadata": {"name": "j"},
            "spec": {"template": {}, "ttlSecondsAfterFinished": ttl},
            "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    #[test]
    fn only_a_finished_job_with_a_time_to_live_expires() {
        let done = json!([{"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T10:00:00Z"}]);
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        assert_eq!(
            expires(&job(json!(60), done.clone())),
            at("2026-01-01T10:01:00Z")
        );
        assert_eq!(
            expires(&job(json!(0), done.clone())),
            at("2026-01-01T10:00:00Z")
        );
        assert_eq!(expires(&job(json!(null), done)), None);
        assert_eq!(
            expires(&job(
                json!(60),
                json!([{"type": "Suspended", "status": "True"}])
            )),
            None
        );
    }
}
