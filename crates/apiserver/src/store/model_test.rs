//! The store against a model of twenty lines: random writes, restarts and crashes between commit and publish.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn object(value: u32) -> Encoded {
    Encoded::of(json!({"metadata": {"name": "x"}, "data": {"value": value}}))
}

fn value(entry: &Entry) -> u32 {
    entry.value()["data"]["value"].as_u64().unwrap() as u32
}

async fn open(folder: &std::path::Path) -> (Store, Collection) {
    let store = Store::open(&Config::at(folder.join("db"))).unwrap();
    let collection = store
        .collections(&[("".into(), "things".into())])
        .await
        .unwrap()
        .remove(0);
    (store, collection)
}

#[derive(Clone, Debug)]
enum Step {
    Create(u8, u32),
    Replace(u8, u32),
    ReplaceStale(u8, u32),
    Remove(u8),
    Restart,
    Crash(u8, u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..6u8;
    prop::collection::vec(
        prop_oneof![
            4 => (key.clone(), any::<u32>()).prop_map(|(key, value)| Step::Create(key, value)),
            4 => (key.clone(), any::<u32>()).prop_map(|(key, value)| Step::Replace(key, value)),
            1 => (key.clone(), any::<u32>()).prop_map(|(key, value)| Step::ReplaceStale(key, value)),
            3 => key.clone().prop_map(Step::Remove),
            1 => Just(Step::Restart),
            1 => (key, any::<u32>()).prop_map(|(key, value)| Step::Crash(key, value)),
        ],
        1..40,
    )
}

/// What should be stored, and every event with its revision.
#[derive(Default)]
struct Model {
    objects: BTreeMap<String, (u64, u32)>,
    events: Vec<(u64, EventKind, String)>,
}

impl Model {
    fn put(&mut self, key: &str, revision: u64, value: u32) {
        let kind = if self.objects.contains_key(key) {
            EventKind::Modified
        } else {
            EventKind::Added
        };
        self.objects.insert(key.into(), (revision, value));
        self.events.push((revision, kind, key.into()));
    }

    fn remove(&mut self, key: &str, revision: u64) {
        self.objects.remove(key);
        self.events.push((revision, EventKind::Deleted, key.into()));
    }

    fn check(&self, store: &Store, collection: &Collection) {
        let snapshot = store.snapshot();
        let stored: BTreeMap<String, (u64, u32)> = snapshot
            .map(collection.id)
            .iter()
            .map(|(key, entry)| (key.to_string(), (entry.revision, value(entry))))
            .collect();
        assert_eq!(stored, self.objects);
        let seen: Vec<_> = collection
            .ring
            .after(1, usize::MAX)
            .unwrap()
            .iter()
            .map(|event| (event.revision(), event.kind, event.key.to_string()))
            .collect();
        assert_eq!(
            seen, self.events,
            "no event is lost, doubled or out of order"
        );
        assert!(self.events.is_sorted_by(|a, b| a.0 < b.0), "revisions rise");
    }
}

async fn play(steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, mut collection) = open(folder.path()).await;
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Create(key, wanted) => {
                let key = format!("ns/{key}");
                match store.create(&collection, &key, object(wanted)).await {
                    Ok(entry) => {
                        assert!(!model.objects.contains_key(&key));
                        model.put(&key, entry.revision, wanted);
                    }
                    Err(Error::Exists { .. }) => assert!(model.objects.contains_key(&key)),
                    Err(err) => panic!("{err}"),
                }
            }
            Step::Replace(key, wanted) => {
                let key = format!("ns/{key}");
                let revision = model.objects.get(&key).map_or(7, |(revision, _)| *revision);
                match store
                    .replace(&collection, &key, revision, object(wanted))
                    .await
                {
                    Ok(entry) => model.put(&key, entry.revision, wanted),
                    Err(Error::NotFound { .. }) => assert!(!model.objects.contains_key(&key)),
                    Err(err) => panic!("{err}"),
                }
            }
            Step::ReplaceStale(key, wanted) => {
                let key = format!("ns/{key}");
                let result = store.replace(&collection, &key, 1, object(wanted)).await;
                match model.objects.contains_key(&key) {
                    true => assert!(matches!(result, Err(Error::Conflict { .. }))),
                    false => assert!(matches!(result, Err(Error::NotFound { .. }))),
                }
            }
            Step::Remove(key) => {
                let key = format!("ns/{key}");
                let Some((revision, _)) = model.objects.get(&key).copied() else {
                    continue;
                };
                let entry = store.remove(&collection, &key, revision).await.unwrap();
                let last: Value = entry.value();
                assert_eq!(
                    last["metadata"]["resourceVersion"],
                    entry.revision.to_string()
                );
                model.remove(&key, entry.revision);
            }
            Step::Restart => {
                let before = store.snapshot().revision;
                store.close().await;
                (store, collection) = open(folder.path()).await;
                assert_eq!(
                    store.snapshot().revision,
                    before,
                    "a clean restart skips nothing"
                );
            }
            Step::Crash(key, wanted) => {
                // The commit is on disk, but nobody is told and nothing is published.
                let key = format!("ns/{key}");
                let before = store.snapshot().revision;
                store
                    .state
                    .crash_before_publish
                    .store(true, Ordering::SeqCst);
                let revision = model.objects.get(&key).map(|(revision, _)| *revision);
                let result = match revision {
                    None => store.create(&collection, &key, object(wanted)).await,
                    Some(revision) => {
                        store
                            .replace(&collection, &key, revision, object(wanted))
                            .await
                    }
                };
                assert!(
                    matches!(result, Err(Error::Closed)),
                    "an unpublished write is not answered"
                );
                store.close().await;
                (store, collection) = open(folder.path()).await;
                let entry = store
                    .snapshot()
                    .get(collection.id, &key)
                    .cloned()
                    .expect("what was committed is there");
                assert_eq!(entry.revision, before + 1);
                model.put(&key, entry.revision, wanted);
                assert!(
                    store.snapshot().revision > before + 1,
                    "leased revisions are skipped"
                );
            }
        }
        model.check(&store, &collection);
    }
    store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(steps in steps()) {
        tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(play(steps));
    }
}

