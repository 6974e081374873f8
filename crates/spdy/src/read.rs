//! The reading half of a connection: takes frames as they come and gives each stream what is its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;

use crate::buffer::{End, Inbound};
use crate::connection::{Role, Shared, status};
use crate::frame::{Decoder, Error, Frame, Setting};
use crate::headers::Headers;
use crate::stream::Stream;
use crate::window::INITIAL_WINDOW_SETTING;

/// Streams that may be open at one time.
const MAX_STREAMS: usize = 4096;
/// What one stream, and all together, may have buffered before reading pauses.
const STREAM_BYTES: usize = 1 << 20;
const CONNECTION_BYTES: usize = 8 << 20;
/// Read at one go, and the room below which more is made.
const LEAST_BYTES: usize = 4 << 10;
const BATCH_BYTES: usize = 64 << 10;

/// Reads one connection.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    role: Role,
    /// Where new streams go, until the peer says that there are no more.
    accepted: Option<mpsc::Sender<Stream>>,
}

impl Reader {
    pub fn new(shared: Arc<Shared>, role: Role, accepted: mpsc::Sender<Stream>) -> Self {
        Self {
            shared,
            role,
            accepted: Some(accepted),
        }
    }

    /// Reads until the peer closes its side, or sends what cannot be.
    pub async fn run<R: AsyncRead + Unpin>(mut self, mut io: R) -> io::Result<()> {
        let mut decoder = Decoder::default();
        let mut arrived = BytesMut::with_capacity(BATCH_BYTES);
        loop {
            loop {
                match decoder.decode(&mut arrived) {
                    Ok(Some(frame)) => self.take(frame).await?,
                    Ok(None) => break,
                    Err(error) => return Err(fault(error)),
                }
            }
            if arrived.capacity() - arrived.len() < LEAST_BYTES {
                arrived.reserve(BATCH_BYTES);
            }
            if io.read_buf(&mut arrived).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn take(&mut self, frame: Frame) -> io::Result<()> {
        match frame {
            Frame::Data { stream, fin, bytes } => self.data(stream, fin, bytes).await,
            Frame::SynStream {
                stream,
                fin,
                unidirectional,
                headers,
                ..
            } => {
                if let Some(opened) = self.opened(stream, fin, unidirectional, headers)?
                    && let Some(accepted) = &self.accepted
                {
                    // A handler that is gone takes no more streams: dropping one resets it.
                    let _ = accepted.send(opened).await;
                }
            }
            Frame::SynReply { stream, fin, .. } => {
                if let Some(inbound) = self.inbound(stream) {
                    inbound.replied();
                }
                if fin {
                    self.finished(stream);
                }
            }
            Frame::Headers { stream, fin, .. } => {
                if fin {
                    self.finished(stream);
                }
            }
            Frame::RstStream { stream, .. } => {
                let entry = self.shared.state().streams.remove(&stream);
                if let Some(entry) = entry {
                    entry.inbound.end(End::Reset);
                }
                self.shared.wake_writers();
            }
            Frame::Settings { entries, .. } => self.settings(&entries),
            Frame::Ping { id } => {
                let is_answer = (id % 2 == 1) == (self.role == Role::Client);
                if !is_answer {
                    self.shared.control(Frame::Ping { id });
                }
            }
            Frame::GoAway { .. } => {
                self.shared.state().is_going = true;
                self.accepted = None;
            }
            Frame::WindowUpdate { stream, delta } => self.window_update(stream, delta),
        }
        Ok(())
    }

    fn inbound(&self, stream: u32) -> Option<Arc<Inbound>> {
        let state = self.shared.state();
        state
            .streams
            .get(&stream)
            .map(|entry| entry.inbound.clone())
    }

    fn is_of_peer(&self, stream: u32) -> bool {
        (stream % 2 == 1) == (self.role == Role::Server)
    }

    fn opened(
        &self,
        id: u32,
        fin: bool,
        unidirectional: bool,
        headers: Headers,
    ) -> io::Result<Option<Stream>> {
        let mut state = self.shared.state();
        if !self.is_of_peer(id) || id <= state.last_of_peer {
            drop(state);
            return Err(fault(Error::StreamNumber(id)));
        }
        state.last_of_peer = id;
        if state.streams.len() >= MAX_STREAMS || self.accepted.is_none() {
            drop(state);
            self.shared.control(Frame::RstStream {
                stream: id,
                status: status::REFUSED_STREAM,
            });
            return Ok(None);
        }
        let inbound = state.insert(id, unidirectional);
        drop(state);
        if fin {
            inbound.end(End::Finished);
        }
        Ok(Some(Stream::new(id, headers, self.shared.clone(), inbound)))
    }

    async fn data(&self, stream: u32, fin: bool, bytes: Bytes) {
        let count = bytes.len();
        let Some(inbound) = self.inbound(stream) else {
            // What was on its way when a stream ended is no fault.
            if self.is_of_peer(stream) && stream > self.shared.state().last_of_peer {
                self.shared.control(Frame::RstStream {
                    stream,
                    status: status::INVALID_STREAM,
                });
            }
            self.shared.took(count);
            return;
        };
        let cost = inbound.push(&bytes);
        if cost == 0 {
            // Nobody reads it, but it counts against the connection's window all the same.
            self.shared.took(count);
        }
        self.shared.buffered.fetch_add(cost, Ordering::Relaxed);
        if fin {
            self.finished(stream);
        }
        // While its reader is slow the peer has to wait, and with it the other streams: no peer keeps windows.
        while !self.shared.is_gone()
            && (inbound.cost() > STREAM_BYTES
                || self.shared.buffered.load(Ordering::Relaxed) > CONNECTION_BYTES)
        {
            self.shared.has_space.notified().await;
        }
    }

    fn finished(&self, stream: u32) {
        let mut state = self.shared.state();
        let Some(entry) = state.streams.get(&stream) else {
            return;
        };
        let (inbound, is_over) = (entry.inbound.clone(), entry.is_finished);
        if is_over {
            state.streams.remove(&stream);
        }
        drop(state);
        inbound.end(End::Finished);
    }

    fn settings(&self, entries: &[Setting]) {
        let initial = entries
            .iter()
            .rfind(|entry| entry.id == INITIAL_WINDOW_SETTING);
        let Some(setting) = initial else { return };
        let mut state = self.shared.state();
        let change = state.windows.set_initial(setting.value & 0x7fff_ffff);
        for entry in state.streams.values_mut() {
            entry.window = entry.window.saturating_add(change);
        }
        drop(state);
        self.shared.wake_writers();
    }

    fn window_update(&self, stream: u32, delta: u32) {
        let mut guard = self.shared.state();
        let state = &mut *guard;
        if stream == 0 {
            state.windows.taken(delta);
        } else if let Some(entry) = state.streams.get_mut(&stream) {
            entry.window = state.windows.taken_of_stream(entry.window, delta);
        }
        drop(guard);
        self.shared.wake_writers();
    }
}

fn fault(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
