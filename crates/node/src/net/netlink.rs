//! Netlink messages and the socket they go through: attributes, acknowledgements, dumps and nftables batches.
//! Knows no meaning of any message; the socket may have been made in another network namespace.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const ERROR_TEXT: u16 = 1; // NLMSGERR_ATTR_MSG
const CAPPED: u16 = 0x100; // NLM_F_CAPPED
const HAS_TEXT: u16 = 0x200; // NLM_F_ACK_TLVS
const NESTED: u16 = 0x8000; // NLA_F_NESTED
/// The kernel answers within microseconds; a silent socket is a bug that must not hang the server.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Netlink refuses a send larger than the socket's buffer (212,992 by default), headers of the buffer included.
pub(crate) const LARGEST_SEND: usize = 128 * 1024;

/// Flags of a message, beside the request flag that every one has.
pub(crate) mod flags {
    pub const REQUEST: u16 = 0x1;
    pub const ACK: u16 = 0x4;
    pub const DUMP: u16 = 0x300;
    pub const EXCL: u16 = 0x200;
    pub const REPLACE: u16 = 0x100;
    pub const CREATE: u16 = 0x400;
    pub const APPEND: u16 = 0x800;
}

/// Why the kernel refused a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub errno: Errno,
    /// The kernel's own words, where it gives any.
    pub text: Option<String>,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { errno, text: None }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)).into()
    }
}

/// A message under construction: netlink header, family header, attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    pub fn new(kind: u16, flags: u16, family_header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | flags::REQUEST).to_ne_bytes());
        bytes.extend_from_slice(family_header);
        pad(&mut bytes);
        Self(bytes)
    }

    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        push_attribute(&mut self.0, kind, value);
        self
    }

    pub fn text(mut self, kind: u16, value: &str) -> Self {
        push_text(&mut self.0, kind, value);
        self
    }

    pub fn number(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_ne_bytes())
    }

    pub fn number_be(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    pub fn nest(mut self, kind: u16, inner: Attributes) -> Self {
        push_attribute(&mut self.0, kind | NESTED, &inner.0);
        self
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn set_flag(&mut self, flag: u16) {
        let now = u16::from_ne_bytes([self.0[6], self.0[7]]);
        self.0[6..8].copy_from_slice(&(now | flag).to_ne_bytes());
    }

    fn finish(&mut self, sequence: u32) {
        let length = u32::try_from(self.0.len()).expect("messages are far below 4 GiB");
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
    }
}

/// The inside of a nested attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes(Vec<u8>);

impl Attributes {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        pad(&mut self.0);
        self
    }

    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        push_attribute(&mut self.0, kind, value);
        self
    }

    pub fn text(mut self, kind: u16, value: &str) -> Self {
        push_text(&mut self.0, kind, value);
        self
    }

    pub fn number_be(self, kind: u16, value: u32) -> Self {
        self.attribute(kind, &value.to_be_bytes())
    }

    pub fn nest(mut self, kind: u16, inner: Attributes) -> Self {
        push_attribute(&mut self.0, kind | NESTED, &inner.0);
        self
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn push_attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).expect("callers keep an attribute below 64 KiB");
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    pad(bytes);
}

fn push_text(bytes: &mut Vec<u8>, kind: u16, value: &str) {
    let mut terminated = value.as_bytes().to_vec();
    terminated.push(0);
    push_attribute(bytes, kind, &terminated);
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Walks attributes: kind without its flags, and value. Stops at the first that does not fit.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of `kind`.
pub(crate) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(k, _)| *k == kind)
        .map(|(_, value)| value)
}

/// A message received: its kind and what follows the netlink header.
struct Received<'a> {
    kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let header = bytes.get(..HEADER)?;
        let word = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().expect("4 bytes"));
        let half = |at: usize| u16::from_ne_bytes(header[at..at + 2].try_into().expect("2 bytes"));
        let length = word(0) as usize;
        let received = Received {
            kind: half(4),
            flags: half(6),
            sequence: word(8),
            body: bytes.get(HEADER..length)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(received)
    })
}

