//! Many streams over one connection: one task reads frames into the streams' buffers, one writes what they send.
//!
//! A peer that floods is slowed down by not reading it while too much is buffered; what it makes this side say (pongs,
//! resets) is bounded too, and the connection ends when it is not taken.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::buffer::{End, Inbound};
use crate::frame::Frame;
use crate::headers::Headers;
use crate::read::Reader;
use crate::stream::Stream;
use crate::window::{SendWindows, UPDATE_BYTES};
use crate::write;

/// Streams that wait to be accepted.
const MAX_WAITING: usize = 64;
/// Frames that wait to be written, besides those in `control`.
const MAX_QUEUED: usize = 32;
/// Pongs, resets and window updates that the peer has not taken.
const MAX_CONTROL: usize = 16 << 10;
/// How long the peer has to take what is on its way and close its side, once we have closed ours.
const LINGER: Duration = Duration::from_secs(30);

/// Why streams are reset, and connections ended.
pub(crate) mod status {
    pub const OK: u32 = 0;
    pub const PROTOCOL_ERROR: u32 = 1;
    pub const INVALID_STREAM: u32 = 2;
    pub const REFUSED_STREAM: u32 = 3;
    pub const CANCEL: u32 = 5;
}

/// Which side of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opens streams with odd numbers.
    Client,
    /// Opens streams with even numbers.
    Server,
}

#[derive(Debug)]
pub(crate) enum Outgoing {
    Frame(Frame),
    /// The last thing that is written: a goodbye with this status.
    Close(u32),
}

/// An open stream, as the connection keeps it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub inbound: Arc<Inbound>,
    /// What may still be sent on it.
    pub window: i64,
    /// This side sends nothing more.
    pub is_finished: bool,
}

#[derive(Debug)]
pub(crate) struct State {
    pub streams: HashMap<u32, Entry>,
    /// Frames that go before all others.
    pub control: VecDeque<Frame>,
    /// The number of the next stream that this side opens.
    next: u32,
    /// The newest stream that the peer opened.
    pub last_of_peer: u32,
    pub windows: SendWindows,
    /// Who waits for a window.
    pub writers: Vec<Waker>,
    /// No more streams are opened.
    pub is_going: bool,
}

/// What the two tasks of a connection and its streams share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub has_control: Notify,
    pub has_space: Notify,
    /// What all streams have buffered.
    pub buffered: AtomicUsize,
    /// What was taken of all streams since the peer was last told.
    taken: AtomicUsize,
    outgoing: mpsc::Sender<Outgoing>,
    gone: CancellationToken,
}

/// A connection. Dropping it ends it at once, with all of its streams.
#[derive(Debug)]
pub struct Connection {
    shared: Arc<Shared>,
    waiting: mpsc::Receiver<Stream>,
}

/// Opens streams on a connection.
#[derive(Clone, Debug)]
pub struct Opener(Arc<Shared>);

impl Connection {
    /// Speaks SPDY over `io`, in tasks of its own.
    pub fn start<I>(io: I, role: Role) -> Self
    where
        I: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (outgoing, queued) = mpsc::channel(MAX_QUEUED);
        let (accepted, waiting) = mpsc::channel(MAX_WAITING);
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                streams: HashMap::new(),
                control: VecDeque::new(),
                next: if role == Role::Client { 1 } else { 2 },
                last_of_peer: 0,
                windows: SendWindows::default(),
                writers: Vec::new(),
                is_going: false,
            }),
            has_control: Notify::new(),
            has_space: Notify::new(),
            buffered: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            outgoing,
            gone: CancellationToken::new(),
        });
        let (incoming, outgoing) = tokio::io::split(io);
        let reading = Reader::new(shared.clone(), role, accepted).run(incoming);
        let writing = write::run(shared.clone(), outgoing, queued);
        tokio::spawn(run(shared.clone(), reading, writing));
        Self { shared, waiting }
    }

    /// The next stream that the peer opens; `None` when it opens no more.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.waiting.recv().await
    }

    /// A handle that opens streams.
    pub fn opener(&self) -> Opener {
        Opener(self.shared.clone())
    }

    /// Resolves when the connection is gone.
    pub fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        self.shared.gone.clone().cancelled_owned()
    }

    /// Says goodbye after everything that streams have sent so far, and waits until the peer has taken it.
    pub async fn close(self) {
        if self
            .shared
            .outgoing
            .send(Outgoing::Close(status::OK))
            .await
            .is_ok()
        {
            self.shared.gone.cancelled().await;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.gone.cancel();
    }
}

