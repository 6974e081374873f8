//! The one writer. It takes what is waiting, checks each precondition against its own latest view, hands out
//! consecutive revisions, commits once, then publishes snapshot, events and answers in that order.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};

use super::log::{Log, Op, checkpoint_loop};
use super::{
    Collection, CollectionId, Config, Encoded, Entry, Error, Event, EventKind, Ring, Shared,
    Snapshot,
};

/// Writes that share one commit.
const GROUP: usize = 256;
/// Revisions recorded ahead with a synced commit, so that none is handed out twice after a power cut.
const LEASE: u64 = 100_000;
/// History rows removed per step, so that no commit waits long for it.
const COMPACT_ROWS: u64 = 512;
/// Commits between two checkpoints.
const COMMITS_PER_CHECKPOINT: u32 = 256;
/// History read back into the rings at start.
const REPLAY_BYTES: usize = 32 << 20;

/// One change, checked against the writer's view: `expected` is the revision seen, or none for a creation;
/// no `value` removes.
pub(crate) struct Write {
    pub(crate) collection: CollectionId,
    pub(crate) key: Arc<str>,
    pub(crate) expected: Option<u64>,
    pub(crate) value: Option<Encoded>,
}

type Answer = oneshot::Sender<Result<Arc<Entry>, Error>>;

pub(crate) enum Command {
    Write {
        write: Write,
        answer: Answer,
    },
    Register {
        names: Vec<(String, String)>,
        answer: oneshot::Sender<Result<Vec<Collection>, Error>>,
    },
    Close {
        answer: oneshot::Sender<()>,
    },
}

pub(crate) struct Writer {
    log: Log,
    commands: mpsc::Receiver<Command>,
    shared: Arc<Shared>,
    head: Snapshot,
    ids: HashMap<(String, String), CollectionId>,
    rings: Vec<Arc<Ring>>,
    lease: u64,
    history_rows: u64,
    /// Rows of history in the database.
    logged: u64,
    commits: u32,
    checkpoint: std::sync::mpsc::Sender<()>,
    #[cfg(test)]
    has_crashed: bool,
}