impl Received<'_> {
    /// For an error message: `Ok` for an acknowledgement, else why it was refused.
    fn verdict(&self) -> Result<(), Refusal> {
        let code = self.body.get(0..4).map_or(-libc::EIO, |b| {
            i32::from_ne_bytes(b.try_into().expect("4 bytes"))
        });
        if code == 0 {
            return Ok(());
        }
        let echoed = if self.flags & CAPPED != 0 {
            HEADER
        } else {
            self.body.get(4..8).map_or(0, |b| {
                u32::from_ne_bytes(b.try_into().expect("4 bytes")) as usize
            })
        };
        let text = (self.flags & HAS_TEXT != 0)
            .then(|| self.body.get(4 + echoed.next_multiple_of(4)..))
            .flatten()
            .and_then(|rest| find(rest, ERROR_TEXT))
            .map(|text| {
                String::from_utf8_lossy(text)
                    .trim_end_matches('\0')
                    .to_owned()
            });
        Err(Refusal {
            errno: Errno::from_raw(-code),
            text,
        })
    }
}

/// A netlink socket with one request under way at a time.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// A route socket of the calling thread's own network namespace.
    pub fn open_route() -> io::Result<Self> {
        Self::open(libc::NETLINK_ROUTE)
    }

    /// A socket of `protocol` in the calling thread's own network namespace.
    pub fn open(protocol: libc::c_int) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: plain system call; a non-negative result is a descriptor nobody else owns.
        let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, protocol) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: checked above.
        Self::from_fd(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Takes over a fresh netlink socket, wherever it was made.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let one: libc::c_int = 1;
        let timeout = libc::timeval {
            tv_sec: ANSWER_TIMEOUT.as_secs().try_into().expect("a few seconds"),
            tv_usec: 0,
        };
        set_option(&fd, libc::SOL_NETLINK, libc::NETLINK_CAP_ACK, &one)?;
        set_option(&fd, libc::SOL_NETLINK, libc::NETLINK_EXT_ACK, &one)?;
        set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &timeout)?;
        Ok(Self { fd, sequence: 1 })
    }

    /// Sends one message and waits for its acknowledgement.
    pub fn request(&mut self, message: Message) -> Result<(), Refusal> {
        self.requests(vec![message])
    }

    /// Sends messages together; each is acknowledged by itself, the first refusal is returned.
    pub fn requests(&mut self, mut messages_out: Vec<Message>) -> Result<(), Refusal> {
        let first = self.sequence;
        for message in &mut messages_out {
            message.set_flag(flags::ACK);
        }
        let last = self.send(&mut messages_out)?;
        let mut outcome = Ok(());
        let mut open = last - first + 1;
        while open > 0 {
            self.receive(|received| {
                if received.sequence >= first && received.kind == NLMSG_ERROR {
                    open = open.saturating_sub(1);
                    outcome = outcome.clone().and(received.verdict());
                }
                Ok(())
            })?;
        }
        outcome
    }

    /// Asks for one object and returns what follows the netlink header of its answer.
    pub fn get(&mut self, message: Message) -> Result<Vec<u8>, Refusal> {
        let sequence = self.send(&mut [message])?;
        let mut answer = None;
        while answer.is_none() {
            self.receive(|received| {
                if received.sequence == sequence {
                    if received.kind == NLMSG_ERROR {
                        received.verdict()?;
                    } else {
                        answer.get_or_insert(received.body.to_vec());
                    }
                }
                Ok(())
            })?;
        }
        Ok(answer.expect("the loop ends with an answer"))
    }

    /// Asks for a list and returns each object's bytes after the netlink header.
    pub fn dump(&mut self, mut message: Message) -> Result<Vec<Vec<u8>>, Refusal> {
        message.set_flag(flags::DUMP);
        let sequence = self.send(&mut [message])?;
        let mut objects = Vec::new();
        let mut done = false;
        while !done {
            self.receive(|received| {
                if received.sequence == sequence {
                    match received.kind {
                        NLMSG_DONE => done = true,
                        NLMSG_ERROR => {
                            received.verdict()?;
                            done = true;
                        }
                        _ => objects.push(received.body.to_vec()),
                    }
                }
                Ok(())
            })?;
        }
        Ok(objects)
    }

    /// Sends `begin`, the messages and `end` as one transaction: all or none. Only the last message is
    /// acknowledged when all goes well; refused ones answer for themselves.
    pub fn transaction(
        &mut self,
        begin: Message,
        mut body: Vec<Message>,
        end: Message,
    ) -> Result<(), Refusal> {
        let Some(last) = body.last_mut() else {
            return Ok(());
        };
        last.set_flag(flags::ACK);
        let first = self.sequence;
        let acknowledged = first + u32::try_from(body.len()).expect("few messages");
        let mut all = vec![begin];
        all.append(&mut body);
        all.push(end);
        self.send(&mut all)?;
        let mut outcome = Ok(());
        let mut done = false;
        while !done {
            self.receive(|received| {
                if received.sequence >= first && received.kind == NLMSG_ERROR {
                    outcome = outcome.clone().and(received.verdict());
                    // A refused begin (no nftables, no right) answers alone.
                    done |= received.sequence == acknowledged
                        || (received.sequence == first && outcome.is_err());
                }
                Ok(())
            })?;
        }
        outcome
    }

    fn send(&mut self, messages_out: &mut [Message]) -> Result<u32, Refusal> {
        let mut bytes = Vec::with_capacity(messages_out.iter().map(Message::len).sum());
        let mut sequence = self.sequence;
        for message in messages_out {
            message.finish(self.sequence);
            sequence = self.sequence;
            self.sequence += 1;
            bytes.extend_from_slice(message.bytes());
        }
        // SAFETY: the buffer outlives the call and its length is given.
        let sent =
            unsafe { libc::send(self.fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 {
            return Err(io::Error::last_os_error().into());
        }
        Ok(sequence)
    }

    fn receive(
        &self,
        mut each: impl FnMut(&Received<'_>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut buffer = vec![0_u8; 64 * 1024];
        let length = loop {
            // SAFETY: the buffer outlives the call and its length is given.
            let got = unsafe {
                libc::recv(
                    self.fd.as_raw_fd(),
                    buffer.as_mut_ptr().cast(),
                    buffer.len(),
                    0,
                )
            };
            match usize::try_from(got) {
                Ok(length) => break length,
                Err(_) if Errno::last() == Errno::EINTR => {}
                Err(_) => return Err(Errno::last().into()),
            }
        };
        for received in messages(&buffer[..length]) {
            each(&received)?;
        }
        Ok(())
    }
}

fn set_option<T>(fd: &OwnedFd, level: i32, name: i32, value: &T) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of::<T>()).expect("options are small");
    let value: *const T = value;
    // SAFETY: `value` points at `length` readable bytes.
    let rc = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.cast(), length) };
    if rc == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_to_four_bytes_and_found_again() {
        let nested = Attributes::new().text(1, "veth");
        let message = Message::new(16, 0, &[0; 16])
            .attribute(3, b"abc")
            .nest(18, nested)
            .number(4, 7);
        let body = &message.bytes()[HEADER + 16..];
        assert_eq!(body.len() % 4, 0);
        assert_eq!(find(body, 3), Some(&b"abc"[..]));
        assert_eq!(find(body, 4), Some(&7_u32.to_ne_bytes()[..]));
        assert_eq!(
            find(find(body, 18).expect("nested"), 1),
            Some(&b"veth\0"[..])
        );
        assert_eq!(find(body, 5), None);
    }

    #[test]
    fn a_truncated_attribute_ends_the_walk() {
        assert_eq!(attributes(&[200, 0, 1, 0, 9, 9]).count(), 0);
        assert_eq!(attributes(&[2, 0, 1, 0]).count(), 0);
        assert_eq!(attributes(&[4, 0, 1]).count(), 0);
    }

    #[test]
    fn the_kernel_answers_a_question_about_the_loopback_device() {
        let mut socket = Socket::open_route().expect("route sockets are open to everyone");
        let mut header = [0_u8; 16];
        header[4..8].copy_from_slice(&1_i32.to_ne_bytes());
        let link = socket
            .get(Message::new(libc::RTM_GETLINK, 0, &header))
            .expect("lo is there");
        assert_eq!(find(&link[16..], libc::IFLA_IFNAME), Some(&b"lo\0"[..]));
        header[4..8].copy_from_slice(&i32::MAX.to_ne_bytes());
        let refusal = socket
            .get(Message::new(libc::RTM_GETLINK, 0, &header))
            .unwrap_err();
        assert_eq!(refusal.errno, Errno::ENODEV);
    }
}
