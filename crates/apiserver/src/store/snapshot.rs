//! An immutable picture of every collection at one revision, and the few pictures kept for lists under way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{CollectionId, Entry};

/// The objects of one collection by key (`namespace/name`, or `name`).
pub type Map = imbl::OrdMap<Arc<str>, Arc<Entry>>;

/// How long a later page of a list finds its snapshot.
const KEEP: Duration = Duration::from_secs(75);

/// Every collection at one revision.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The revision of the last write it shows.
    pub revision: u64,
    pub(super) maps: Vec<Map>,
}

impl Snapshot {
    /// The objects of a collection.
    pub fn map(&self, id: CollectionId) -> &Map {
        static EMPTY: std::sync::LazyLock<Map> = std::sync::LazyLock::new(Map::new);
        self.maps.get(id.0 as usize).unwrap_or(&EMPTY)
    }

    /// One object.
    pub fn get(&self, id: CollectionId, key: &str) -> Option<&Arc<Entry>> {
        self.map(id).get(key)
    }
}

/// The entries whose keys begin with `prefix`, from `start` on.
pub fn range<'a>(
    map: &'a Map,
    prefix: &'a str,
    start: &str,
) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<Entry>)> {
    let from: Arc<str> = if start.is_empty() {
        prefix.into()
    } else {
        start.into()
    };
    map.range(from..)
        .take_while(move |(key, _)| key.starts_with(prefix))
}

/// Snapshots by revision, forgotten after [`KEEP`].
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<BTreeMap<u64, (Instant, Arc<Snapshot>)>>);

impl Kept {
    pub(super) fn keep(&self, snapshot: &Arc<Snapshot>) {
        self.forget_old();
        let mut kept = self.0.lock().expect("no holder of this lock panics");
        kept.entry(snapshot.revision)
            .or_insert_with(|| (Instant::now(), snapshot.clone()));
    }

    pub(super) fn forget_old(&self) {
        let mut kept = self.0.lock().expect("no holder of this lock panics");
        kept.retain(|_, (since, _)| since.elapsed() < KEEP);
    }

    pub(super) fn find(&self, revision: u64) -> Option<Arc<Snapshot>> {
        let kept = self.0.lock().expect("no holder of this lock panics");
        kept.get(&revision).map(|(_, snapshot)| snapshot.clone())
    }
}
