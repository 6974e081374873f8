//! Forking, in a process that has one thread and nothing locked: the child may go on as ordinary code.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::failure::check;

/// Forks; the child runs `work` and never returns. `flags` are `clone` flags: new namespaces, `CLONE_PARENT`.
pub fn clone(flags: i32, work: impl FnOnce() -> Infallible) -> io::Result<i32> {
    let flags = (flags | libc::SIGCHLD) as libc::c_ulong;
    // SAFETY: without CLONE_VM and with no stack given this is fork; there is one thread only (see the module's head).
    // The four arguments after the flags are null on every architecture, so their order does not matter.
    match check(unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, 0usize, 0usize, 0usize) })? {
        0 => {
            let ended = catch_unwind(AssertUnwindSafe(work));
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(if ended.is_err() { 101 } else { 0 }) }
        }
        pid => Ok(pid as i32),
    }
}

/// Ends this process without running anything else.
pub fn exit(code: i32) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(code) }
}

/// Enters the namespace behind a descriptor.
pub fn enter(namespace: BorrowedFd<'_>, kind: i32) -> io::Result<()> {
    // SAFETY: plain system call.
    check(unsafe { libc::setns(namespace.as_raw_fd(), kind) }.into()).map(drop)
}

/// Moves this process into new namespaces.
pub fn unshare(flags: i32) -> io::Result<()> {
    // SAFETY: plain system call.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Closes every descriptor above stderr but those given.
pub fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    let mut keep: Vec<u32> = keep
        .iter()
        .filter(|fd| **fd > 2)
        .map(|fd| *fd as u32)
        .collect();
    keep.sort_unstable();
    let mut from = 3u32;
    for fd in keep {
        if fd > from {
            close_range(from, fd - 1)?;
        }
        from = fd + 1;
    }
    close_range(from, u32::MAX)
}

fn close_range(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: closes descriptors that this process no longer uses; their owners were left behind by the fork.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Becomes `uid` and `gid` in every sense, with these further groups; `None` leaves the groups as they are.
pub fn become_user(uid: u32, gid: u32, groups: Option<&[u32]>) -> io::Result<()> {
    // Raw system calls: the C library's would tell other threads, of which there are none.
    // SAFETY: the slice is valid for its length.
    unsafe {
        if let Some(groups) = groups {
            check(libc::syscall(
                libc::SYS_setgroups,
                groups.len(),
                groups.as_ptr(),
            ))?;
        }
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid))?;
    }
    Ok(())
}

/// Says whether this process may be traced, and whether `/proc/<pid>` belongs to its user.
pub fn set_dumpable(dumpable: bool) {
    // SAFETY: plain system call, which cannot fail with these arguments.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, dumpable as libc::c_ulong, 0, 0, 0) };
}

/// The name `ps` shows.
pub fn set_name(name: &std::ffi::CStr) {
    // SAFETY: the string outlives the call.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// A descriptor that becomes readable when one of `signals` arrives; they are blocked from now on.
pub fn watch_signals(signals: &[i32]) -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: the set is initialised before use; the returned descriptor is new.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in signals {
            libc::sigaddset(&mut set, *signal);
        }
        check(libc::sigprocmask(libc::SIG_SETMASK, &set, std::ptr::null_mut()).into())?;
        let fd = check(libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())?;
        Ok(std::os::fd::OwnedFd::from_raw_fd(fd as i32))
    }
}

/// The next signal waiting at a descriptor of [`watch_signals`].
pub fn next_signal(fd: BorrowedFd<'_>) -> Option<i32> {
    // SAFETY: the structure is plain data and large enough for one record.
    unsafe {
        let mut record: libc::signalfd_siginfo = std::mem::zeroed();
        let size = size_of_val(&record);
        let read = libc::read(fd.as_raw_fd(), (&raw mut record).cast(), size);
        (read == size as isize).then_some(record.ssi_signo as i32)
    }
}

/// Undoes what the runtime and the shim did to signals, as a new program expects.
pub fn reset_signals() {
    // SAFETY: default dispositions are valid for every signal; failures for SIGKILL and SIGSTOP do not matter.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Lets go of the streams this process inherited: whoever reads them waits for the last holder.
pub fn detach_streams() {
    if let Ok(null) = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
    {
        for number in 0..3 {
            // SAFETY: plain system call on an open descriptor.
            unsafe { libc::dup2(null.as_raw_fd(), number) };
        }
    }
}

/// Lets go of stdout only.
pub fn detach_output() {
    if let Ok(null) = std::fs::OpenOptions::new().write(true).open("/dev/null") {
        // SAFETY: plain system call on an open descriptor.
        unsafe { libc::dup2(null.as_raw_fd(), 1) };
    }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ended {
    /// As Kubernetes shows it: the exit code, or 128 + the signal.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// The next child that has ended, if any has.
pub fn reap() -> Option<(i32, Ended)> {
    let mut status = 0;
    // SAFETY: the status outlives the call.
    let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | libc::__WALL) };
    if pid <= 0 {
        return None;
    }
    let ended = if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        Ended {
            code: 128 + signal,
            signal: Some(signal),
        }
    } else {
        Ended {
            code: libc::WEXITSTATUS(status),
            signal: None,
        }
    };
    Some((pid, ended))
}

/// Waits until one of the descriptors is readable (or closed at its other end).
pub fn wait_readable(fds: &[RawFd]) {
    let mut polled: Vec<_> = fds
        .iter()
        .map(|fd| libc::pollfd {
            fd: *fd,
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    // SAFETY: the vector is valid for its length; an interruption is as good as an event to callers.
    unsafe { libc::poll(polled.as_mut_ptr(), polled.len() as libc::nfds_t, -1) };
}
