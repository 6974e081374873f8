//! `GET /runs:watch` and `GET /runs/{id}:watch`: server-sent events, fed by the engine itself or, in a replica that does not drive the runs,
//! by what the others tell.
//!
//! Every `data:` line is a whole run: the row alone for the stream of all runs, with its native tasks for the stream of one
//! (as `view=FULL`, without the document). `event: deleted` says that a run is no more; `event: resync`, in the stream of all
//! runs, that changes may have been missed (the listener fell behind, or another replica could not be heard) and should list anew. The stream of one run begins with its present state.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::{metrics_of, task_view, view};
use crate::api::{ApiError, Caller, Code, Shared};
use crate::engine::RunChange;
use crate::store;

/// How often the right to watch is asked for again.
const RECHECK: Duration = Duration::from_secs(60);
/// Changes of one run that follow each other this closely become one event: a wide loop changes hundreds of tasks at once,
/// and each event shows all of them.
const GATHER: Duration = Duration::from_millis(40);

/// Changes of all runs.
pub async fn all(
    State(api): State<Shared>,
    caller: Caller,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    api.authorise(&caller, "list", "runs").await?;
    let (mut changes, mut gaps) = (api.engine.watch(), api.engine.gaps());
    let events = async_stream::stream! {
        let mut recheck = tokio::time::interval_at(Instant::now() + RECHECK, RECHECK);
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Ok(change) => if let Some(event) = row_event(&api, &change).await {
                        yield Ok(event);
                    },
                    Err(RecvError::Lagged(_)) => yield Ok(resync()),
                    Err(RecvError::Closed) => break,
                },
                Ok(()) = gaps.changed() => yield Ok(resync()),
                _ = recheck.tick() => if api.authorise(&caller, "list", "runs").await.is_err() { break },
            }
        }
    };
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

/// Present state and changes of one run.
pub async fn one(
    api: Shared,
    caller: Caller,
    id: String,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    api.authorise(&caller, "get", "runs").await?;
    // Subscribed before reading, so that nothing falls between.
    let (mut changes, mut gaps) = (api.engine.watch(), api.engine.gaps());
    let first = whole(&api, &id).await?;
    let events = async_stream::stream! {
        yield Ok(Event::default().event("run").data(first.to_string()));
        let mut recheck = tokio::time::interval_at(Instant::now() + RECHECK, RECHECK);
        loop {
            tokio::select! {
                next = next_change(&mut changes, &id) => match next {
                    Next::Changed => match whole(&api, &id).await {
                        Ok(run) => yield Ok(Event::default().event("run").data(run.to_string())),
                        Err(_) => break,
                    },
                    Next::Deleted => {
                        yield Ok(deleted(&id));
                        break;
                    }
                    Next::Closed => break,
                },
                Ok(()) = gaps.changed() => match whole(&api, &id).await {
                    Ok(run) => yield Ok(Event::default().event("run").data(run.to_string())),
                    Err(problem) => {
                        if problem.code() == Code::NotFound {
                            yield Ok(deleted(&id));
                        }
                        break;
                    }
                },
                _ = recheck.tick() => if api.authorise(&caller, "get", "runs").await.is_err() { break },
            }
        }
    };
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

enum Next {
    Changed,
    Deleted,
    Closed,
}

/// Waits for a change of one run, then gathers what follows closely. Cancelling it loses nothing: what counts is read from
/// the store.
async fn next_change(changes: &mut Receiver<Arc<RunChange>>, id: &str) -> Next {
    let mut until: Option<Instant> = None;
    loop {
        let received = match until {
            None => changes.recv().await,
            Some(until) => match tokio::time::timeout_at(until, changes.recv()).await {
                Ok(received) => received,
                Err(_) => return Next::Changed,
            },
        };
        match received {
            Ok(change) if change.run_id != id => {}
            Ok(change) if change.is_deleted => return Next::Deleted,
            Ok(_) | Err(RecvError::Lagged(_)) => {
                until.get_or_insert_with(|| Instant::now() + GATHER);
            }
            Err(RecvError::Closed) => return Next::Closed,
        }
    }
}

async fn whole(api: &Shared, id: &str) -> Result<Value, ApiError> {
    let key = id.to_owned();
    let (run, metrics, mut tasks) = api
        .store
        .read(move |db| {
            let run = store::run::get(db, &key)?;
            let metrics = metrics_of(db, &run)?;
            Ok((run, metrics, store::task::of_run(db, &key)?))
        })
        .await?;
    store::task::in_order_of_start(&mut tasks);
    Ok(view(&run, Some(&metrics))
        .value("task_count", tasks.len())
        .value("tasks", task_view::views(&tasks))
        .build())
}

async fn row_event(api: &Shared, change: &RunChange) -> Option<Event> {
    if change.is_deleted {
        return Some(deleted(&change.run_id));
    }
    let run = change.run.clone()?;
    // Of a run that goes on the list shows no metrics yet: each change would read them all again.
    let row = api
        .store
        .read(move |db| {
            let metrics = match run.finished_at {
                Some(_) => metrics_of(db, &run)?,
                None => Map::new(),
            };
            Ok(view(&run, Some(&metrics)).build().to_string())
        })
        .await
        .ok()?;
    Some(Event::default().event("run").data(row))
}

/// Everything has to be read anew.
fn resync() -> Event {
    Event::default().event("resync").data("{}")
}

fn deleted(run_id: &str) -> Event {
    Event::default()
        .event("deleted")
        .data(json!({"run_id": run_id, "is_deleted": true}).to_string())
}
