//! What server and holder say to each other: one JSON request, one JSON reply with descriptors, over a packet
//! socket. Old holders meet new servers, so messages only ever gain fields.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Raised when a holder must be replaced to go on (it is asked at start).
pub(crate) const PROTOCOL: u32 = 1;
/// The kernel passes at most 253 descriptors at once.
pub(crate) const MOST_SOCKETS: usize = 128;
const LARGEST: usize = 4096;

/// A socket to be made in the node's network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SocketKind {
    /// TCP over IPv4.
    Tcp,
    /// UDP over IPv4.
    Udp,
    /// Route netlink.
    Route,
    /// Netfilter netlink.
    Netfilter,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", tag = "ask")]
pub(crate) enum Request {
    /// Who are you?
    Hello,
    /// Make sockets and hand them over.
    Sockets { kind: SocketKind, count: usize },
    /// Hand over descriptors of the user and the network namespace.
    Namespaces,
    /// End.
    Shutdown,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", tag = "answer")]
pub(crate) enum Reply {
    Hello {
        protocol: u32,
        ids: super::IdMap,
    },
    /// The descriptors come with the message.
    Handed,
    Ending,
    Failed(Failure),
}

/// A step that failed in the holder.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Failure {
    pub step: Step,
    pub errno: i32,
}

/// The steps of a holder, for words and remedies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Take the lock in the holder's folder.
    Lock,
    /// Bind the control socket.
    Bind,
    /// Make a user namespace.
    UserNamespace,
    /// Make a network namespace.
    NetworkNamespace,
    /// Go back into the namespaces an earlier holder made.
    Rejoin,
    /// Write the id maps.
    IdMap,
    /// Become the namespace's own root.
    BecomeRoot,
    /// Make a socket.
    Socket,
    /// Make a pair of linked devices.
    Veth,
    /// Add rules with a map and address translation.
    Rules,
    /// Understand the request.
    Request,
}

/// What is said while a holder starts, over its standard input.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", tag = "start")]
pub(crate) enum Start {
    /// Server: begin; ids the maps will have. The network namespace to rejoin comes along, if there is one.
    Begin { ids: super::IdMap },
    /// Holder: the namespaces are there, without maps.
    Unshared,
    /// Server: the maps are written.
    Mapped,
    /// Holder: all is ready.
    Ready,
    /// Holder: it did not work.
    Failed(Failure),
}

/// Sends one message with descriptors.
pub(crate) fn send<T: Serialize>(to: &impl AsFd, message: &T, fds: &[RawFd]) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    let rights = [ControlMessage::ScmRights(fds)];
    let control: &[ControlMessage<'_>] = if fds.is_empty() { &[] } else { &rights };
    let fd = to.as_fd().as_raw_fd();
    sendmsg::<()>(
        fd,
        &[IoSlice::new(&text)],
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(())
}

/// Receives one message with descriptors; `None` when the other side is gone.
pub(crate) fn receive<T: DeserializeOwned>(
    from: &impl AsFd,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut text = [0_u8; LARGEST];
    let mut space = cmsg_space!([RawFd; MOST_SOCKETS]);
    let fd = from.as_fd().as_raw_fd();
    let (length, fds, is_cut) = loop {
        let mut parts = [IoSliceMut::new(&mut text)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<()>(fd, &mut parts, Some(&mut space), flags) {
            Ok(message) => {
                let mut fds = Vec::new();
                for control in message.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(raw) = control {
                        // SAFETY: the kernel has just made these descriptors for us alone.
                        fds.extend(
                            raw.into_iter()
                                .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }),
                        );
                    }
                }
                let cut = MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC;
                break (message.bytes, fds, message.flags.intersects(cut));
            }
            Err(Errno::EINTR) => {}
            Err(Errno::ECONNRESET) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    };
    if length == 0 {
        return Ok(None);
    }
    if is_cut {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "message larger than agreed",
        ));
    }
    Ok(Some((serde_json::from_slice(&text[..length])?, fds)))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )
        .expect("socket pair")
    }

    #[test]
    fn a_batch_of_sockets_arrives_with_its_message() {
        let (ours, theirs) = pair();
        let (sample, _other) = pair();
        let fds = vec![sample.as_raw_fd(); MOST_SOCKETS];
        send(&ours, &Reply::Handed, &fds).expect("sent");
        let (reply, fds) = receive::<Reply>(&theirs)
            .expect("received")
            .expect("not closed");
        assert_eq!((reply, fds.len()), (Reply::Handed, MOST_SOCKETS));
    }

    #[test]
    fn a_closed_peer_is_an_end_and_nonsense_an_error() {
        let (ours, theirs) = pair();
        nix::unistd::write(&ours, b"{\"ask\":\"dance\"}").expect("written");
        assert!(receive::<Request>(&theirs).is_err());
        drop(ours);
        assert!(receive::<Request>(&theirs).expect("an end").is_none());
    }
}
