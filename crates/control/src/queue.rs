//! Keys waiting to be reconciled: each at most once, never on two workers at a time, with delays and per-key backoff.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// First and longest wait after a failure; each further failure doubles it.
const FIRST_BACKOFF: Duration = Duration::from_millis(5);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// A queue of keys.
pub struct Queue<T> {
    state: Mutex<State<T>>,
    wake: Notify,
}

struct State<T> {
    ready: VecDeque<T>,
    /// Queued, or to be queued again once its worker is done.
    dirty: HashSet<T>,
    processing: HashSet<T>,
    due: BTreeMap<(Instant, u64), T>,
    delayed: HashMap<T, (Instant, u64)>,
    failures: HashMap<T, u32>,
    sequence: u64,
}

impl<T: Clone + Eq + Hash> Default for Queue<T> {
    fn default() -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            processing: HashSet::new(),
            due: BTreeMap::new(),
            delayed: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
        };
        Self {
            state: Mutex::new(state),
            wake: Notify::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> Queue<T> {
    fn lock(&self) -> std::sync::MutexGuard<'_, State<T>> {
        self.state
            .lock()
            .expect("no holder of the queue lock panics")
    }

    /// Adds a key to be taken as soon as a worker is free.
    pub fn add(&self, key: T) {
        if self.lock().add(key) {
            self.wake.notify_one();
        }
    }

    /// Adds a key after a delay; the earliest of several delays counts.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let mut state = self.lock();
        let at = Instant::now() + delay;
        if let Some(planned) = state.delayed.get(&key).copied() {
            if planned.0 <= at {
                return;
            }
            state.due.remove(&planned);
        }
        state.sequence += 1;
        let slot = (at, state.sequence);
        state.due.insert(slot, key.clone());
        state.delayed.insert(key, slot);
        drop(state);
        self.wake.notify_one();
    }

    /// Adds a key that failed, after a wait that grows with its failures in a row.
    pub fn add_backoff(&self, key: T) {
        let failures = {
            let mut state = self.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            *failures += 1;
            *failures
        };
        self.add_after(key, backoff(failures));
    }

    /// Ends the backoff of a key that succeeded.
    pub fn forget(&self, key: &T) {
        self.lock().failures.remove(key);
    }

    /// Takes the next key; `done` must follow.
    pub async fn take(&self) -> T {
        loop {
            let next_due = {
                let mut state = self.lock();
                state.promote(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.dirty.remove(&key);
                    state.processing.insert(key.clone());
                    if !state.ready.is_empty() || !state.due.is_empty() {
                        self.wake.notify_one();
                    }
                    return key;
                }
                state.due.first_key_value().map(|((at, _), _)| *at)
            };
            match next_due {
                Some(at) => tokio::select! {
                    () = self.wake.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => self.wake.notified().await,
            }
        }
    }

    /// Gives a key back after work on it; it is queued again if it was added meanwhile.
    pub fn done(&self, key: &T) {
        let mut state = self.lock();
        state.processing.remove(key);
        if state.dirty.contains(key) {
            state.ready.push_back(key.clone());
            self.wake.notify_one();
        }
    }

    /// Keys that wait for a worker now.
    pub fn depth(&self) -> usize {
        self.lock().ready.len()
    }
}

impl<T: Clone + Eq + Hash> State<T> {
    fn add(&mut self, key: T) -> bool {
        if !self.dirty.insert(key.clone()) || self.processing.contains(&key) {
            return false;
        }
        self.ready.push_back(key);
        true
    }

    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.due.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            self.delayed.remove(&key);
            self.add(key);
        }
    }
}

fn backoff(failures: u32) -> Duration {
    FIRST_BACKOFF
        .saturating_mul(1 << failures.saturating_sub(1).min(20))
        .min(LONGEST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_added_twice_is_taken_once() {
        let queue = Queue::default();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.take().await, "a");
        assert_eq!(queue.depth(), 0);
    }

    #[tokio::test]
    async fn a_key_added_during_its_work_is_taken_again_afterwards() {
        let queue = Queue::default();
        queue.add("a");
        let key = queue.take().await;
        queue.add("a");
        assert_eq!(queue.depth(), 0, "no second worker may take it now");
        queue.done(&key);
        assert_eq!(queue.take().await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_of_two_delays_counts() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(60));
        queue.add_after("a", Duration::from_secs(2));
        queue.add_after("a", Duration::from_secs(30));
        assert_eq!(queue.take().await, "a");
        assert_eq!(start.elapsed().as_secs(), 2);
        queue.done(&"a");
        assert!(queue.lock().due.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_wait_longer_until_a_success() {
        let queue = Queue::default();
        let mut waits = Vec::new();
        for _ in 0..3 {
            let start = Instant::now();
            queue.add_backoff("a");
            let key = queue.take().await;
            waits.push(start.elapsed());
            queue.done(&key);
        }
        assert!(waits[0] < waits[1] && waits[1] < waits[2], "{waits:?}");
        queue.forget(&"a");
        let start = Instant::now();
        queue.add_backoff("a");
        queue.take().await;
        assert_eq!(start.elapsed(), waits[0]);
        assert_eq!(backoff(40), LONGEST_BACKOFF);
    }
}
