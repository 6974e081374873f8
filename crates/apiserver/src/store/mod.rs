//! Objects as JSON bytes under `(collection, key)`: one writer, immutable snapshots, an event ring per collection.
//!
//! Keeps true: revisions are handed out once and in order; what a snapshot shows, SQLite holds; every event up to
//! [`Store::published`] is in its ring. Knows nothing of kinds, versions or HTTP.

pub mod encode;
pub mod entry;
mod error;
mod log;
mod revisions;
pub mod ring;
pub mod snapshot;
mod update;
mod writer;

#[cfg(test)]
mod model_test;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

pub use encode::Encoded;
pub use entry::Entry;
pub use error::Error;
pub use ring::{Event, EventKind, Ring};
pub use snapshot::{Map, Snapshot};
pub use update::Decision;

use revisions::Published;
use writer::{Command, Write};

/// Number of a collection: all objects of one group and resource. Stable over restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectionId(pub(crate) u32);

/// A collection and the ring its events go to; cheap to clone.
#[derive(Clone, Debug)]
pub struct Collection {
    /// Which objects.
    pub id: CollectionId,
    /// Where their events go.
    pub ring: Arc<Ring>,
}

/// How much of the last second a power cut may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A crash of the process loses nothing, a power cut perhaps the last commits (`synchronous=NORMAL`).
    #[default]
    Normal,
    /// Every answered write is on disk (`synchronous=FULL`).
    Full,
}

/// Where the store lives and how it keeps its promises.
#[derive(Clone, Debug)]
pub struct Config {
    /// The SQLite file.
    pub path: PathBuf,
    /// See [`Durability`].
    pub durability: Durability,
    /// Rows of history kept for watches that resume after a restart.
    pub history_rows: u64,
}

impl Config {
    /// The defaults for a database at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            durability: Durability::Normal,
            history_rows: 20_000,
        }
    }
}

/// The handle everybody holds; the writer thread ends when the last one is closed.
#[derive(Debug)]
pub struct Store {
    commands: mpsc::Sender<Command>,
    state: Arc<Shared>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

/// What the writer publishes and readers read.
#[derive(Debug)]
pub(crate) struct Shared {
    snapshot: ArcSwap<Snapshot>,
    published: Published,
    kept: snapshot::Kept,
    /// Revisions that were leased but never recorded before an unclean end; nobody can resume from inside.
    lost: std::ops::Range<u64>,
    #[cfg(test)]
    crash_before_publish: std::sync::atomic::AtomicBool,
}

impl Store {
    /// Opens or creates the database and starts the writer thread.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let (commands, received) = mpsc::channel(4096);
        let (writer, state) = writer::Writer::open(config, received)
            .map_err(|error| error.while_opening(&config.path))?;
        let thread = std::thread::Builder::new()
            .name("apiserver-store".into())
            .spawn(move || writer.run())
            .map_err(Error::Thread)?;
        Ok(Self {
            commands,
            state,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// The latest published snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.state.snapshot.load_full()
    }

    /// The revision up to which every event is in its ring.
    pub fn published(&self) -> u64 {
        self.state.published.get()
    }

    /// Waits until `revision` is published; false when that takes longer than `limit`.
    pub async fn reached(&self, revision: u64, limit: std::time::Duration) -> bool {
        self.state.published.reached(revision, limit).await
    }

    /// Makes (or finds) the collections of these `(group, resource)` pairs, in that order.
    pub async fn collections(&self, names: &[(String, String)]) -> Result<Vec<Collection>, Error> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Register {
            names: names.to_vec(),
            answer,
        })
        .await?;
        answered.await.map_err(|_| Error::Closed)?
    }

    /// Writes a new object; fails with [`Error::Exists`] when the key is taken.
    pub async fn create(
        &self,
        collection: &Collection,
        key: &str,
        object: Encoded,
    ) -> Result<Arc<Entry>, Error> {
        self.write(Write {
            collection: collection.id,
            key: key.into(),
            expected: None,
            value: Some(object),
        })
        .await
    }

    /// Replaces the object that is at `revision`.
    pub async fn replace(
        &self,
        collection: &Collection,
        key: &str,
        revision: u64,
        object: Encoded,
    ) -> Result<Arc<Entry>, Error> {
        self.write(Write {
            collection: collection.id,
            key: key.into(),
            expected: Some(revision),
            value: Some(object),
        })
        .await
    }

    /// Removes the object that is at `revision`; the event carries it with the deletion's own revision.
    pub async fn remove(
        &self,
        collection: &Collection,
        key: &str,
        revision: u64,
    ) -> Result<Arc<Entry>, Error> {
        self.write(Write {
            collection: collection.id,
            key: key.into(),
            expected: Some(revision),
            value: None,
        })
        .await
    }

    /// Remembers a snapshot for later pages of a list.
    pub fn keep(&self, snapshot: &Arc<Snapshot>) {
        self.state.kept.keep(snapshot);
    }

    /// Lets go of snapshots that no list will ask for any more.
    pub fn forget_old_snapshots(&self) {
        self.state.kept.forget_old();
    }

    /// The state of a collection at `revision`: a kept snapshot, or the present one with newer events undone.
    pub async fn at(&self, collection: &Collection, revision: u64) -> Result<Map, Error> {
        if let Some(kept) = self.state.kept.find(revision) {
            return Ok(kept.map(collection.id).clone());
        }
        if self.state.lost.contains(&revision) {
            return Err(Error::Expired {
                revision,
                oldest: self.state.lost.end,
            });
        }
        let now = self.snapshot();
        // The snapshot is published before its events; undoing needs them all.
        self.reached(now.revision, std::time::Duration::from_secs(3))
            .await;
        collection
            .ring
            .undo(now.map(collection.id).clone(), now.revision, revision)
    }

    /// Whether a watch may start after `revision`.
    pub fn can_resume(&self, collection: &Collection, revision: u64) -> Result<(), Error> {
        if self.state.lost.contains(&revision) {
            return Err(Error::Expired {
                revision,
                oldest: self.state.lost.end,
            });
        }
        collection.ring.can_resume(revision)
    }

    /// Waits until the writer has ended, whether it was closed or failed; nothing can be stored from then on.
    pub async fn ended(&self) {
        self.commands.closed().await;
    }

    /// Ends the writer after what is already queued, and marks the database as cleanly closed.
    pub async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        if self.send(Command::Close { answer }).await.is_ok() {
            let _ = answered.await;
        }
        let thread = self
            .thread
            .lock()
            .expect("no holder of this lock panics")
            .take();
        if let Some(thread) = thread {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    async fn write(&self, write: Write) -> Result<Arc<Entry>, Error> {
        let (answer, answered) = oneshot::channel();
        self.send(Command::Write { write, answer }).await?;
        answered.await.map_err(|_| Error::Closed)?
    }

    async fn send(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).await.map_err(|_| Error::Closed)
    }
}
