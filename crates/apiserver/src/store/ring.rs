//! The latest events of one collection, oldest first. Watchers pull from it with a cursor of their own: nothing is
//! queued per watcher, and one that is too slow finds that its place has fallen off.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use super::{Entry, Error, Map};

/// Events stay at least this long, so that a client can resume after a short outage.
const AT_LEAST: Duration = Duration::from_secs(75);
/// Below this size age does not matter.
const ALWAYS_BYTES: usize = 4 << 20;
/// Above this size even young events go.
const NEVER_BYTES: usize = 96 << 20;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was created.
    Added,
    /// It was changed.
    Modified,
    /// It was removed; the entry is its last state with the deletion's revision.
    Deleted,
}

impl EventKind {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One change of one object.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The object's key.
    pub key: Arc<str>,
    /// The object after the change (before it, for a deletion).
    pub entry: Arc<Entry>,
    /// The object before the change, where there was one and it is still known.
    pub before: Option<Arc<Entry>>,
    at: Instant,
    line: OnceLock<Bytes>,
}

impl Event {
    pub(super) fn new(
        kind: EventKind,
        key: Arc<str>,
        entry: Arc<Entry>,
        before: Option<Arc<Entry>>,
    ) -> Self {
        Self {
            kind,
            key,
            entry,
            before,
            at: Instant::now(),
            line: OnceLock::new(),
        }
    }

    /// The revision of the change.
    pub fn revision(&self) -> u64 {
        self.entry.revision
    }

    /// The line of a watch in the storage version, made once for all watchers.
    pub fn line(&self) -> Bytes {
        self.line
            .get_or_init(|| frame(self.kind.as_str(), &self.entry.bytes))
            .clone()
    }

    fn size(&self) -> usize {
        self.entry.bytes.len() + 128
    }
}

/// A watch line of already serialised parts.
pub fn frame(kind: &str, object: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + kind.len() + 24);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line.into()
}

/// The ring of one collection.
#[derive(Debug)]
pub struct Ring {
    held: RwLock<Held>,
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Held {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// A watch may start at this revision or later.
    floor: u64,
}

impl Ring {
    pub(super) fn new(floor: u64) -> Self {
        Self {
            held: RwLock::new(Held {
                events: VecDeque::new(),
                bytes: 0,
                floor,
            }),
            newest: watch::Sender::new(floor),
        }
    }

    /// Adds events in order of revision; called by the writer alone.
    pub(super) fn push(&self, events: impl IntoIterator<Item = Arc<Event>>) {
        let mut held = self.held.write().expect("no holder of this lock panics");
        for event in events {
            held.bytes += event.size();
            held.events.push_back(event);
        }
        while let Some(oldest) = held.events.front() {
            let young = oldest.at.elapsed() < AT_LEAST;
            if held.bytes <= ALWAYS_BYTES || (young && held.bytes <= NEVER_BYTES) {
                break;
            }
            let gone = held.events.pop_front().expect("front was just seen");
            held.bytes -= gone.size();
            held.floor = gone.revision();
        }
        let newest = held
            .events
            .back()
            .map_or(held.floor, |event| event.revision());
        drop(held);
        self.newest.send_replace(newest);
    }

    /// Wakes every watcher although nothing happened to an object: what it watches may be gone.
    pub fn wake(&self) {
        self.newest.send_modify(|_| ());
    }

    /// Wakes when events are added.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Whether all events after `revision` are still here.
    pub fn can_resume(&self, revision: u64) -> Result<(), Error> {
        let held = self.held.read().expect("no holder of this lock panics");
        if revision < held.floor {
            Err(Error::Expired {
                revision,
                oldest: held.floor,
            })
        } else {
            Ok(())
        }
    }

    /// Up to `limit` events after `revision`.
    pub fn after(&self, revision: u64, limit: usize) -> Result<Vec<Arc<Event>>, Error> {
        let held = self.held.read().expect("no holder of this lock panics");
        if revision < held.floor {
            return Err(Error::Expired {
                revision,
                oldest: held.floor,
            });
        }
        let from = held
            .events
            .partition_point(|event| event.revision() <= revision);
        Ok(held.events.range(from..).take(limit).cloned().collect())
    }

    /// Takes `map`, the state at `present`, back to what it was at `revision`.
    pub(super) fn undo(&self, mut map: Map, present: u64, revision: u64) -> Result<Map, Error> {
        let held = self.held.read().expect("no holder of this lock panics");
        if revision < held.floor {
            return Err(Error::Expired {
                revision,
                oldest: held.floor,
            });
        }
        for event in held
            .events
            .iter()
            .rev()
            .skip_while(|event| event.revision() > present)
        {
            if event.revision() <= revision {
                break;
            }
            match (event.kind, &event.before) {
                (EventKind::Added, _) => {
                    map.remove(&event.key);
                }
                (_, Some(before)) => {
                    map.insert(event.key.clone(), before.clone());
                }
                (_, None) => {
                    return Err(Error::Expired {
                        revision,
                        oldest: event.revision(),
                    });
                }
            }
        }
        Ok(map)
    }
}
