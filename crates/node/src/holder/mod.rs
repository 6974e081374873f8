//! The holder: a small process that keeps the node's user and network namespaces while the server may come and go.
//! It only makes sockets there and hands them over; what they are used for is the server's concern, which therefore
//! owns all of them: when it dies its ports close and clients fail at once instead of hanging.
//!
//! For shims: enter `Holder::namespace_paths()` (or the descriptors of `Holder::namespaces()`), keep a descriptor of
//! the network namespace open for as long as the pod lives, and take the ids from `namespaces().ids`: as root the
//! pod's ids 0.. are the host's `ids.uids.outside`.. (a pod's own map is written in the node's terms: `0 0 65536`).

mod diagnosis;
mod held;
mod id_map;
mod launch;
pub mod process;
mod record;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::socket::{SockaddrIn, bind};
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

pub(crate) use diagnosis::Facts;
pub use diagnosis::Refused;
pub use held::network_held_by;
pub use id_map::{IdMap, IdRange};
use launch::{Connection, Place};
use wire::{Reply, Request};
pub use wire::{SocketKind, Step};

/// Unconnected sockets fetched at once, so that a dial does not wait for the holder.
const BATCH: usize = 64;
/// Fetch again when fewer are left.
const LOW: usize = 16;

/// How the holder fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine does not let us; cause and remedy are named.
    #[error(transparent)]
    Refused(Refused),
    /// The holder's folder cannot be used.
    #[error("use folder {} for the node's network", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could get at the holder.
    #[error("folder {0} of the node's network must be yours with mode 0700")]
    NotPrivate(PathBuf),
    /// The program to run as holder could not be started.
    #[error("start {} as the node's holder", executable.display())]
    Spawn {
        /// The program.
        executable: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It started and ended without a word; its log may say more.
    #[error("the node's holder ended while starting (see holder.log in its folder)")]
    Silent,
    /// The conversation failed.
    #[error("talk to the node's holder")]
    Talk(#[source] io::Error),
    /// The process is gone.
    #[error("the node's holder is gone")]
    Gone,
    /// It lives and does not answer.
    #[error(
        "the node's holder (process {pid}) does not answer; end it with `kill {pid}` and start again"
    )]
    Stuck {
        /// Its process number.
        pid: u32,
    },
    /// It is of a later version than we are.
    #[error(
        "the node's holder is newer than this program (protocol {protocol}): use the newer kfctl, or stop it with that one's `kfctl down`"
    )]
    Newer {
        /// What it speaks.
        protocol: u32,
    },
    /// It said something that has no place.
    #[error("the node's holder answered something else than asked")]
    Nonsense,
    /// A listener or socket could not have its address.
    #[error("bind {address} in the node's network")]
    Bind {
        /// The address.
        address: SocketAddrV4,
        /// Why.
        source: io::Error,
    },
    /// A connection failed.
    #[error("connect to {address} in the node's network")]
    Connect {
        /// The address.
        address: SocketAddrV4,
        /// Why.
        source: io::Error,
    },
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Bind { source, .. } | Error::Connect { source, .. } | Error::Talk(source) => {
                source.kind()
            }
            Error::Gone => io::ErrorKind::NotConnected,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// How a holder is started or found.
#[derive(Debug)]
pub struct Options {
    /// Where the holder is found again: a folder of the owner's alone, made if missing.
    pub folder: PathBuf,
    /// The program that is re-executed with [`process::SUBCOMMAND`]; usually `/proc/self/exe`.
    pub executable: PathBuf,
    /// If no holder lives: the node's network namespace as shims of living pods hold it ([`network_held_by`]), to be
    /// taken over.
    pub rejoin: Option<OwnedFd>,
}

/// Descriptors of the node's namespaces, and the ids they have.
#[derive(Debug)]
pub struct NodeNamespaces {
    /// The user namespace.
    pub user: OwnedFd,
    /// The network namespace.
    pub net: OwnedFd,
    /// Ids of the user namespace.
    pub ids: IdMap,
}

impl NodeNamespaces {
    /// Descriptors of one's own, to give away.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            user: self.user.try_clone()?,
            net: self.net.try_clone()?,
            ids: self.ids,
        })
    }
}

