//! The server's handle on one pod's shim. It holds no state but where the shim is: each request has a connection of its
//! own, so a handle made by `adopt` after a crash is as good as the one `start` returned.
//! One file because the two ends of one conversation (asking and hearing events) share its state.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, Interest};
use tokio::net::unix::pipe;
use tokio::net::{TcpSocket, UnixStream};

use super::disk;
use super::input::{ExecInput, Terminal};
use super::protocol::{self, Inbox, Reply, Request};
use super::spec::{ContainerPhase, ContainerRecord, ContainerSpec, ContainerUsage, ExecSpec};
use crate::sandbox::passing;

/// Why a shim could not be asked, or what it answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The shim could not be started.
    #[error("starting the shim of pod {pod}: {message}")]
    Start {
        /// `namespace/name`.
        pod: String,
        /// What the shim said, or why it said nothing.
        message: String,
    },
    /// The shim could not be reached: it is dead, or its folder is gone.
    #[error("talking to the shim in {}", dir.display())]
    Unreachable {
        /// The pod's folder.
        dir: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The shim refused or failed, in its own words.
    #[error("{0}")]
    Refused(String),
    /// Shim and server share no version of the protocol, or one of them broke it.
    #[error("the shim in {} answered {answer}: it is from another version; delete the pod to replace it", dir.display())]
    Protocol {
        /// The pod's folder.
        dir: PathBuf,
        /// What came.
        answer: String,
    },
    /// Descriptors for streams could not be made.
    #[error("making the streams of a process")]
    Streams(#[source] io::Error),
    /// The pod's folder could not be read or written.
    #[error("using the pod's folder {}", dir.display())]
    Folder {
        /// The pod's folder.
        dir: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// A pod whose shim is alive. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pod {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    identity: disk::Identity,
    /// Names the shim for good, even after its pid was reused.
    pidfd: OwnedFd,
}

impl Pod {
    pub(super) fn new(dir: &Path, identity: disk::Identity, pidfd: OwnedFd) -> Self {
        Self {
            inner: Arc::new(Inner {
                dir: dir.to_owned(),
                identity,
                pidfd,
            }),
        }
    }

    /// The pod's folder.
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Host pid of the shim.
    pub fn shim_pid(&self) -> i32 {
        self.inner.identity.pid
    }

    /// Host pid of the process that holds the pod's namespaces: `/proc/<pid>/ns/net` is where its veth goes.
    /// `None` for a pod without isolation.
    pub fn namespace_pid(&self) -> Option<i32> {
        self.inner.identity.pause_pid
    }

    /// The node's network namespace as this shim holds it, for a new holder to join when the old one died.
    pub fn node_network(&self) -> Option<PathBuf> {
        let fd = self.inner.identity.node_net_fd?;
        Some(PathBuf::from(format!(
            "/proc/{}/fd/{fd}",
            self.inner.identity.pid
        )))
    }

    /// Waits until the shim has ended, however it ended. Its containers have ended with it.
    pub async fn gone(&self) -> io::Result<()> {
        let watched = self.inner.pidfd.try_clone()?;
        // SAFETY: the descriptor is owned by the registration and nobody else closes it.
        let readable = unsafe { AsyncFd::register_with_interest(watched, Interest::READABLE) }?;
        readable.readable().await.map(drop)
    }

    /// Gives the pod's end of its veth its address and routes; the node's end must be attached already.
    pub async fn configure_network(
        &self,
        address: Ipv4Addr,
        gateway: Ipv4Addr,
    ) -> Result<(), Error> {
        self.ask_done(&Request::ConfigureNetwork { address, gateway })
            .await
    }

    /// Starts a container. `Ok` with phase `Exited` and reason `StartError` when its command could not be executed.
    pub async fn start_container(&self, spec: ContainerSpec) -> Result<ContainerRecord, Error> {
        match self.ask(&Request::Start(Box::new(spec)), &[]).await? {
            (Reply::Record(record), _) => Ok(*record),
            (other, _) => Err(self.unexpected(&other)),
        }
    }

    /// Sends a signal to a container's main process.
    pub async fn signal(&self, container: &str, signal: i32) -> Result<(), Error> {
        self.ask_done(&Request::Signal {
            container: container.to_owned(),
            signal,
        })
        .await
    }

    /// SIGTERM, up to `grace`, SIGKILL; returns when the container has ended. The shim keeps the clock, so the container
    /// ends in time even if the server dies meanwhile.
    pub async fn stop_container(&self, container: &str, grace: Duration) -> Result<(), Error> {
        self.ask_done(&Request::Stop {
            container: Some(container.to_owned()),
            grace_ms: grace.as_millis() as u64,
        })
        .await
    }

    /// The same for all containers at once. The shim stays, for logs, records and further starts.
    pub async fn stop(&self, grace: Duration) -> Result<(), Error> {
        self.ask_done(&Request::Stop {
            container: None,
            grace_ms: grace.as_millis() as u64,
        })
        .await
    }

    /// Kills what still runs and ends the shim; returns when it is gone. Files stay until [`super::remove`].
    pub async fn shutdown(&self) -> Result<(), Error> {
        match self.ask_done(&Request::Shutdown).await {
            // It may be gone before its answer is read.
            Ok(()) | Err(Error::Unreachable { .. }) => {}
            Err(other) => return Err(other),
        }
        self.gone().await.map_err(|source| self.unreachable(source))
    }

    /// Runs a second process in a running container.
    pub async fn exec(&self, spec: ExecSpec) -> Result<Exec, Error> {
        if spec.tty {
            let mut connection = self.connect().await?;
            connection.send(&Request::Exec(Box::new(spec)), &[]).await?;
            let (reply, mut fds) = connection.receive().await?;
            let pid = self.streaming(reply)?.0;
            let master = fds
                .pop()
                .ok_or_else(|| self.unexpected(&"a terminal without a descriptor"))?;
            let terminal = Terminal::new(master).map_err(Error::Streams)?;
            let copy = terminal.try_clone().map_err(Error::Streams)?;
            return Ok(Exec {
                pid,
                stdin: Some(ExecInput::Terminal(copy)),
                stdout: Some(Box::new(terminal)),
                stderr: None,
                exit: ExecExit {
                    connection,
                    dir: self.inner.dir.clone(),
                },
            });
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for (wanted, is_input) in [
            (spec.stdin, true),
            (spec.stdout, false),
            (spec.stderr, false),
        ] {
            ours.push(if wanted {
                Some(pipe_pair(is_input, &mut theirs)?)
            } else {
                None
            });
        }
        let mut connection = self.connect().await?;
        connection
            .send(&Request::Exec(Box::new(spec)), &protocol::raw(&theirs))
            .await?;
        drop(theirs);
        let (reply, _) = connection.receive().await?;
        let pid = self.streaming(reply)?.0;
        let mut ours = ours.into_iter();
        let mut next = || ours.next().flatten();
        let stdin = next()
            .map(|fd| pipe::Sender::from_owned_fd(fd).map(ExecInput::Pipe))
            .transpose()
            .map_err(Error::Streams)?;
        let mut reader = || next().map(boxed_reader).transpose().map_err(Error::Streams);
        Ok(Exec {
            pid,
            stdin,
            stdout: reader()?,
            stderr: reader()?,
            exit: ExecExit {
                connection,
                dir: self.inner.dir.clone(),
            },
        })
    }

    /// Joins a running container's streams from now on.
    pub async fn attach(
        &self,
        container: &str,
        stdin: bool,
        stdout: bool,
        stderr: bool,
    ) -> Result<Attached, Error> {
        let mut theirs = Vec::new();
        let ours_out = if stdout {
            Some(pipe_pair(false, &mut theirs)?)
        } else {
            None
        };
        let ours_err = if stderr {
            Some(pipe_pair(false, &mut theirs)?)
        } else {
            None
        };
        let mut connection = self.connect().await?;
        let request = Request::Attach {
            container: container.to_owned(),
            stdin,
            stdout,
            stderr,
        };
        connection.send(&request, &protocol::raw(&theirs)).await?;
        drop(theirs);
        let (reply, mut fds) = connection.receive().await?;
        let tty = self.streaming(reply)?.1;
        let stdin = match fds.pop() {
            Some(fd) if tty => Some(ExecInput::Terminal(
                Terminal::new(fd).map_err(Error::Streams)?,
            )),
            Some(fd) => Some(ExecInput::Pipe(
                pipe::Sender::from_owned_fd(fd).map_err(Error::Streams)?,
            )),
            None => None,
        };
        Ok(Attached {
            tty,
            stdin,
            stdout: ours_out
                .map(boxed_reader)
                .transpose()
                .map_err(Error::Streams)?,
            stderr: ours_err
                .map(boxed_reader)
                .transpose()
                .map_err(Error::Streams)?,
            _connection: connection,
        })
    }

    /// Closes a container's stdin.
    pub async fn close_stdin(&self, container: &str) -> Result<(), Error> {
        self.ask_done(&Request::CloseStdin {
            container: container.to_owned(),
        })
        .await
    }

    /// Unconnected TCP sockets in the pod's own network, where loopback is the pod's. Some of them at a time, since
    /// each request costs the shim a process.
    pub async fn sockets(&self) -> Result<Vec<TcpSocket>, Error> {
        match self.ask(&Request::Sockets, &[]).await? {
            (Reply::Sockets, fds) => Ok(fds
                .into_iter()
                .map(|fd| TcpSocket::from_std_stream(fd.into()))
                .collect()),
            (other, _) => Err(self.unexpected(&other)),
        }
    }

    /// All records now and then each change, none missed between.
    pub async fn subscribe(&self) -> Result<(Vec<ContainerRecord>, Records), Error> {
        let mut connection = self.connect().await?;
        connection.send(&Request::Subscribe, &[]).await?;
        match connection.receive().await? {
            (Reply::Records(records), _) => Ok((
                records,
                Records {
                    connection,
                    dir: self.inner.dir.clone(),
                },
            )),
            (other, _) => Err(self.unexpected(&other)),
        }
    }

    /// Waits until the newest attempt of a container has ended.
    pub async fn wait(&self, container: &str) -> Result<ContainerRecord, Error> {
        let (now, mut later) = self.subscribe().await?;
        if let Some(newest) = now.into_iter().rfind(|record| record.name == container)
            && newest.phase == ContainerPhase::Exited
        {
            return Ok(newest);
        }
        while let Some(record) = later.next().await? {
            if record.name == container && record.phase == ContainerPhase::Exited {
                return Ok(record);
            }
        }
        let ended = disk::records(&self.inner.dir).map_err(|source| Error::Folder {
            dir: self.inner.dir.clone(),
            source,
        })?;
        disk::without_shim(ended)
            .into_iter()
            .rfind(|record| record.name == container)
            .ok_or_else(|| Error::Refused(format!("container {container} was never started")))
    }

    /// What each running container uses.
    pub async fn usage(&self) -> Result<Vec<ContainerUsage>, Error> {
        match self.ask(&Request::Usage, &[]).await? {
            (Reply::Usage(usage), _) => Ok(usage),
            (other, _) => Err(self.unexpected(&other)),
        }
    }

    async fn connect(&self) -> Result<Connection, Error> {
        // Through a descriptor: a socket's address has room for 107 bytes only, a data folder's path may be longer.
        let attempt = async {
            let folder = File::open(&self.inner.dir)?;
            UnixStream::connect(format!(
                "/proc/self/fd/{}/{}",
                folder.as_raw_fd(),
                disk::SOCKET
            ))
            .await
        };
        let stream = attempt.await.map_err(|source| self.unreachable(source))?;
        let mut connection = Connection {
            stream,
            inbox: Inbox::default(),
            dir: self.inner.dir.clone(),
        };
        connection
            .send(
                &Request::Hello {
                    oldest: protocol::OLDEST,
                    newest: protocol::NEWEST,
                },
                &[],
            )
            .await?;
        match connection.receive().await? {
            (Reply::Hello { .. }, _) => Ok(connection),
            (other, _) => Err(self.unexpected(&other)),
        }
    }

    async fn ask(&self, request: &Request, fds: &[RawFd]) -> Result<(Reply, Vec<OwnedFd>), Error> {
        let mut connection = self.connect().await?;
        connection.send(request, fds).await?;
        connection.receive().await
    }

    async fn ask_done(&self, request: &Request) -> Result<(), Error> {
        match self.ask(request, &[]).await? {
            (Reply::Done, _) => Ok(()),
            (other, _) => Err(self.unexpected(&other)),
        }
    }

    fn streaming(&self, reply: Reply) -> Result<(Option<i32>, bool), Error> {
        match reply {
            Reply::Streaming { pid, tty } => Ok((pid, tty)),
            other => Err(self.unexpected(&other)),
        }
    }

    fn unexpected(&self, answer: &dyn std::fmt::Debug) -> Error {
        Error::Protocol {
            dir: self.inner.dir.clone(),
            answer: format!("{answer:?}"),
        }
    }

    fn unreachable(&self, source: io::Error) -> Error {
        Error::Unreachable {
            dir: self.inner.dir.clone(),
            source,
        }
    }
}

/// Changes of a pod's records, in order.
#[derive(Debug)]
pub struct Records {
    connection: Connection,
    dir: PathBuf,
}

impl Records {
    /// The next change; `None` when the shim is gone (then [`super::adopt`] tells how things ended).
    pub async fn next(&mut self) -> Result<Option<ContainerRecord>, Error> {
        match self.connection.receive().await {
            Ok((Reply::Record(record), _)) => Ok(Some(*record)),
            Ok((other, _)) => Err(Error::Protocol {
                dir: self.dir.clone(),
                answer: format!("{other:?}"),
            }),
            Err(Error::Unreachable { .. }) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

/// A second process and its streams.
pub struct Exec {
    /// Its host pid.
    pub pid: Option<i32>,
    /// Write here; dropping it is end-of-file (not with a terminal).
    pub stdin: Option<ExecInput>,
    /// Everything it prints; with a terminal stderr too.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// What it prints on stderr.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Tells how it ended. Dropping it kills the process if that was asked.
    pub exit: ExecExit,
}

impl std::fmt::Debug for Exec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exec")
            .field("pid", &self.pid)
            .finish_non_exhaustive()
    }
}

/// The end of a second process.
#[derive(Debug)]
pub struct ExecExit {
    connection: Connection,
    dir: PathBuf,
}

impl ExecExit {
    /// Waits for the end; the exit code, or 128 + the signal.
    pub async fn wait(mut self) -> Result<i32, Error> {
        match self.connection.receive().await? {
            (Reply::ExecEnded { exit_code }, _) => Ok(exit_code),
            (other, _) => Err(Error::Protocol {
                dir: self.dir,
                answer: format!("{other:?}"),
            }),
        }
    }
}

/// A running container's streams. Dropping it detaches.
pub struct Attached {
    /// Whether the container has a terminal.
    pub tty: bool,
    /// Its stdin, if it keeps one open.
    pub stdin: Option<ExecInput>,
    /// What it prints from now on; with a terminal stderr too.
    pub stdout: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// What it prints on stderr from now on.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    _connection: Connection,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached")
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}

/// One connection to a shim.
#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    inbox: Inbox,
    dir: PathBuf,
}

impl Connection {
    async fn send(&mut self, request: &Request, fds: &[RawFd]) -> Result<(), Error> {
        let attempt = async {
            let frame = protocol::encode(request)?;
            let (mut sent, mut fds) = (0, fds);
            while sent < frame.len() {
                sent += self
                    .stream
                    .async_io(Interest::WRITABLE, || {
                        passing::send(self.stream.as_raw_fd(), &frame[sent..], fds)
                    })
                    .await?;
                fds = &[];
            }
            Ok(())
        };
        attempt.await.map_err(|source| Error::Unreachable {
            dir: self.dir.clone(),
            source,
        })
    }

    /// The next answer; a refusal is an error. Descriptors that came so far are handed over with it.
    async fn receive(&mut self) -> Result<(Reply, Vec<OwnedFd>), Error> {
        let attempt = async {
            loop {
                if let Some(reply) = self.inbox.next()? {
                    return Ok(reply);
                }
                let mut buffer = [0u8; 16 << 10];
                let received = self
                    .stream
                    .async_io(Interest::READABLE, || {
                        passing::receive(self.stream.as_raw_fd(), &mut buffer)
                    })
                    .await?;
                if received.count == 0 {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the shim closed the connection",
                    ));
                }
                self.inbox.push(&buffer[..received.count], received.fds);
            }
        };
        match attempt.await.map_err(|source| Error::Unreachable {
            dir: self.dir.clone(),
            source,
        })? {
            Reply::Failed { message } => Err(Error::Refused(message)),
            reply => Ok((reply, self.inbox.fds.drain(..).collect())),
        }
    }
}

/// A pipe: the shim's end joins `theirs`, ours is returned, ready for tokio.
fn pipe_pair(we_write: bool, theirs: &mut Vec<OwnedFd>) -> Result<OwnedFd, Error> {
    let (read, write) = passing::pipe().map_err(Error::Streams)?;
    let (ours, other) = if we_write {
        (write, read)
    } else {
        (read, write)
    };
    theirs.push(other);
    passing::set_nonblocking(&ours).map_err(Error::Streams)?;
    Ok(ours)
}

fn boxed_reader(fd: OwnedFd) -> io::Result<Box<dyn AsyncRead + Send + Unpin>> {
    Ok(Box::new(pipe::Receiver::from_owned_fd(fd)?))
}
