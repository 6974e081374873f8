//! One watch per kind for the whole process: it fills a cache and tells every interested controller what changed.
//!
//! Handlers run one at a time and in order, while the cache already shows the change; they must be quick and must not
//! write to the informer.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cache::{Cache, Change, Index};

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// A shared watch of one kind.
pub struct Informer<K> {
    cache: Cache<K>,
    /// Also orders cache updates against handler calls.
    handlers: Mutex<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
}

impl<K> Informer<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default,
{
    /// An informer that has not started, with these indexes.
    pub fn new(indexes: Vec<Index<K>>) -> Arc<Self> {
        let (synced, _) = watch::channel(false);
        Arc::new(Self {
            cache: Cache::new(indexes),
            handlers: Mutex::new(Vec::new()),
            synced,
        })
    }

    /// What is known now.
    pub fn cache(&self) -> &Cache<K> {
        &self.cache
    }

    /// Calls `handler` for every change from now on; attach before the start to see all.
    pub fn on_change(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        self.handlers
            .lock()
            .expect("handlers do not panic")
            .push(Box::new(handler));
    }

    /// Waits until the first list is complete.
    pub async fn synced(&self) {
        // The sender lives in self, so waiting cannot fail.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Takes the answer of one of our own writes, so that it is seen before its watch event.
    pub fn note(&self, object: K) {
        self.update(|cache| cache.apply(object).into_iter().collect());
    }

    /// Takes the last state of an object that one of our own writes removed.
    pub fn note_gone(&self, object: K) {
        self.update(|cache| cache.remove(object).into_iter().collect());
    }

    fn update(&self, change: impl FnOnce(&Cache<K>) -> Vec<Change<K>>) {
        let handlers = self.handlers.lock().expect("handlers do not panic");
        for change in change(&self.cache) {
            for handler in handlers.iter() {
                handler(&change);
            }
        }
    }

    /// Watches until shut down; errors are retried with backoff.
    pub async fn run(self: Arc<Self>, api: Api<K>, shutdown: CancellationToken) {
        let kind = K::kind(&K::DynamicType::default()).into_owned();
        let events = watcher(api, watcher::Config::default()).backoff(Pause::default());
        let mut events = std::pin::pin!(events.take_until(shutdown.cancelled_owned()));
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::Init) => self.cache.begin_list(),
                Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                    self.note(lean(object))
                }
                Ok(watcher::Event::Delete(object)) => self.note_gone(lean(object)),
                Ok(watcher::Event::InitDone) => {
                    self.update(Cache::end_list);
                    self.synced.send_replace(true);
                }
                Err(error) => {
                    tracing::warn!(object.kind = kind, error = %objects::chain(&error), "watch of {kind} broke off")
                }
            }
        }
    }
}

/// Nobody here reads managed fields, and they are often the larger half of an object.
fn lean<K: ResourceExt>(mut object: K) -> K {
    object.managed_fields_mut().clear();
    object
}

/// Waits between attempts of a broken watch: 50 ms doubling to 10 s, forgotten after success.
#[derive(Clone, Default)]
pub struct Pause {
    failures: u32,
}

impl Iterator for Pause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = Duration::from_millis(50)
            .saturating_mul(1 << self.failures.min(8))
            .min(Duration::from_secs(10));
        self.failures += 1;
        Some(pause)
    }
}

impl kube::runtime::utils::Backoff for Pause {
    fn reset(&mut self) {
        self.failures = 0;
    }
}
