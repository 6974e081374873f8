//! Descriptors and process ids over Unix sockets. A sender's pid arrives as the receiver's own namespace numbers it,
//! which is how the shim learns the host pid of a process that only knows its inner one.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::failure::check;

/// Descriptors that may ride on one message.
pub const MAX_FDS: usize = 8;

/// Sends bytes with descriptors on the first of them; returns how many bytes went.
pub fn send(socket: RawFd, bytes: &[u8], fds: &[RawFd]) -> io::Result<usize> {
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr() as *mut libc::c_void,
        iov_len: bytes.len(),
    };
    let mut control = [0u64; 8];
    // SAFETY: all pointers in the header point to live locals; the control buffer is aligned, and 64 bytes hold the
    // 16 of the header and MAX_FDS descriptors.
    unsafe {
        let mut header: libc::msghdr = mem::zeroed();
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        if !fds.is_empty() {
            assert!(
                fds.len() <= MAX_FDS,
                "a message carries at most {MAX_FDS} descriptors"
            );
            let payload = size_of_val(fds) as u32;
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(payload) as _;
            let first = libc::CMSG_FIRSTHDR(&header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(payload) as _;
            std::ptr::copy_nonoverlapping(
                fds.as_ptr().cast::<u8>(),
                libc::CMSG_DATA(first),
                payload as usize,
            );
        }
        check(libc::sendmsg(socket, &header, libc::MSG_NOSIGNAL) as i64).map(|sent| sent as usize)
    }
}

/// What one receive brought.
#[derive(Debug, Default)]
pub struct Received {
    /// Bytes put into the buffer; 0 is the end.
    pub count: usize,
    /// New descriptors, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// The sender, if the socket asks for it.
    pub sender: Option<i32>,
}

/// Receives bytes and what rides on them.
pub fn receive(socket: RawFd, buffer: &mut [u8]) -> io::Result<Received> {
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut control = [0u64; 16];
    let mut received = Received::default();
    // SAFETY: as in `send`; received descriptors are new and owned by nobody else.
    unsafe {
        let mut header: libc::msghdr = mem::zeroed();
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control) as _;
        received.count =
            check(libc::recvmsg(socket, &mut header, libc::MSG_CMSG_CLOEXEC) as i64)? as usize;
        let mut next = libc::CMSG_FIRSTHDR(&header);
        while !next.is_null() {
            let data = libc::CMSG_DATA(next);
            let length = (*next).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
            match ((*next).cmsg_level, (*next).cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    let fds = data.cast::<RawFd>();
                    for index in 0..length / size_of::<RawFd>() {
                        received
                            .fds
                            .push(OwnedFd::from_raw_fd(fds.add(index).read_unaligned()));
                    }
                }
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) => {
                    received.sender = Some(data.cast::<libc::ucred>().read_unaligned().pid)
                        .filter(|pid| *pid > 0);
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(&header, next);
        }
    }
    Ok(received)
}

/// A pair of connected sockets that keep message boundaries; the first tells who sent.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    let one: libc::c_int = 1;
    // SAFETY: the array has room for the two new descriptors; the option value outlives the call.
    unsafe {
        check(
            libc::socketpair(
                libc::AF_UNIX,
                libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC,
                0,
                fds.as_mut_ptr(),
            )
            .into(),
        )?;
        let (ours, theirs) = (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]));
        let size = size_of_val(&one) as libc::socklen_t;
        check(
            libc::setsockopt(
                ours.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PASSCRED,
                (&raw const one).cast(),
                size,
            )
            .into(),
        )?;
        Ok((ours, theirs))
    }
}

/// A pipe: the end to read and the end to write.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: the array has room for the two new descriptors.
    unsafe {
        check(libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC).into())?;
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

/// An unconnected TCP socket of this process's network namespace, ready for polling.
pub fn tcp_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the returned descriptor is new.
    unsafe {
        let socket = check(libc::socket(libc::AF_INET, kind, 0).into())?;
        Ok(OwnedFd::from_raw_fd(socket as i32))
    }
}

/// Makes reads and writes on a descriptor answer at once.
pub fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: plain flag changes on an open descriptor.
    unsafe {
        let flags = check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL).into())? as i32;
        check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK).into())?;
    }
    Ok(())
}
