//! The holder process itself: single-threaded, started by re-executing our binary, no async runtime. It keeps two
//! namespaces and a folder's lock, and answers on a socket there; it knows nothing of pods, rules or addresses.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, accept4, bind, listen, socket,
};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::wire::{self, Failure, MOST_SOCKETS, PROTOCOL, Reply, Request, SocketKind, Start, Step};
use super::{IdMap, record};
use crate::net::trial;

/// The hidden subcommand. Arguments: the holder's folder, or `--probe` to only try and tell.
pub const SUBCOMMAND: &str = "node-holder";

/// How often a holder without a server looks whether its folder is still there.
const LOOK_FOR_FOLDER_MS: u16 = 10_000;
/// Servers at once: the one that runs and the one that replaces it.
const MOST_SERVERS: usize = 8;

/// Runs the holder; called first thing in `main`, before any thread exists.
pub fn main(arguments: &[String]) -> ExitCode {
    let [place] = arguments else {
        eprintln!("usage: {SUBCOMMAND} FOLDER|--probe (started by the server, not by hand)");
        return ExitCode::from(2);
    };
    let start = io::stdin();
    let started = prepare().and_then(|()| match place.as_str() {
        "--probe" => probe(start.as_fd()).map(|()| None),
        folder => begin(start.as_fd(), Path::new(folder)).map(Some),
    });
    let told = match &started {
        Ok(_) => wire::send(&start, &Start::Ready, &[]),
        Err(failure) => wire::send(&start, &Start::Failed(failure.clone()), &[]),
    };
    match (started, told) {
        (Ok(Some(mut holder)), Ok(())) => {
            detach_from_starter();
            holder.serve();
            ExitCode::SUCCESS
        }
        (Ok(None), Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn failed(step: Step) -> impl Fn(Errno) -> Failure {
    move |errno| Failure {
        step,
        errno: errno as i32,
    }
}

fn failed_io(step: Step) -> impl Fn(io::Error) -> Failure {
    move |error| Failure {
        step,
        errno: error.raw_os_error().unwrap_or(libc::EPROTO),
    }
}

/// Its own session (a terminal's Ctrl-C is not for us), no inherited descriptors, private files.
fn prepare() -> Result<(), Failure> {
    let request = failed(Step::Request);
    // A session leader already: fine.
    let _ = nix::unistd::setsid();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    nix::sys::prctl::set_no_new_privs().map_err(&request)?;
    // SAFETY: nothing in this process owns a descriptor above standard error yet.
    unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    Ok(())
}

/// Standard input was the start conversation; whoever reads it must see its end.
fn detach_from_starter() {
    if let Ok(null) = OpenOptions::new().read(true).write(true).open("/dev/null") {
        // SAFETY: both are open descriptors; 0 is replaced atomically.
        unsafe { libc::dup2(null.as_raw_fd(), 0) };
    }
}

struct Holder {
    ids: IdMap,
    user: File,
    net: File,
    listener: OwnedFd,
    servers: Vec<OwnedFd>,
    /// Its lock says that we live. While it has a name, somebody can find us.
    lock: Flock<File>,
}

fn begin(start: BorrowedFd<'_>, folder: &Path) -> Result<Holder, Failure> {
    let lock_file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(folder.join(record::LOCK))
        .map_err(failed_io(Step::Lock))?;
    let lock = Flock::lock(lock_file, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| failed(Step::Lock)(errno))?;
    let listener = bind_control(folder).map_err(failed_io(Step::Bind))?;
    // As root we are nobody to this folder once we are in the namespace: all files are made before.
    record::write(folder, std::process::id()).map_err(failed_io(Step::Bind))?;

    let ids = enter_namespaces(start)?;
    set_limits();
    let open = |path| File::open(path).map_err(failed_io(Step::NetworkNamespace));
    Ok(Holder {
        ids,
        user: open("/proc/self/ns/user")?,
        net: open("/proc/self/ns/net")?,
        listener,
        servers: Vec::new(),
        lock,
    })
}

/// The socket other servers find us by. The lock is ours, so what lies there is a dead holder's.
fn bind_control(folder: &Path) -> io::Result<OwnedFd> {
    let path = folder.join(record::SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let kind = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, kind, None)?;
    // A folder's path may be longer than a socket's name may be: go by a descriptor of the folder.
    let at = File::open(folder)?;
    bind(
        listener.as_raw_fd(),
        &UnixAddr::new(&record::socket_path(&at))?,
    )?;
    listen(&listener, Backlog::new(16)?)?;
    Ok(listener)
}

/// Makes the namespaces and waits for their id maps, or goes back into those whose network namespace came along.
fn enter_namespaces(start: BorrowedFd<'_>) -> Result<IdMap, Failure> {
    let (begin, mut fds) = hear(&start)?;
    let Start::Begin { ids } = begin else {
        return Err(failed(Step::Request)(Errno::EPROTO));
    };
    if let Some(net) = fds.pop() {
        rejoin(&net).map_err(failed(Step::Rejoin))?;
    } else {
        unshare(CloneFlags::CLONE_NEWUSER).map_err(failed(Step::UserNamespace))?;
        unshare(CloneFlags::CLONE_NEWNET).map_err(failed(Step::NetworkNamespace))?;
        wire::send(&start, &Start::Unshared, &[]).map_err(failed_io(Step::Request))?;
        let (mapped, _) = hear(&start)?;
        if mapped != Start::Mapped {
            return Err(failed(Step::IdMap)(Errno::EPROTO));
        }
    }
    // With a range of ids the process that made the namespace is not one of them yet.
    if ids.uids.count > 1 {
        become_root().map_err(failed(Step::BecomeRoot))?;
    }
    Ok(ids)
}

fn hear(start: &BorrowedFd<'_>) -> Result<(Start, Vec<OwnedFd>), Failure> {
    wire::receive(start)
        .map_err(failed_io(Step::Request))?
        .ok_or_else(|| failed(Step::Request)(Errno::EPIPE))
}

fn rejoin(net: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: plain system call; a non-negative result is a descriptor nobody else owns.
    let user = unsafe { libc::ioctl(net.as_raw_fd(), libc::NS_GET_USERNS) };
    Errno::result(user)?;
    // SAFETY: checked above.
    let user = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(user) };
    setns(user, CloneFlags::CLONE_NEWUSER)?;
    setns(net, CloneFlags::CLONE_NEWNET)
}

fn become_root() -> Result<(), Errno> {
    setgroups(&[])?;
    let (user, group) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(group, group, group)?;
    setresuid(user, user, user)
}

/// Settings of the namespace. All are also said per device or unnecessary, so a read-only `/proc/sys` is no failure.
fn set_limits() {
    for (name, value) in [
        ("ip_forward", "1"),
        ("conf/all/rp_filter", "1"),
        ("conf/all/send_redirects", "0"),
        // Refusals are sent at once, however many there are.
        ("icmp_ratelimit", "0"),
    ] {
        let path = format!("/proc/sys/net/ipv4/{name}");
        if let Err(error) = std::fs::write(&path, value) {
            eprintln!("{SUBCOMMAND}: write {path}: {error} (goes on without)");
        }
    }
}

/// Tries what the node's network needs and ends.
fn probe(start: BorrowedFd<'_>) -> Result<(), Failure> {
    enter_namespaces(start)?;
    trial::veth().map_err(failed(Step::Veth))?;
    trial::rules().map_err(failed(Step::Rules))
}

impl Holder {
    fn serve(&mut self) {
        loop {
            let (mut new, mut ready) = (false, Vec::new());
            {
                let mut polled: Vec<_> = std::iter::once(&self.listener)
                    .chain(&self.servers)
                    .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN))
                    .collect();
                let limit = if self.servers.is_empty() {
                    PollTimeout::from(LOOK_FOR_FOLDER_MS)
                } else {
                    PollTimeout::NONE
                };
                match poll(&mut polled, limit) {
                    Ok(_) => {}
                    Err(Errno::EINTR) => continue,
                    Err(errno) => {
                        eprintln!("{SUBCOMMAND}: wait for requests: {errno}");
                        return;
                    }
                }
                for (index, fd) in polled.iter().enumerate() {
                    if fd.any().unwrap_or(false) {
                        if index == 0 {
                            new = true
                        } else {
                            ready.push(index - 1)
                        }
                    }
                }
            }
            // From the back, so that the indices of those still to come stay right.
            for index in ready.into_iter().rev() {
                match self.answer(index) {
                    After::Listen => {}
                    After::HangUp => drop(self.servers.remove(index)),
                    After::End => return,
                }
            }
            if new {
                self.accept();
            }
            if self.servers.is_empty() && self.is_lost() {
                eprintln!("{SUBCOMMAND}: the folder is gone and no server is here; ending");
                return;
            }
        }
    }

    /// Whether our folder was deleted, so that no server can ever find us again.
    fn is_lost(&self) -> bool {
        nix::sys::stat::fstat(&*self.lock).is_ok_and(|found| found.st_nlink == 0)
    }

    fn accept(&mut self) {
        match accept4(self.listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
            Ok(fd) => {
                // SAFETY: just accepted, nobody else owns it.
                let fd = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) };
                if self.servers.len() < MOST_SERVERS {
                    self.servers.push(fd);
                }
            }
            Err(Errno::EAGAIN | Errno::ECONNABORTED | Errno::EINTR) => {}
            Err(errno) => eprintln!("{SUBCOMMAND}: accept a server: {errno}"),
        }
    }

    fn answer(&self, index: usize) -> After {
        let server = &self.servers[index];
        let request = match wire::receive::<Request>(server) {
            Ok(Some((request, _))) => request,
            Ok(None) => return After::HangUp,
            Err(error) => {
                eprintln!("{SUBCOMMAND}: understand a request: {error}");
                let failure = failed(Step::Request)(Errno::EPROTO);
                return reply(server, &Reply::Failed(failure), &[]);
            }
        };
        match request {
            Request::Hello => reply(
                server,
                &Reply::Hello {
                    protocol: PROTOCOL,
                    ids: self.ids,
                },
                &[],
            ),
            Request::Namespaces => reply(
                server,
                &Reply::Handed,
                &[self.user.as_raw_fd(), self.net.as_raw_fd()],
            ),
            Request::Sockets { kind, count } => match make_sockets(kind, count) {
                Ok(sockets) => {
                    let raw: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
                    reply(server, &Reply::Handed, &raw)
                }
                Err(errno) => reply(server, &Reply::Failed(failed(Step::Socket)(errno)), &[]),
            },
            Request::Shutdown => {
                reply(server, &Reply::Ending, &[]);
                After::End
            }
        }
    }
}

