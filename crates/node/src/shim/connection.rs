//! One caller of the shim: a non-blocking socket, what has arrived on it, and what is still to be sent.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::protocol::{self, Inbox, Reply, Request};
use crate::sandbox::passing;

/// What a connection is waiting for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Nothing yet: versions must be exchanged first.
    Greeting,
    /// Its request.
    Asking,
    /// The answer to its request.
    Waiting,
    /// Every change of a record.
    Watching,
    /// The end of an exec.
    Exec(u64),
    /// A container's streams.
    Attached(String),
}

/// One caller.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    inbox: Inbox,
    outbox: VecDeque<Outgoing>,
    /// What it is waiting for.
    pub purpose: Purpose,
    /// To be closed when everything is sent.
    pub is_finished: bool,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

impl Connection {
    /// Takes over an accepted, non-blocking socket.
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            inbox: Inbox::default(),
            outbox: VecDeque::new(),
            purpose: Purpose::Greeting,
            is_finished: false,
        }
    }

    /// Its descriptor.
    pub fn raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Whether something waits to be sent.
    pub fn has_outgoing(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Reads what has arrived; `false` when the caller is gone.
    pub fn read(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 64 << 10];
        loop {
            match passing::receive(self.socket.as_raw_fd(), &mut buffer) {
                Ok(received) if received.count == 0 => return Ok(false),
                Ok(received) => self.inbox.push(&buffer[..received.count], received.fds),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next whole request with its descriptors.
    pub fn next(&mut self) -> io::Result<Option<(Request, Vec<OwnedFd>)>> {
        Ok(self
            .inbox
            .next()?
            .map(|request| (request, self.inbox.fds.drain(..).collect())))
    }

    /// Queues an answer.
    pub fn answer(&mut self, reply: &Reply, fds: Vec<OwnedFd>) {
        match protocol::encode(reply) {
            Ok(bytes) => self.outbox.push_back(Outgoing {
                bytes,
                sent: 0,
                fds,
            }),
            Err(error) => {
                eprintln!("an answer could not be encoded: {error}");
                self.is_finished = true;
            }
        }
    }

    /// Queues an answer after which there is nothing more to say.
    pub fn finish(&mut self, reply: &Reply) {
        self.answer(reply, Vec::new());
        self.is_finished = true;
    }

    /// Sends what the socket takes; `false` when the caller is gone.
    pub fn flush(&mut self) -> bool {
        while let Some(next) = self.outbox.front_mut() {
            let fds = if next.sent == 0 {
                protocol::raw(&next.fds)
            } else {
                Vec::new()
            };
            match passing::send(self.socket.as_raw_fd(), &next.bytes[next.sent..], &fds) {
                Ok(count) => {
                    next.sent += count;
                    if next.sent == next.bytes.len() {
                        self.outbox.pop_front();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}
