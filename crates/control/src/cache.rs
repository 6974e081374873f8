//! What is known of one kind, with secondary indexes, never going back in time.
//!
//! Besides watch events it takes the answers of our own writes, so a controller sees what it has just created or
//! deleted and needs no bookkeeping of expectations. Events older than what is held, and answers about objects already
//! seen deleted, are ignored.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, RwLock};

use kube::ResourceExt;

use crate::Key;

/// How many uids of deleted objects are remembered; it only has to span the time between a write and its answer.
const TOMBSTONES: usize = 8192;

/// Names a secondary index and says under which values an object is found in it.
pub type Index<K> = (&'static str, fn(&K) -> Vec<String>);

/// A change to one object: before and after, either may be absent.
#[derive(Clone, Debug)]
pub struct Change<K> {
    /// The object as it was held until now.
    pub old: Option<Arc<K>>,
    /// The object as it is now; `None` after its deletion.
    pub new: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// The newest state there is of the object.
    pub fn latest(&self) -> &Arc<K> {
        self.new
            .as_ref()
            .or(self.old.as_ref())
            .expect("a change has at least one side")
    }

    /// The states before and after, those that exist.
    pub fn sides(&self) -> impl Iterator<Item = &Arc<K>> {
        self.old.iter().chain(self.new.iter())
    }
}

/// Objects of one kind in memory.
pub struct Cache<K> {
    indexes: Vec<Index<K>>,
    state: RwLock<State<K>>,
}

struct Entry<K> {
    object: Arc<K>,
    version: u64,
    /// The (re)list during or after which the object was last seen.
    epoch: u64,
}

struct State<K> {
    objects: HashMap<Key, Entry<K>>,
    namespaces: HashMap<String, HashSet<Key>>,
    controllers: HashMap<String, HashSet<Key>>,
    indexed: Vec<HashMap<String, HashSet<Key>>>,
    deleted: HashSet<String>,
    deleted_order: VecDeque<String>,
    epoch: u64,
}

impl<K: ResourceExt> Cache<K> {
    /// An empty cache with these indexes, besides those by namespace and by controlling owner.
    pub fn new(indexes: Vec<Index<K>>) -> Self {
        let state = State {
            objects: HashMap::new(),
            namespaces: HashMap::new(),
            controllers: HashMap::new(),
            indexed: indexes.iter().map(|_| HashMap::new()).collect(),
            deleted: HashSet::new(),
            deleted_order: VecDeque::new(),
            epoch: 0,
        };
        Self {
            indexes,
            state: RwLock::new(state),
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State<K>> {
        self.state
            .read()
            .expect("no holder of the cache lock panics")
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State<K>> {
        self.state
            .write()
            .expect("no holder of the cache lock panics")
    }

    /// The object under a key.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.read()
            .objects
            .get(key)
            .map(|entry| entry.object.clone())
    }

    /// The object of a namespace and name.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.get(&Key::new(namespace, name))
    }

    /// Every object, in no order.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.read()
            .objects
            .values()
            .map(|entry| entry.object.clone())
            .collect()
    }

    /// How many objects are held.
    pub fn len(&self) -> usize {
        self.read().objects.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The objects of one namespace, in order of name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let state = self.read();
        state.collect(state.namespaces.get(namespace))
    }

    /// The objects whose controlling owner has this uid, in order of name.
    pub fn controlled_by(&self, uid: &str) -> Vec<Arc<K>> {
        let state = self.read();
        state.collect(state.controllers.get(uid))
    }

    /// The objects found under a value of a named index, in order of name.
    pub fn by_index(&self, index: &str, value: &str) -> Vec<Arc<K>> {
        let position = self
            .indexes
            .iter()
            .position(|(name, _)| *name == index)
            .expect("the index was declared");
        let state = self.read();
        state.collect(state.indexed[position].get(value))
    }

    /// How many objects are found under a value of a named index.
    pub fn count(&self, index: &str, value: &str) -> usize {
        let position = self
            .indexes
            .iter()
            .position(|(name, _)| *name == index)
            .expect("the index was declared");
        self.read().indexed[position]
            .get(value)
            .map_or(0, HashSet::len)
    }

    /// Takes a state of an object; answers what changed, or `None` if it is not news.
    pub fn apply(&self, object: K) -> Option<Change<K>> {
        let key = Key::of(&object);
        let version = version_of(&object);
        let uid = object.uid().unwrap_or_default();
        let mut state = self.write();
        let epoch = state.epoch;
        if state.deleted.contains(&uid) {
            return None;
        }
        if let Some(entry) = state.objects.get_mut(&key)
            && entry.version >= version
        {
            // Seen again during a relist: it still exists.
            entry.epoch = epoch;
            return None;
        }
        let object = Arc::new(object);
        let old = state.remove(&self.indexes, &key);
        state.insert(
            &self.indexes,
            key,
            Entry {
                object: object.clone(),
                version,
                epoch,
            },
        );
        Some(Change {
            old,
            new: Some(object),
        })
    }

    /// Takes the last state of an object that is gone.
    pub fn remove(&self, object: K) -> Option<Change<K>> {
        let key = Key::of(&object);
        let version = version_of(&object);
        let uid = object.uid().unwrap_or_default();
        let mut state = self.write();
        state.bury(uid.clone());
        match state.objects.get(&key) {
            // A newer object of the same name was seen already: the deletion is of its predecessor.
            Some(entry)
                if entry.version > version && entry.object.uid().as_deref() != Some(&uid) =>
            {
                None
            }
            Some(_) => {
                state.remove(&self.indexes, &key);
                Some(Change {
                    old: Some(Arc::new(object)),
                    new: None,
                })
            }
            None => None,
        }
    }

    /// A list starts: what it does not name will be gone.
    pub fn begin_list(&self) {
        self.write().epoch += 1;
    }

    /// The list is complete: drops what it did not name and says so.
    pub fn end_list(&self) -> Vec<Change<K>> {
        let mut state = self.write();
        let epoch = state.epoch;
        let stale: Vec<Key> = state
            .objects
            .iter()
            .filter(|(_, entry)| entry.epoch < epoch)
            .map(|(key, _)| key.clone())
            .collect();
        let mut changes = Vec::with_capacity(stale.len());
        for key in stale {
            if let Some(old) = state.remove(&self.indexes, &key) {
                state.bury(old.uid().unwrap_or_default());
                changes.push(Change {
                    old: Some(old),
                    new: None,
                });
            }
        }
        changes
    }
}

impl<K: ResourceExt> State<K> {
    fn collect(&self, keys: Option<&HashSet<Key>>) -> Vec<Arc<K>> {
        let Some(keys) = keys else { return Vec::new() };
        let mut keys: Vec<&Key> = keys.iter().collect();
        keys.sort_unstable();
        keys.into_iter()
            .filter_map(|key| self.objects.get(key))
            .map(|entry| entry.object.clone())
            .collect()
    }

    fn insert(&mut self, indexes: &[Index<K>], key: Key, entry: Entry<K>) {
        self.namespaces
            .entry(key.namespace.clone())
            .or_default()
            .insert(key.clone());
        if let Some(owner) = crate::owners::controller_of(entry.object.as_ref()) {
            self.controllers
                .entry(owner.uid.clone())
                .or_default()
                .insert(key.clone());
        }
        for ((_, values), map) in indexes.iter().zip(&mut self.indexed) {
            for value in values(&entry.object) {
                map.entry(value).or_default().insert(key.clone());
            }
        }
        self.objects.insert(key, entry);
    }

    fn remove(&mut self, indexes: &[Index<K>], key: &Key) -> Option<Arc<K>> {
        let object = self.objects.remove(key)?.object;
        unlink(&mut self.namespaces, &key.namespace, key);
        if let Some(owner) = crate::owners::controller_of(object.as_ref()) {
            unlink(&mut self.controllers, &owner.uid, key);
        }
        for ((_, values), map) in indexes.iter().zip(&mut self.indexed) {
            for value in values(&object) {
                unlink(map, &value, key);
            }
        }
        Some(object)
    }

    fn bury(&mut self, uid: String) {
        if !uid.is_empty() && self.deleted.insert(uid.clone()) {
            self.deleted_order.push_back(uid);
            if self.deleted_order.len() > TOMBSTONES
                && let Some(oldest) = self.deleted_order.pop_front()
            {
                self.deleted.remove(&oldest);
            }
        }
    }
}

fn unlink(map: &mut HashMap<String, HashSet<Key>>, value: &str, key: &Key) {
    if let Some(keys) = map.get_mut(value) {
        keys.remove(key);
        if keys.is_empty() {
            map.remove(value);
        }
    }
}

/// Resource versions are decimal and comparable within one kind (KEP-5504); anything else counts as newest.
fn version_of<K: ResourceExt>(object: &K) -> u64 {
    object
        .resource_version()
        .and_then(|version| version.parse().ok())
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn object(name: &str, uid: &str, version: u64) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                namespace: Some("ns".into()),
                name: Some(name.into()),
                uid: Some(uid.into()),
                resource_version: Some(version.to_string()),
                labels: Some([("app".to_owned(), name.to_owned())].into()),
                ..Default::default()
            },
            ..Default::default()
        }
    }

    fn cache() -> Cache<ConfigMap> {
        Cache::new(vec![("app", |object| {
            object.labels().get("app").cloned().into_iter().collect()
        })])
    }

    #[test]
    fn an_older_state_does_not_replace_a_newer_one() {
        let cache = cache();
        assert!(cache.apply(object("a", "1", 5)).is_some());
        assert!(cache.apply(object("a", "1", 4)).is_none());
        assert_eq!(
            cache.find("ns", "a").unwrap().resource_version().as_deref(),
            Some("5")
        );
    }

    #[test]
    fn the_answer_of_a_write_does_not_bring_a_deleted_object_back() {
        let cache = cache();
        cache.apply(object("a", "1", 5));
        assert!(cache.remove(object("a", "1", 7)).is_some());
        assert!(cache.apply(object("a", "1", 6)).is_none());
        assert!(cache.is_empty());
    }

    #[test]
    fn the_deletion_of_a_predecessor_leaves_the_new_object_of_that_name() {
        let cache = cache();
        cache.apply(object("a", "2", 9));
        assert!(cache.remove(object("a", "1", 8)).is_none());
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn a_relist_drops_what_it_does_not_name_and_keeps_what_was_written_meanwhile() {
        let cache = cache();
        cache.apply(object("kept", "1", 1));
        cache.apply(object("gone", "2", 2));
        cache.begin_list();
        cache.apply(object("kept", "1", 1));
        cache.apply(object("written", "3", 9));
        let dropped = cache.end_list();
        assert_eq!(dropped.len(), 1);
        assert_eq!(dropped[0].latest().name_any(), "gone");
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn an_index_follows_the_object() {
        let cache = cache();
        cache.apply(object("a", "1", 1));
        assert_eq!(cache.by_index("app", "a").len(), 1);
        cache.remove(object("a", "1", 2));
        assert_eq!(cache.count("app", "a"), 0);
        assert!(cache.in_namespace("ns").is_empty());
    }
}
