//! What each pod did through the relay, for metrics and limits.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What one pod did through the relay since it was first seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Connections open now.
    pub open: u64,
    /// Connections made.
    pub connected: u64,
    /// Attempts the policy refused.
    pub refused: u64,
    /// Attempts that could not be connected.
    pub failed: u64,
    /// Bytes from the pod.
    pub sent_bytes: u64,
    /// Bytes to the pod.
    pub received_bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub open: AtomicU64,
    pub connected: AtomicU64,
    pub refused: AtomicU64,
    pub failed: AtomicU64,
    pub sent: AtomicU64,
    pub received: AtomicU64,
}

impl Counters {
    fn read(&self) -> Usage {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Usage {
            open: value(&self.open),
            connected: value(&self.connected),
            refused: value(&self.refused),
            failed: value(&self.failed),
            sent_bytes: value(&self.sent),
            received_bytes: value(&self.received),
        }
    }
}

/// Counters by pod.
#[derive(Debug, Default)]
pub(crate) struct Usages(Mutex<HashMap<Ipv4Addr, Arc<Counters>>>);

impl Usages {
    pub fn of(&self, pod: Ipv4Addr) -> Arc<Counters> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(pod)
            .or_default()
            .clone()
    }

    pub fn read(&self, pod: Ipv4Addr) -> Usage {
        let pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pods.get(&pod)
            .map(|counters| counters.read())
            .unwrap_or_default()
    }

    /// Forgets a pod that has ended, so that the next one with its address starts from nothing.
    pub fn forget(&self, pod: Ipv4Addr) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&pod);
    }
}
