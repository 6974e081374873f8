//! What arrived on one stream and was not read yet.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};

/// Kept for bookkeeping besides each part's bytes, so that many small parts count as what they cost.
const PART_BYTES: usize = 64;

/// How a stream's incoming half ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The peer said that nothing more comes.
    Finished,
    /// The peer, or this side, ended the stream at once.
    Reset,
    /// The connection is gone.
    Gone,
}

#[derive(Debug, Default)]
struct Parts {
    parts: VecDeque<Bytes>,
    cost: usize,
    end: Option<End>,
    is_replied: bool,
    is_unwanted: bool,
    reader: Option<Waker>,
}

/// The incoming half of a stream.
#[derive(Debug, Default)]
pub(crate) struct Inbound(Mutex<Parts>);

impl Inbound {
    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds bytes; answers by how much the buffered cost rose. Nothing is kept that nobody will read. What is kept is
    /// copied: a few bytes would otherwise hold the whole buffer that they arrived in.
    pub fn push(&self, bytes: &[u8]) -> usize {
        let mut parts = self.lock();
        if bytes.is_empty() || parts.end.is_some() || parts.is_unwanted {
            return 0;
        }
        let cost = bytes.len() + PART_BYTES;
        parts.cost += cost;
        parts.parts.push_back(Bytes::copy_from_slice(bytes));
        wake(parts);
        cost
    }

    /// What is buffered now.
    pub fn cost(&self) -> usize {
        self.lock().cost
    }

    /// Ends the half; the first end counts.
    pub fn end(&self, end: End) {
        let mut parts = self.lock();
        parts.end.get_or_insert(end);
        wake(parts);
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<End> {
        self.lock().end
    }

    /// The peer accepted the stream.
    pub fn replied(&self) {
        let mut parts = self.lock();
        parts.is_replied = true;
        wake(parts);
    }

    /// Drops what is buffered and whatever comes; answers the cost that was freed.
    pub fn discard(&self) -> usize {
        let mut parts = self.lock();
        parts.is_unwanted = true;
        parts.parts.clear();
        std::mem::take(&mut parts.cost)
    }

    /// Takes bytes into `into`. Answers how many, 0 at the end, and by how much the buffered cost fell.
    pub fn poll_take(
        &self,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<(usize, usize)>> {
        let mut parts = self.lock();
        let Some(first) = parts.parts.front_mut() else {
            return match parts.end {
                Some(End::Finished) => Poll::Ready(Ok((0, 0))),
                Some(End::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Some(End::Gone) => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
                None => {
                    parts.reader = Some(context.waker().clone());
                    Poll::Pending
                }
            };
        };
        let count = first.len().min(into.len());
        first.copy_to_slice(&mut into[..count]);
        let mut freed = count;
        if first.is_empty() {
            parts.parts.pop_front();
            freed += PART_BYTES;
        }
        parts.cost -= freed;
        Poll::Ready(Ok((count, freed)))
    }

    /// Waits until the peer accepted the stream.
    pub fn poll_replied(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut parts = self.lock();
        match (parts.is_replied, parts.end) {
            (true, _) | (_, Some(End::Finished)) => Poll::Ready(Ok(())),
            (_, Some(End::Reset)) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            (_, Some(End::Gone)) => Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
            (false, None) => {
                parts.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn wake(mut parts: MutexGuard<'_, Parts>) {
    let reader = parts.reader.take();
    drop(parts);
    if let Some(reader) = reader {
        reader.wake();
    }
}