impl Writer {
    pub(crate) fn open(
        config: &Config,
        commands: mpsc::Receiver<Command>,
    ) -> Result<(Self, Arc<Shared>), Error> {
        let mut log = Log::open(&config.path, config.durability)?;
        let mut ids = HashMap::new();
        let mut size = 0;
        for (id, group, resource) in log.collections()? {
            ids.insert((group, resource), CollectionId(id));
            size = size.max(id as usize + 1);
        }
        let recorded = log.last_revision()?.max(1);
        // A clean close lowers the lease to the last revision; otherwise what was leased may have been seen.
        let revision = log.meta("lease")?.unwrap_or(1).max(recorded);
        let mut head = Snapshot {
            revision,
            maps: vec![Default::default(); size],
        };
        log.objects(|collection, key, revision, bytes| {
            if let Some(map) = head.maps.get_mut(collection as usize) {
                map.insert(key.into(), Arc::new(Entry::new(revision, bytes)));
            }
        })?;
        let rings = replay(&log, config.history_rows, size, recorded)?;
        let lost = if revision > recorded {
            recorded + 1..revision
        } else {
            0..0
        };
        let logged = log.rows()?;
        let (checkpoint, wake) = std::sync::mpsc::channel();
        let path = config.path.clone();
        std::thread::Builder::new()
            .name("apiserver-checkpoint".into())
            .spawn(move || checkpoint_loop(&path, &wake))
            .map_err(Error::Thread)?;
        log.set_meta_synced("lease", revision + LEASE)?;
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(head.clone()),
            published: super::Published::new(revision),
            kept: Default::default(),
            lost,
            #[cfg(test)]
            crash_before_publish: Default::default(),
        });
        let writer = Self {
            log,
            commands,
            shared: shared.clone(),
            ids,
            rings,
            lease: revision + LEASE,
            history_rows: config.history_rows,
            logged,
            commits: 0,
            checkpoint,
            head,
            #[cfg(test)]
            has_crashed: false,
        };
        Ok((writer, shared))
    }

    pub(crate) fn run(mut self) {
        let mut group = Vec::with_capacity(GROUP);
        while let Some(first) = self.commands.blocking_recv() {
            let mut next = Some(first);
            while let Some(command) = next.take() {
                match command {
                    Command::Write { write, answer } => group.push((write, answer)),
                    Command::Register { names, answer } => {
                        self.commit(&mut group);
                        let _ = answer.send(self.register(&names));
                    }
                    Command::Close { answer } => {
                        self.commit(&mut group);
                        if let Err(err) = self.log.set_meta_synced("lease", self.head.revision) {
                            tracing::error!(error = %err, "marking the object database as cleanly closed");
                        }
                        let _ = answer.send(());
                        return;
                    }
                }
                if group.len() < GROUP {
                    next = self.commands.try_recv().ok();
                }
            }
            self.commit(&mut group);
            #[cfg(test)]
            if self.has_crashed {
                return;
            }
            self.compact();
        }
    }

    fn register(&mut self, names: &[(String, String)]) -> Result<Vec<Collection>, Error> {
        let mut added = Vec::new();
        let mut found = Vec::with_capacity(names.len());
        for name in names {
            let next = CollectionId((self.rings.len() + added.len()) as u32);
            let id = *self.ids.entry(name.clone()).or_insert_with(|| {
                added.push((next.0, name.0.clone(), name.1.clone()));
                next
            });
            found.push(id);
        }
        if !added.is_empty() {
            self.log.add_collections(&added)?;
            for _ in &added {
                self.rings.push(Arc::new(Ring::new(1)));
                self.head.maps.push(Default::default());
            }
            self.shared.snapshot.store(Arc::new(self.head.clone()));
        }
        Ok(found
            .into_iter()
            .map(|id| Collection {
                id,
                ring: self.rings[id.0 as usize].clone(),
            })
            .collect())
    }

    fn commit(&mut self, group: &mut Vec<(Write, Answer)>) {
        if group.is_empty() {
            return;
        }
        let group = std::mem::take(group);
        let mut staged = Staged::new(self.head.clone());
        let (writes, answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        match self.stage(&mut staged, writes) {
            Ok(results) => {
                #[cfg(test)]
                if self
                    .shared
                    .crash_before_publish
                    .load(std::sync::atomic::Ordering::SeqCst)
                {
                    self.has_crashed = true;
                    return;
                }
                self.publish(staged);
                for (answer, result) in answers.into_iter().zip(results) {
                    let _ = answer.send(result);
                }
            }
            Err(Error::Database(err)) => {
                tracing::error!(error = %err, "committing a group of writes");
                for answer in answers {
                    let _ = answer.send(Err(Error::Database(err.clone())));
                }
            }
            Err(_) => drop(answers),
        }
    }

    /// Everything up to and including the commit; on an error nothing of the group is stored.
    fn stage(
        &mut self,
        staged: &mut Staged,
        writes: Vec<Write>,
    ) -> Result<Vec<Result<Arc<Entry>, Error>>, Error> {
        if self.head.revision + writes.len() as u64 >= self.lease {
            let lease = self.head.revision + writes.len() as u64 + LEASE;
            self.log.set_meta_synced("lease", lease)?;
            self.lease = lease;
        }
        self.log.begin()?;
        let staging = (|| {
            let mut results = Vec::with_capacity(writes.len());
            for write in writes {
                results.push(match staged.check(&write) {
                    Ok(before) => Ok(staged.write(&self.log, write, before)?),
                    Err(refused) => Err(refused),
                });
            }
            if staged.events.is_empty() {
                self.log.roll_back()
            } else {
                self.log.commit()?
            };
            Ok(results)
        })();
        if staging.is_err() {
            self.log.roll_back();
        }
        staging
    }

    fn publish(&mut self, staged: Staged) {
        if staged.events.is_empty() {
            return;
        }
        self.logged += staged.events.len() as u64;
        self.head = staged.head;
        self.shared.snapshot.store(Arc::new(self.head.clone()));
        let mut per_ring: HashMap<CollectionId, Vec<Arc<Event>>> = HashMap::new();
        for (collection, event) in staged.events {
            per_ring
                .entry(collection)
                .or_default()
                .push(Arc::new(event));
        }
        for (collection, events) in per_ring {
            self.rings[collection.0 as usize].push(events);
        }
        self.shared.published.set(self.head.revision);
        self.commits += 1;
        if self.commits >= COMMITS_PER_CHECKPOINT {
            self.commits = 0;
            let _ = self.checkpoint.send(());
        }
    }

    /// Forgets the oldest history beyond what is kept, a bounded piece at a time.
    fn compact(&mut self) {
        let surplus = self.logged.saturating_sub(self.history_rows);
        if surplus < COMPACT_ROWS {
            return;
        }
        match self.log.compact(surplus.min(COMPACT_ROWS * 2)) {
            Ok(removed) => self.logged -= removed as u64,
            Err(err) => tracing::warn!(error = %err, "compacting history"),
        }
    }
}

