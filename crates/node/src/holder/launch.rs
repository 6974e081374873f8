//! Starting a holder process and finding one that is there. Blocking; called by `Holder` off the event loop.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, socketpair, sockopt,
};
use nix::sys::time::TimeVal;

use super::diagnosis::{Facts, diagnose};
use super::id_map::{self, IdMap};
use super::process::SUBCOMMAND;
use super::record::{self, Process};
use super::wire::{self, Failure, PROTOCOL, Reply, Request, Start, Step};
use super::{Error, Refused};

/// A holder answers in well under a millisecond; starting one takes a few.
const PATIENCE: Duration = Duration::from_secs(5);

/// A conversation with a holder.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    pub process: Process,
    /// Readable once the holder has ended.
    pub pidfd: OwnedFd,
    pub ids: IdMap,
}

impl Connection {
    /// Asks one thing; the descriptors are those that come with the answer.
    pub fn ask(&self, request: &Request) -> Result<(Reply, Vec<OwnedFd>), Error> {
        ask(&self.socket, request)
    }
}

fn ask(socket: &OwnedFd, request: &Request) -> Result<(Reply, Vec<OwnedFd>), Error> {
    let talk = |source| match io::Error::kind(&source) {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Error::Gone,
        _ => Error::Talk(source),
    };
    wire::send(socket, request, &[]).map_err(talk)?;
    match wire::receive(socket).map_err(talk)?.ok_or(Error::Gone)? {
        (Reply::Failed(Failure { step, errno }), _) => Err(refused(step, Errno::from_raw(errno))),
        answer => Ok(answer),
    }
}

fn refused(step: Step, errno: Errno) -> Error {
    Error::Refused(diagnose(step, errno, &Facts::gather()))
}

/// Makes the holder's folder, or checks that it is ours alone.
pub(crate) fn prepare_folder(folder: &Path) -> Result<(), Error> {
    let failed = |source| Error::Folder {
        folder: folder.to_owned(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    let found = std::fs::metadata(folder).map_err(failed)?;
    if found.uid() != nix::unistd::geteuid().as_raw() || found.mode() & 0o077 != 0 {
        return Err(Error::NotPrivate(folder.to_owned()));
    }
    Ok(())
}

/// Keeps others from starting a holder in the same folder meanwhile.
pub(crate) fn lock_start(folder: &Path) -> Result<Flock<File>, Error> {
    let failed = |source| Error::Folder {
        folder: folder.to_owned(),
        source,
    };
    let file = open_lock(&folder.join("start.lock")).map_err(failed)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
}

/// Connects to the holder that lives in the folder; `None` if there is none. One that is just ending, or whose
/// server was killed before it was ready, is given a moment to go.
pub(crate) fn find(folder: &Path) -> Result<Option<Connection>, Error> {
    let begun = Instant::now();
    loop {
        match find_once(folder) {
            Err(Error::Gone) if begun.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5))
            }
            Err(Error::Gone) => {
                let process = record::read(folder).map_err(|source| Error::Folder {
                    folder: folder.to_owned(),
                    source,
                })?;
                return Err(Error::Stuck { pid: process.pid });
            }
            outcome => return outcome,
        }
    }
}

fn find_once(folder: &Path) -> Result<Option<Connection>, Error> {
    let failed = |source| Error::Folder {
        folder: folder.to_owned(),
        source,
    };
    let lock = open_lock(&folder.join(record::LOCK)).map_err(failed)?;
    match Flock::lock(lock, FlockArg::LockSharedNonblock) {
        Ok(_) => return Ok(None),
        Err((_, Errno::EWOULDBLOCK)) => {}
        Err((_, errno)) => return Err(failed(errno.into())),
    }
    let process = match record::read(folder) {
        Ok(process) => process,
        // It has the lock and writes its record next.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::Gone),
        Err(error) => return Err(failed(error)),
    };
    connect_to(folder, process).map(Some)
}

fn connect_to(folder: &Path, process: Process) -> Result<Connection, Error> {
    let at = File::open(folder).map_err(|source| Error::Folder {
        folder: folder.to_owned(),
        source,
    })?;
    let talk = |errno: Errno| Error::Talk(errno.into());
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).map_err(talk)?;
    let address = UnixAddr::new(&record::socket_path(&at)).map_err(talk)?;
    connect(socket.as_raw_fd(), &address).map_err(|errno| match errno {
        Errno::ENOENT | Errno::ECONNREFUSED => Error::Gone,
        other => talk(other),
    })?;
    be_patient(&socket).map_err(talk)?;
    let (reply, _) = ask(&socket, &Request::Hello)?;
    let Reply::Hello { protocol, ids } = reply else {
        return Err(Error::Nonsense);
    };
    if protocol > PROTOCOL {
        return Err(Error::Newer { protocol });
    }
    let pidfd = open_pidfd(process)?;
    Ok(Connection {
        socket,
        process,
        pidfd,
        ids,
    })
}

