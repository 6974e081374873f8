//! One stream of a connection, as a pair of byte streams.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::PollSender;

use crate::buffer::{End, Inbound};
use crate::connection::{Outgoing, Shared, status};
use crate::frame::Frame;
use crate::headers::Headers;
use crate::window::UPDATE_BYTES;

/// Data in one frame: small enough that streams take turns.
const FRAME_BYTES: usize = 32 << 10;

/// A stream. Shutting it down says that this side sends nothing more. Dropped before that, it is reset; dropped after
/// it, what the peer still sends is thrown away.
#[derive(Debug)]
pub struct Stream {
    id: u32,
    headers: Headers,
    shared: Arc<Shared>,
    inbound: Arc<Inbound>,
    queue: PollSender<Outgoing>,
    is_finished: bool,
    /// Read since the peer was last told.
    taken: usize,
}

impl Stream {
    pub(crate) fn new(
        id: u32,
        headers: Headers,
        shared: Arc<Shared>,
        inbound: Arc<Inbound>,
    ) -> Self {
        let queue = PollSender::new(shared.sender());
        Self {
            id,
            headers,
            shared,
            inbound,
            queue,
            is_finished: false,
            taken: 0,
        }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The headers that it was opened with.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Accepts a stream that the peer opened. Peers wait for this before they send.
    pub fn reply(&self) {
        let reply = Frame::SynReply {
            stream: self.id,
            fin: false,
            headers: Headers::default(),
        };
        self.shared.control(reply);
    }

    /// Waits until the peer has accepted a stream that this side opened.
    pub async fn replied(&self) -> io::Result<()> {
        std::future::poll_fn(|context| self.inbound.poll_replied(context)).await
    }

    /// Ends the stream at once, in both directions.
    pub fn reset(mut self) {
        self.shared.reset(self.id, status::CANCEL);
        self.is_finished = true;
    }

    fn took(&mut self, count: usize, freed: usize) {
        self.shared.freed(freed);
        self.shared.took(count);
        self.taken += count;
        if self.taken >= UPDATE_BYTES {
            let delta = std::mem::take(&mut self.taken) as u32;
            self.shared.control(Frame::WindowUpdate {
                stream: self.id,
                delta,
            });
        }
    }

    fn check(&self) -> io::Result<()> {
        if self.is_finished || self.shared.is_gone() || self.inbound.ended() == Some(End::Reset) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    }

    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.queue
            .poll_reserve(context)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn send(&mut self, fin: bool, bytes: Bytes) -> io::Result<()> {
        let frame = Frame::Data {
            stream: self.id,
            fin,
            bytes,
        };
        self.queue
            .send_item(Outgoing::Frame(frame))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (count, freed) = ready!(
            self.inbound
                .poll_take(context, buffer.initialize_unfilled())
        )?;
        buffer.advance(count);
        self.took(count, freed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_room(context))?;
        let allowed = self
            .shared
            .allow(self.id, bytes.len().min(FRAME_BYTES), context.waker());
        if allowed == 0 {
            // The place in the queue is for somebody who may send.
            self.queue.abort_send();
            return Poll::Pending;
        }
        self.send(false, Bytes::copy_from_slice(&bytes[..allowed]))?;
        Poll::Ready(Ok(allowed))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_finished {
            return Poll::Ready(Ok(()));
        }
        self.check()?;
        ready!(self.poll_room(context))?;
        self.send(true, Bytes::new())?;
        self.is_finished = true;
        self.shared.finished(self.id);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let unread = self.inbound.discard();
        self.shared.freed(unread);
        self.shared.took(unread);
        if !self.is_finished {
            self.shared.reset(self.id, status::CANCEL);
        }
    }
}
