//! The shim's wire: frames of `u32 length (big endian) | JSON`, descriptors riding on a frame's first byte.
//!
//! A connection opens with a version exchange and then carries one request; its answers follow on the same connection.
//! The version rises when a field stops being optional; both sides also speak the one before.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::spec::{ContainerRecord, ContainerSpec, ContainerUsage, ExecSpec};

/// The version this program writes.
pub const NEWEST: u32 = 1;
/// The oldest version this program still reads.
pub const OLDEST: u32 = 1;
/// Longest frame: a container with a full environment (2 MiB) and room to spare.
pub const MAX_FRAME_BYTES: usize = 4 << 20;

/// What the server asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "op", content = "with")]
pub enum Request {
    /// Opens every connection.
    Hello {
        /// Oldest version the caller speaks.
        oldest: u32,
        /// Newest version the caller speaks.
        newest: u32,
    },
    /// Give the pod's end of its veth its address and routes.
    ConfigureNetwork {
        /// The pod's address.
        address: Ipv4Addr,
        /// The node's address, where everything is sent.
        gateway: Ipv4Addr,
    },
    /// Start a container; answered when its command was executed or could not be.
    Start(Box<ContainerSpec>),
    /// Send a signal to a container's main process.
    #[serde(rename_all = "camelCase")]
    Signal {
        /// Which container.
        container: String,
        /// Signal number.
        signal: i32,
    },
    /// SIGTERM, the grace, SIGKILL; answered when the container (or all of them) has ended.
    #[serde(rename_all = "camelCase")]
    Stop {
        /// Which container; all of them when absent.
        container: Option<String>,
        /// How long to wait before SIGKILL.
        grace_ms: u64,
    },
    /// Run a second process. With a terminal the answer carries its master side; otherwise the request carries
    /// stdin, stdout and stderr, those that were asked for, in that order.
    Exec(Box<ExecSpec>),
    /// Copy a container's output from now on. The request carries the write ends for stdout and stderr (one with a
    /// terminal); the answer carries its stdin, if it has one.
    #[serde(rename_all = "camelCase")]
    Attach {
        /// Which container.
        container: String,
        /// Whether stdin is wanted.
        stdin: bool,
        /// Whether stdout is wanted.
        stdout: bool,
        /// Whether stderr is wanted.
        stderr: bool,
    },
    /// Close a container's stdin.
    CloseStdin {
        /// Which container.
        container: String,
    },
    /// Make unconnected TCP sockets in the pod's network namespace; the answer carries them.
    Sockets,
    /// All records now, then each change.
    Subscribe,
    /// What each running container uses.
    Usage,
    /// Kill what still runs and end the shim.
    Shutdown,
}

/// What the shim answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "re", content = "with")]
pub enum Reply {
    /// The version to be spoken.
    Hello {
        /// Chosen version.
        version: u32,
    },
    /// Sockets, as descriptors on this frame.
    Sockets,
    /// Done.
    Done,
    /// Refused or failed.
    Failed {
        /// In words.
        message: String,
    },
    /// A record: the answer to `Start`, and each change under `Subscribe`.
    Record(Box<ContainerRecord>),
    /// All records, the first answer to `Subscribe`.
    Records(Vec<ContainerRecord>),
    /// A second process runs (or a stream is attached).
    #[serde(rename_all = "camelCase")]
    Streaming {
        /// Its host pid, for `Exec`.
        pid: Option<i32>,
        /// Whether the container has a terminal.
        tty: bool,
    },
    /// The second process ended.
    #[serde(rename_all = "camelCase")]
    ExecEnded {
        /// Exit code, or 128 + the signal.
        exit_code: i32,
    },
    /// Answer to `Usage`.
    Usage(Vec<ContainerUsage>),
}

/// Encodes one frame.
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(message)?;
    if body.len() > MAX_FRAME_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("message of {} bytes is too long for a shim", body.len()),
        ));
    }
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&(body.len() as u32).to_be_bytes());
    frame.extend_from_slice(&body);
    Ok(frame)
}

/// Collects bytes and descriptors until a frame is whole.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    /// Descriptors received so far and not yet taken.
    pub fds: VecDeque<OwnedFd>,
}

impl Inbox {
    /// Adds what was received.
    pub fn push(&mut self, bytes: &[u8], fds: Vec<OwnedFd>) {
        self.bytes.extend_from_slice(bytes);
        self.fds.extend(fds);
    }

    /// Takes the next whole message, if there is one.
    pub fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(header) = self.bytes.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*header) as usize;
        if length > MAX_FRAME_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("frame of {length} bytes"),
            ));
        }
        if self.bytes.len() < 4 + length {
            return Ok(None);
        }
        let message = serde_json::from_slice(&self.bytes[4..4 + length])?;
        self.bytes.drain(..4 + length);
        Ok(Some(message))
    }
}

/// Raw numbers of descriptors that stay owned by the caller.
pub fn raw(fds: &[OwnedFd]) -> Vec<RawFd> {
    fds.iter().map(AsRawFd::as_raw_fd).collect()
}