enum After {
    Listen,
    HangUp,
    End,
}

fn reply(server: &OwnedFd, reply: &Reply, fds: &[RawFd]) -> After {
    match wire::send(server, reply, fds) {
        Ok(()) => After::Listen,
        Err(_) => After::HangUp,
    }
}

fn make_sockets(kind: SocketKind, count: usize) -> Result<Vec<OwnedFd>, Errno> {
    if count == 0 || count > MOST_SOCKETS {
        return Err(Errno::EINVAL);
    }
    let (family, of, protocol) = match kind {
        SocketKind::Tcp => (libc::AF_INET, libc::SOCK_STREAM, 0),
        SocketKind::Udp => (libc::AF_INET, libc::SOCK_DGRAM, 0),
        SocketKind::Route => (libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE),
        SocketKind::Netfilter => (libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER),
    };
    // Netlink is spoken in turns, so only the others wait in an event loop.
    let waits = if family == libc::AF_INET {
        libc::SOCK_NONBLOCK
    } else {
        0
    };
    (0..count)
        .map(|_| {
            // SAFETY: plain system call; a non-negative result is a descriptor nobody else owns.
            let fd = unsafe { libc::socket(family, of | libc::SOCK_CLOEXEC | waits, protocol) };
            Errno::result(fd)?;
            // SAFETY: checked above.
            Ok(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) })
        })
        .collect()
}
