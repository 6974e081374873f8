//! The published revision, and waiting for one.

use std::time::Duration;

use tokio::sync::watch;

/// The revision up to which snapshot and rings are complete.
#[derive(Debug)]
pub(crate) struct Published(watch::Sender<u64>);

impl Published {
    pub(crate) fn new(revision: u64) -> Self {
        Self(watch::Sender::new(revision))
    }

    pub(crate) fn get(&self) -> u64 {
        *self.0.borrow()
    }

    pub(crate) fn set(&self, revision: u64) {
        self.0.send_replace(revision);
    }

    pub(crate) async fn reached(&self, revision: u64, limit: Duration) -> bool {
        let mut seen = self.0.subscribe();
        tokio::time::timeout(limit, seen.wait_for(|now| *now >= revision))
            .await
            .is_ok_and(|waited| waited.is_ok())
    }
}