impl Opener {
    /// Opens a stream. Nothing should be sent on it before [`Stream::replied`].
    pub fn open(&self, headers: Headers) -> io::Result<Stream> {
        let mut state = self.0.state();
        if state.is_going || self.0.gone.is_cancelled() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let id = state.next;
        state.next += 2;
        let inbound = state.insert(id, false);
        let frame = Frame::SynStream {
            stream: id,
            associated: 0,
            priority: 0,
            fin: false,
            unidirectional: false,
            headers: headers.clone(),
        };
        state.control.push_back(frame);
        drop(state);
        self.0.has_control.notify_one();
        Ok(Stream::new(id, headers, self.0.clone(), inbound))
    }
}

/// Reads and writes until one of them ends, then ends all streams.
async fn run(
    shared: Arc<Shared>,
    reading: impl Future<Output = io::Result<()>>,
    writing: impl Future<Output = io::Result<()>>,
) {
    let work = async {
        tokio::pin!(reading, writing);
        tokio::select! {
            ended = &mut reading => {
                if ended.is_err() && shared.outgoing.try_send(Outgoing::Close(status::PROTOCOL_ERROR)).is_ok() {
                    // The peer may learn what it did wrong, if it still listens.
                    let _ = tokio::time::timeout(LINGER, writing).await;
                }
                ended
            }
            ended = &mut writing => {
                // To close before the peer has read everything would lose some of it.
                if ended.is_ok() {
                    let _ = tokio::time::timeout(LINGER, reading).await;
                }
                ended
            }
        }
    };
    if let Some(Err(error)) = shared.gone.run_until_cancelled(work).await {
        tracing::debug!(error = %error, "SPDY connection ended");
    }
    shared.end();
}

impl State {
    pub fn insert(&mut self, id: u32, is_finished: bool) -> Arc<Inbound> {
        let inbound = Arc::new(Inbound::default());
        let window = self.windows.of_new_stream();
        self.streams.insert(
            id,
            Entry {
                inbound: inbound.clone(),
                window,
                is_finished,
            },
        );
        inbound
    }
}

impl Shared {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    pub fn sender(&self) -> mpsc::Sender<Outgoing> {
        self.outgoing.clone()
    }

    /// Queues a small frame before all data. A peer that takes none of them is cut off.
    pub fn control(&self, frame: Frame) {
        let mut state = self.state();
        if state.control.len() >= MAX_CONTROL {
            drop(state);
            tracing::debug!("SPDY peer does not take what it asked for");
            return self.gone.cancel();
        }
        state.control.push_back(frame);
        drop(state);
        self.has_control.notify_one();
    }

    /// Takes up to `wanted` bytes of a stream's window; 0 when there is none, and `waker` is told when there is.
    pub fn allow(&self, stream: u32, wanted: usize, waker: &Waker) -> usize {
        let mut state = self.state();
        let state = &mut *state;
        // A stream that is forgotten has ended; whoever writes to it notices elsewhere.
        let Some(entry) = state.streams.get_mut(&stream) else {
            return wanted;
        };
        let allowed = state.windows.allow(entry.window, wanted);
        if allowed == 0 {
            state.writers.push(waker.clone());
        } else {
            entry.window = state.windows.sent(entry.window, allowed);
        }
        allowed
    }

    /// Bytes of some stream were read or thrown away: room in the connection's own window.
    pub fn took(&self, count: usize) {
        let taken = self.taken.fetch_add(count, Ordering::Relaxed) + count;
        if taken >= UPDATE_BYTES {
            // Taken as one, so that what others add meanwhile is told once, by them or by us.
            let delta = self.taken.swap(0, Ordering::Relaxed) as u32;
            self.control(Frame::WindowUpdate { stream: 0, delta });
        }
    }

    /// Buffered bytes were read or dropped.
    pub fn freed(&self, cost: usize) {
        if cost > 0 {
            self.buffered.fetch_sub(cost, Ordering::Relaxed);
            self.has_space.notify_one();
        }
    }

    /// This side sends nothing more on a stream.
    pub fn finished(&self, stream: u32) {
        let mut state = self.state();
        if let Some(entry) = state.streams.get_mut(&stream) {
            entry.is_finished = true;
            if entry.inbound.ended().is_some() {
                state.streams.remove(&stream);
            }
        }
    }

    /// Ends a stream at once.
    pub fn reset(&self, stream: u32, status: u32) {
        let entry = self.state().streams.remove(&stream);
        if let Some(entry) = entry {
            entry.inbound.end(End::Reset);
            self.control(Frame::RstStream { stream, status });
        }
    }

    /// Wakes whoever waits for a window.
    pub fn wake_writers(&self) {
        let writers = std::mem::take(&mut self.state().writers);
        writers.into_iter().for_each(Waker::wake);
    }

    fn end(&self) {
        self.gone.cancel();
        let mut state = self.state();
        state.is_going = true;
        let streams = std::mem::take(&mut state.streams);
        let writers = std::mem::take(&mut state.writers);
        drop(state);
        for entry in streams.into_values() {
            entry.inbound.end(End::Gone);
        }
        writers.into_iter().for_each(Waker::wake);
        self.has_space.notify_one();
    }
}
