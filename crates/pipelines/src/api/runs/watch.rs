//! `GET /runs:watch` and `GET /runs/{id}:watch`: server-sent events, fed by the engine itself.
//!
//! Events: `run` (a run's row), `task` (`{run_id, task}` in the native form, without children), `task_removed`, `deleted`, and
//! `resync` when a listener fell behind: read everything anew. The stream of one run begins with its present state.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::{task_view, view};
use crate::api::{ApiError, Caller, Shared};
use crate::engine::RunChange;
use crate::run::Run;
use crate::store;
use crate::task::Task;

/// How often the right to watch is asked for again.
const RECHECK: Duration = Duration::from_secs(60);

/// Changes of all runs.
pub async fn all(
    State(api): State<Shared>,
    caller: Caller,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    api.authorise(&caller, "list", "runs").await?;
    let changes = api.engine.watch();
    Ok(Sse::new(stream(api, caller, "list", changes, None, vec![]))
        .keep_alive(KeepAlive::default()))
}

/// Present state and changes of one run.
pub async fn one(
    api: Shared,
    caller: Caller,
    id: String,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    api.authorise(&caller, "get", "runs").await?;
    // Subscribed before reading, so that nothing falls between.
    let changes = api.engine.watch();
    let key = id.clone();
    let (run, tasks) = api
        .store
        .read(move |db| Ok((store::run::get(db, &key)?, store::task::of_run(db, &key)?)))
        .await?;
    let mut first = vec![run_event(&run)];
    first.extend(tasks.iter().map(task_event));
    Ok(
        Sse::new(stream(api, caller, "get", changes, Some(id), first))
            .keep_alive(KeepAlive::default()),
    )
}

fn stream(
    api: Shared,
    caller: Caller,
    verb: &'static str,
    mut changes: Receiver<Arc<RunChange>>,
    only: Option<String>,
    first: Vec<Event>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    async_stream::stream! {
        for event in first {
            yield Ok(event);
        }
        let mut recheck = tokio::time::interval_at(tokio::time::Instant::now() + RECHECK, RECHECK);
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Ok(change) if only.as_ref().is_none_or(|only| *only == change.run_id) => {
                        for event in events(&change) {
                            yield Ok(event);
                        }
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => yield Ok(event("resync", &json!({}))),
                    Err(RecvError::Closed) => break,
                },
                _ = recheck.tick() => if api.authorise(&caller, verb, "runs").await.is_err() { break },
            }
        }
    }
}

fn events(change: &RunChange) -> Vec<Event> {
    let mut events = Vec::new();
    if change.is_deleted {
        events.push(event("deleted", &json!({"run_id": change.run_id})));
    }
    events.extend(change.removed.iter().map(|id| {
        event(
            "task_removed",
            &json!({"run_id": change.run_id, "task_id": id}),
        )
    }));
    events.extend(change.tasks.iter().map(task_event));
    events.extend(change.run.as_ref().map(run_event));
    events
}

fn run_event(run: &Run) -> Event {
    event("run", &view(run).build())
}

fn task_event(task: &Task) -> Event {
    event(
        "task",
        &json!({"run_id": task.run_id, "task": task_view::view(task, &[])}),
    )
}

fn event(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}