fn be_patient(socket: &OwnedFd) -> nix::Result<()> {
    let limit = TimeVal::new(PATIENCE.as_secs().try_into().unwrap_or(5), 0);
    setsockopt(socket, sockopt::ReceiveTimeout, &limit)?;
    setsockopt(socket, sockopt::SendTimeout, &limit)
}

fn open_pidfd(process: Process) -> Result<OwnedFd, Error> {
    // SAFETY: plain system call; a non-negative result is a descriptor nobody else owns.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, process.pid, 0) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(match Errno::last() {
            Errno::ESRCH => Error::Gone,
            errno => Error::Talk(errno.into()),
        });
    }
    // SAFETY: checked above.
    let fd = unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) };
    // The number may have gone to another process before we opened it.
    if process.is_alive() {
        Ok(fd)
    } else {
        Err(Error::Gone)
    }
}

/// Waits until the process behind a pidfd has ended.
pub(crate) fn wait_for_end(pidfd: &OwnedFd) -> Result<(), Error> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let limit = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let mut polled = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut polled, limit) {
            Ok(1..) => return Ok(()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::Talk(errno.into())),
        }
    }
    Err(Error::Talk(Errno::ETIMEDOUT.into()))
}

/// Where a holder is started.
#[derive(Debug)]
pub(crate) enum Place<'a> {
    Folder(&'a Path),
    /// Only try what is needed, in no folder.
    Probe,
}

/// Starts a holder and waits until it is ready; with `rejoin`, in the namespaces of that network namespace.
pub(crate) fn launch(
    executable: &Path,
    place: &Place<'_>,
    rejoin: Option<BorrowedFd<'_>>,
) -> Result<(), Error> {
    let ids = own_ids()?;
    let talk = |errno: Errno| Error::Talk(errno.into());
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .map_err(talk)?;
    be_patient(&ours).map_err(talk)?;
    let mut child = spawn(executable, place, theirs)?;
    let pid = child.id();
    let outcome = converse(&ours, pid, ids, rejoin);
    drop(ours);
    if outcome.is_err() {
        // It ends by itself when the conversation ends; only one that hangs needs more.
        let _ = child.kill();
        let _ = child.wait();
        return outcome;
    }
    // Reaps the holder if it ends before the server does. It lives on after the server.
    std::thread::Builder::new()
        .name("holder-reaper".into())
        .spawn(move || child.wait())
        .map_err(Error::Talk)?;
    Ok(())
}

fn spawn(executable: &Path, place: &Place<'_>, start: OwnedFd) -> Result<Child, Error> {
    let (argument, log) = match place {
        Place::Folder(folder) => {
            let log = OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(folder.join("holder.log"))
                .map_err(|source| Error::Folder {
                    folder: (*folder).to_owned(),
                    source,
                })?;
            (folder.as_os_str().to_owned(), Stdio::from(log))
        }
        Place::Probe => ("--probe".into(), Stdio::null()),
    };
    Command::new(executable)
        .arg(SUBCOMMAND)
        .arg(argument)
        .env_clear()
        .current_dir("/")
        .stdin(start)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|source| Error::Spawn {
            executable: executable.to_owned(),
            source,
        })
}

fn own_ids() -> Result<IdMap, Error> {
    let read = |path: &str| std::fs::read_to_string(path).map_err(Error::Talk);
    let owner = id_map::Owner {
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        uid_map: &read("/proc/self/uid_map")?,
        gid_map: &read("/proc/self/gid_map")?,
    };
    id_map::choose(&owner).ok_or_else(|| refused(Step::IdMap, Errno::EINVAL))
}

fn converse(
    start: &OwnedFd,
    pid: u32,
    ids: IdMap,
    rejoin: Option<BorrowedFd<'_>>,
) -> Result<(), Error> {
    let fds: Vec<_> = rejoin.iter().map(AsRawFd::as_raw_fd).collect();
    wire::send(start, &Start::Begin { ids }, &fds).map_err(Error::Talk)?;
    loop {
        let Some((said, _)) = wire::receive::<Start>(start).map_err(Error::Talk)? else {
            return Err(Error::Silent);
        };
        match said {
            Start::Unshared => {
                write_maps(pid, ids).map_err(|e| refused(Step::IdMap, errno_of(&e)))?;
                wire::send(start, &Start::Mapped, &[]).map_err(Error::Talk)?;
            }
            Start::Ready => return Ok(()),
            Start::Failed(Failure { step, errno }) => {
                return Err(refused(step, Errno::from_raw(errno)));
            }
            Start::Begin { .. } | Start::Mapped => return Err(Error::Nonsense),
        }
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

fn write_maps(pid: u32, ids: IdMap) -> io::Result<()> {
    let file = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
    if ids.gids.count == 1 {
        // The kernel's condition for letting an ordinary user map its group.
        std::fs::write(file("setgroups"), "deny")?;
    }
    std::fs::write(file("uid_map"), ids.uids.to_string())?;
    std::fs::write(file("gid_map"), ids.gids.to_string())
}

/// Tries what the node's network needs on this machine.
pub(crate) fn probe(executable: &Path) -> Result<(), Error> {
    launch(executable, &Place::Probe, None)
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}