#[tokio::test]
async fn a_snapshot_of_the_past_is_the_present_with_later_events_undone() {
    let folder = tempfile::tempdir().unwrap();
    let (store, collection) = open(folder.path()).await;
    let first = store.create(&collection, "a", object(1)).await.unwrap();
    let second = store.create(&collection, "b", object(2)).await.unwrap();
    let third = store
        .replace(&collection, "a", first.revision, object(3))
        .await
        .unwrap();
    store
        .remove(&collection, "b", second.revision)
        .await
        .unwrap();
    let at = |map: Map| {
        map.iter()
            .map(|(key, entry)| (key.to_string(), value(entry)))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        at(store.at(&collection, first.revision).await.unwrap()),
        [("a".into(), 1)]
    );
    assert_eq!(
        at(store.at(&collection, second.revision).await.unwrap()),
        [("a".into(), 1), ("b".into(), 2)]
    );
    assert_eq!(
        at(store.at(&collection, third.revision).await.unwrap()),
        [("a".into(), 3), ("b".into(), 2)]
    );
}

#[tokio::test]
async fn many_writers_share_commits_and_every_revision_is_used_once() {
    let folder = tempfile::tempdir().unwrap();
    let (store, collection) = open(folder.path()).await;
    let store = Arc::new(store);
    let writers: Vec<_> = (0..64)
        .map(|n| {
            let (store, collection) = (store.clone(), collection.clone());
            tokio::spawn(async move {
                store
                    .create(&collection, &format!("{n:02}"), object(n))
                    .await
                    .unwrap()
                    .revision
            })
        })
        .collect();
    let mut revisions = Vec::new();
    for writer in writers {
        revisions.push(writer.await.unwrap());
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (2..66).collect::<Vec<_>>());
}

#[tokio::test]
async fn revisions_lost_in_a_crash_cannot_be_resumed_from() {
    let folder = tempfile::tempdir().unwrap();
    let (store, collection) = open(folder.path()).await;
    let entry = store.create(&collection, "a", object(1)).await.unwrap();
    store
        .state
        .crash_before_publish
        .store(true, Ordering::SeqCst);
    let _ = store.create(&collection, "b", object(2)).await;
    drop(store);
    let (store, collection) = open(folder.path()).await;
    assert!(store.can_resume(&collection, entry.revision).is_ok());
    assert!(matches!(
        store.can_resume(&collection, entry.revision + 50),
        Err(Error::Expired { .. })
    ));
    assert!(
        store
            .can_resume(&collection, store.snapshot().revision)
            .is_ok()
    );
    store.close().await;
}

#[tokio::test]
async fn a_newer_database_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    rusqlite::Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let words = Store::open(&Config::at(&path)).unwrap_err().to_string();
    assert!(words.contains("newer version"), "{words}");
    std::fs::write(
        folder.path().join("bad"),
        "this is no database at all, whatever else it may be",
    )
    .unwrap();
    let words = Store::open(&Config::at(folder.path().join("bad")))
        .unwrap_err()
        .to_string();
    assert!(words.contains("damaged"), "{words}");
}