/// The state a group of writes leads to, before it is committed.
struct Staged {
    head: Snapshot,
    events: Vec<(CollectionId, Event)>,
}

impl Staged {
    fn new(head: Snapshot) -> Self {
        Self {
            head,
            events: Vec::new(),
        }
    }

    fn check(&self, write: &Write) -> Result<Option<Arc<Entry>>, Error> {
        let key = || write.key.to_string();
        match (self.head.get(write.collection, &write.key), write.expected) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(Error::Exists { key: key() }),
            (None, Some(_)) => Err(Error::NotFound { key: key() }),
            (Some(current), Some(expected)) if current.revision == expected => {
                Ok(Some(current.clone()))
            }
            (Some(_), Some(_)) => Err(Error::Conflict { key: key() }),
        }
    }

    fn write(
        &mut self,
        log: &Log,
        write: Write,
        before: Option<Arc<Entry>>,
    ) -> Result<Arc<Entry>, Error> {
        let revision = self.head.revision + 1;
        let previous = before.as_ref().map_or(0, |entry| entry.revision);
        let map = &mut self.head.maps[write.collection.0 as usize];
        let (op, kind, bytes) = match (&write.value, &before) {
            (Some(object), None) => (Op::Create, EventKind::Added, object.at(revision)),
            (Some(object), Some(_)) => (Op::Change, EventKind::Modified, object.at(revision)),
            (None, Some(last)) => (
                Op::Remove,
                EventKind::Deleted,
                Encoded::reopen(&last.bytes, last.revision).at(revision),
            ),
            (None, None) => unreachable!("a removal names the revision it saw, so there is one"),
        };
        log.record(
            revision,
            write.collection.0,
            &write.key,
            op,
            previous,
            &bytes,
        )?;
        let entry = Arc::new(Entry::new(revision, bytes));
        match op {
            Op::Remove => map.remove(&write.key),
            Op::Create | Op::Change => map.insert(write.key.clone(), entry.clone()),
        };
        self.head.revision = revision;
        self.events.push((
            write.collection,
            Event::new(kind, write.key, entry.clone(), before),
        ));
        Ok(entry)
    }
}

/// Fills fresh rings with the recorded history; what lies before it cannot be resumed from.
fn replay(log: &Log, rows: u64, size: usize, recorded: u64) -> Result<Vec<Arc<Ring>>, Error> {
    let history = log.history(rows, REPLAY_BYTES)?;
    let floor = history.first().map_or(recorded, |row| row.revision - 1);
    let mut events: Vec<Vec<Arc<Event>>> = vec![Vec::new(); size];
    let mut seen: HashMap<(u32, String), Arc<Entry>> = HashMap::new();
    for row in history {
        let entry = Arc::new(Entry::new(row.revision, row.bytes));
        let place = (row.collection, row.key);
        let before = seen
            .get(&place)
            .filter(|known| known.revision == row.previous)
            .cloned();
        let kind = match row.op {
            Op::Create => EventKind::Added,
            Op::Change => EventKind::Modified,
            Op::Remove => EventKind::Deleted,
        };
        if let Some(events) = events.get_mut(row.collection as usize) {
            events.push(Arc::new(Event::new(
                kind,
                place.1.as_str().into(),
                entry.clone(),
                before,
            )));
        }
        seen.insert(place, entry);
    }
    Ok(events
        .into_iter()
        .map(|events| {
            let ring = Ring::new(floor);
            ring.push(events);
            Arc::new(ring)
        })
        .collect())
}
