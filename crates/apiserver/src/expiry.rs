//! What goes by itself. Events live for an hour, and a namespace holds so many: they are the write-rate danger of a small machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::api::Api;
use crate::store::Decision;
use crate::store::snapshot::range;

/// How long an event is kept.
const LIFE: jiff::SignedDuration = jiff::SignedDuration::from_secs(3600);
/// Events per namespace.
const PER_NAMESPACE: usize = 2_000;
const EVERY: Duration = Duration::from_secs(60);

/// Removes old events and snapshots until the server stops.
pub async fn run(api: Arc<Api>) {
    loop {
        tokio::select! {
            () = api.shutdown.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        api.store.forget_old_snapshots();
        let collection = api.builtin("", "events").stored().clone();
        let snapshot = api.store.snapshot();
        let events: Vec<(Arc<str>, u64, i64)> = range(snapshot.map(collection.id), "", "")
            .map(|(key, entry)| (key.clone(), entry.revision, last_seen(&entry.value())))
            .collect();
        for key in doomed(events, jiff::Timestamp::now().as_second() - LIFE.as_secs()) {
            let removed = api
                .store
                .update::<crate::store::Error>(&collection, &key, |_| Ok(Decision::Remove))
                .await;
            if let Err(crate::store::Error::Closed) = removed {
                return;
            }
        }
    }
}

fn last_seen(event: &serde_json::Value) -> i64 {
    [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/eventTime",
        "/metadata/creationTimestamp",
    ]
    .iter()
    .filter_map(|pointer| {
        event
            .pointer(pointer)?
            .as_str()?
            .parse::<jiff::Timestamp>()
            .ok()
    })
    .map(|time| time.as_second())
    .max()
    .unwrap_or(0)
}

/// The keys of events last seen before `horizon`, and of the oldest beyond each namespace's share.
fn doomed(events: Vec<(Arc<str>, u64, i64)>, horizon: i64) -> Vec<Arc<str>> {
    let mut by_namespace: BTreeMap<String, Vec<(u64, Arc<str>)>> = BTreeMap::new();
    let mut gone = Vec::new();
    for (key, revision, seen) in events {
        if seen < horizon {
            gone.push(key);
        } else {
            let namespace = key.split('/').next().unwrap_or_default().to_owned();
            by_namespace
                .entry(namespace)
                .or_default()
                .push((revision, key));
        }
    }
    for (_, mut events) in by_namespace {
        events.sort();
        let surplus = events.len().saturating_sub(PER_NAMESPACE);
        gone.extend(events.into_iter().take(surplus).map(|(_, key)| key));
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_events_go_and_so_does_the_surplus_of_a_namespace() {
        let mut events: Vec<_> = (0..PER_NAMESPACE as u64 + 2)
            .map(|n| (format!("a/{n:05}").into(), n, 100))
            .collect();
        events.push(("b/old".into(), 1, 10));
        let gone = doomed(events, 50);
        let gone: Vec<&str> = gone.iter().map(AsRef::as_ref).collect();
        assert_eq!(gone, ["b/old", "a/00000", "a/00001"]);
    }
}