/// The server's hold on the holder. Cheap to clone. Dropping it leaves the process alive.
#[derive(Clone, Debug)]
pub struct Holder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    executable: PathBuf,
    namespaces: NodeNamespaces,
    connection: Mutex<Arc<Connection>>,
    pool: Mutex<Vec<OwnedFd>>,
    is_adopted: bool,
    /// Set once the holder is told to end: from then on nobody puts a new one in its place.
    is_ending: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded here is replaced whole, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Holder {
    /// Finds the holder that lives in the folder or starts one. Blocking, a few milliseconds.
    pub fn start(options: Options) -> Result<Self, Error> {
        let Options {
            folder,
            executable,
            rejoin,
        } = options;
        launch::prepare_folder(&folder)?;
        let _starting = launch::lock_start(&folder)?;
        let found = launch::find(&folder)?;
        let is_adopted = found.is_some();
        let connection = match found {
            Some(connection) => connection,
            None => {
                let rejoin = rejoin.as_ref().map(std::os::fd::AsFd::as_fd);
                launch::launch(&executable, &Place::Folder(&folder), rejoin)?;
                launch::find(&folder)?.ok_or(Error::Gone)?
            }
        };
        let namespaces = namespaces_of(&connection)?;
        Ok(Self(Arc::new(Shared {
            folder,
            executable,
            namespaces,
            connection: Mutex::new(Arc::new(connection)),
            pool: Mutex::new(Vec::new()),
            is_adopted,
            is_ending: AtomicBool::new(false),
        })))
    }

    /// Whether the holder was there before, from an earlier server.
    pub fn is_adopted(&self) -> bool {
        self.0.is_adopted
    }

    /// The node's namespaces, for shims to enter and to hold.
    pub fn namespaces(&self) -> &NodeNamespaces {
        &self.0.namespaces
    }

    /// Paths of the node's user and network namespace, good while the holder lives.
    pub fn namespace_paths(&self) -> (PathBuf, PathBuf) {
        let pid = self.connection().process.pid;
        let path = |name: &str| PathBuf::from(format!("/proc/{pid}/ns/{name}"));
        (path("user"), path("net"))
    }

    fn connection(&self) -> Arc<Connection> {
        lock(&self.0.connection).clone()
    }

    /// Makes sockets in the node's network. Blocking, some ten microseconds.
    pub fn sockets(&self, kind: SocketKind, count: usize) -> Result<Vec<OwnedFd>, Error> {
        match self.connection().ask(&Request::Sockets { kind, count })? {
            (Reply::Handed, sockets) if sockets.len() == count => Ok(sockets),
            _ => Err(Error::Nonsense),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(Self) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || work(this))
            .await
            .map_err(|join| Error::Talk(io::Error::other(join)))?
    }

    async fn tcp_socket(&self) -> Result<TcpSocket, Error> {
        let (socket, left) = {
            let mut pool = lock(&self.0.pool);
            (pool.pop(), pool.len())
        };
        let refill = move |this: Self| {
            let fetched = this.sockets(SocketKind::Tcp, BATCH)?;
            lock(&this.0.pool).extend(fetched);
            Ok(())
        };
        let socket = match socket {
            Some(socket) => {
                // Only the dial that crosses the mark fetches; should that fail, an empty pool will say why.
                if left == LOW {
                    let this = self.clone();
                    tokio::task::spawn_blocking(move || refill(this));
                }
                socket
            }
            None => {
                self.blocking(refill).await?;
                match lock(&self.0.pool).pop() {
                    Some(socket) => socket,
                    None => self
                        .sockets(SocketKind::Tcp, 1)?
                        .pop()
                        .ok_or(Error::Nonsense)?,
                }
            }
        };
        Ok(TcpSocket::from_std_stream(std::net::TcpStream::from(
            socket,
        )))
    }

    /// Listens on an address of the node's network: the gateway's, or that of a built-in pod.
    pub async fn listen(&self, address: SocketAddrV4) -> Result<TcpListener, Error> {
        let failed = |source| Error::Bind { address, source };
        let socket = self.tcp_socket().await?;
        socket.set_reuseaddr(true).map_err(failed)?;
        socket.bind(address.into()).map_err(failed)?;
        socket.listen(1024).map_err(failed)
    }

    /// Binds a UDP socket to an address of the node's network.
    pub async fn udp(&self, address: SocketAddrV4) -> Result<UdpSocket, Error> {
        let failed = |source| Error::Bind { address, source };
        let mut sockets = self
            .blocking(|this| this.sockets(SocketKind::Udp, 1))
            .await?;
        let socket = sockets.pop().ok_or(Error::Nonsense)?;
        bind(socket.as_raw_fd(), &SockaddrIn::from(address)).map_err(|e| failed(e.into()))?;
        UdpSocket::from_std(std::net::UdpSocket::from(socket)).map_err(failed)
    }

    /// Connects to a pod or Service. The pod sees the node's own address as its client.
    pub async fn dial(&self, address: SocketAddrV4) -> Result<TcpStream, Error> {
        self.dial_from(None, address).await
    }

    /// Connects to a pod or Service as `source`, a built-in pod's address.
    pub async fn dial_from(
        &self,
        source: Option<Ipv4Addr>,
        address: SocketAddrV4,
    ) -> Result<TcpStream, Error> {
        let failed = |source| Error::Connect { address, source };
        let socket = self.tcp_socket().await?;
        if let Some(source) = source {
            socket
                .bind(SocketAddrV4::new(source, 0).into())
                .map_err(failed)?;
        }
        socket.connect(address.into()).await.map_err(failed)
    }

    /// Waits until the holder process has ended.
    pub async fn ended(&self) -> Result<(), Error> {
        let connection = self.connection();
        let pidfd = connection.pidfd.try_clone().map_err(Error::Talk)?;
        // SAFETY: the descriptor is ours and stays open until the registration is dropped with it.
        let pidfd = unsafe { AsyncFd::register(pidfd) }.map_err(|e| Error::Talk(e.into()))?;
        pidfd.readable().await.map_err(Error::Talk)?.retain_ready();
        Ok(())
    }

    /// Whether the holder was told to end.
    pub fn is_ending(&self) -> bool {
        self.0.is_ending.load(Ordering::SeqCst)
    }

    /// Puts a new holder into the namespaces of one that has ended. Sockets and pods are not touched. Blocking.
    pub fn recover(&self) -> Result<(), Error> {
        let shared = &self.0;
        let _starting = launch::lock_start(&shared.folder)?;
        if self.is_ending() {
            return Ok(());
        }
        let connection = match launch::find(&shared.folder)? {
            Some(connection) => connection,
            None => {
                let net = std::os::fd::AsFd::as_fd(&shared.namespaces.net);
                launch::launch(
                    &shared.executable,
                    &Place::Folder(&shared.folder),
                    Some(net),
                )?;
                launch::find(&shared.folder)?.ok_or(Error::Gone)?
            }
        };
        *lock(&shared.connection) = Arc::new(connection);
        Ok(())
    }

    /// Ends the holder process and waits until it is gone. The namespaces go with the last pod, or at once. Blocking.
    pub fn shutdown(&self) -> Result<(), Error> {
        let _starting = launch::lock_start(&self.0.folder)?;
        self.0.is_ending.store(true, Ordering::SeqCst);
        let connection = self.connection();
        match connection.ask(&Request::Shutdown) {
            Ok(_) | Err(Error::Gone) => launch::wait_for_end(&connection.pidfd)?,
            Err(error) => return Err(error),
        }
        record::remove(&self.0.folder);
        Ok(())
    }
}

fn namespaces_of(connection: &Connection) -> Result<NodeNamespaces, Error> {
    let (reply, fds) = connection.ask(&Request::Namespaces)?;
    let [user, net] = <[OwnedFd; 2]>::try_from(fds).map_err(|_| Error::Nonsense)?;
    if reply != Reply::Handed {
        return Err(Error::Nonsense);
    }
    Ok(NodeNamespaces {
        user,
        net,
        ids: connection.ids,
    })
}

/// Tries whether this machine lets us have the node's network: says why not, and the remedy. `executable` is
/// re-executed. Blocking, some ten milliseconds.
pub fn probe(executable: &Path) -> Result<(), Error> {
    launch::probe(executable)
}
