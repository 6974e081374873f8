//! What the processes of a starting container tell the shim, one message per packet.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use super::passing;
use super::process::Ended;
use super::user::Identity;

/// One message. The sender's host pid comes with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// The sender is the container's (or the exec's) first process.
    Here,
    /// Set up; carries the container's user, mount and PID namespaces, and its terminal's master side if it has one.
    Ready(Identity),
    /// The command was executed.
    Started,
    /// Something before the command could not be done.
    SetupFailed(String),
    /// The command could not be executed: the message, and the exit code a shell would give.
    CommandFailed(String, i32),
    /// The command ended.
    Ended(Ended),
}

/// Sends one message.
pub fn send(to: BorrowedFd<'_>, report: &Report, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let fds: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    passing::send(to.as_raw_fd(), &serde_json::to_vec(report)?, &fds).map(drop)
}

/// One received message.
#[derive(Debug)]
pub struct Message {
    /// What it says.
    pub report: Report,
    /// What it carries.
    pub fds: Vec<OwnedFd>,
    /// Host pid of its sender.
    pub sender: Option<i32>,
}

/// Receives one message; `None` when every sender is gone.
pub fn receive(from: BorrowedFd<'_>) -> io::Result<Option<Message>> {
    let mut buffer = vec![0; 64 << 10];
    let received = passing::receive(from.as_raw_fd(), &mut buffer)?;
    if received.count == 0 {
        return Ok(None);
    }
    let report = serde_json::from_slice(&buffer[..received.count])?;
    Ok(Some(Message {
        report,
        fds: received.fds,
        sender: received.sender,
    }))
}
